package override

import (
	"errors"
	"strings"
	"testing"
)

const seed = `# 集群
apiVersion: sealer.aliyun.com/v1alpha1
kind: Cluster
metadata: {name: my-cluster}
---
---
apiVersion: sealer.aliyun.com/v1alpha1
kind: Config
metadata:
  name: cluster-addon-sc
spec:
  path: charts/cluster-addon-configuration/values.yaml
  data: |
      dataStorageClass: open-local-lvm
---
kind: Config
metadata: {name: 合并}
spec: {path: /etc/../manifests/x.yaml, strategy: merge, process: value|toJson, data: "a: 1"}`

func TestParse(t *testing.T) {
	got, err := Parse("Clusterfile", strings.NewReader(seed))
	if err != nil {
		t.Fatal(err)
	}
	want := []Config{
		{Name: "cluster-addon-sc", Path: "charts/cluster-addon-configuration/values.yaml", Data: "dataStorageClass: open-local-lvm\n", Strategy: Overwrite, Source: "Clusterfile:7"},
		{Name: "合并", Path: "manifests/x.yaml", Data: "a: 1", Strategy: Merge, Process: "value|toJson", Source: "Clusterfile:16"},
	}
	if len(got) != len(want) {
		t.Fatalf("got %d Configs, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("Config %d:\n got %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"kind: Config\nspec: {data: x}", `C:1: Config "" is not a usable Clusterfile: spec.path is empty`},
		{"kind: Config\nspec: {path: ../.., data: x}", "spec.path is empty"},
		{"\n\nkind: Config\nmetadata: {name: a}\nspec: {path: x}", `C:3: Config "a" is not a usable Clusterfile: spec.data is empty`},
		{"kind: Config\nspec: {path: x, data: y, strategy: replace}", `"replace" is neither`},
		{"kind: Config\nspec: [1]", "C:1: Config is not a usable Clusterfile"},
		{"a: [", "C is not a usable Clusterfile"},
	} {
		_, err := Parse("C", strings.NewReader(tt.in))
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.in, err, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(seed)
	f.Fuzz(func(t *testing.T, s string) {
		list, err := Parse("C", strings.NewReader(s))
		if err != nil && !errors.Is(err, ErrSyntax) {
			t.Fatalf("untyped error: %v", err)
		}
		for _, c := range list {
			if c.Path == "" || strings.HasPrefix(c.Path, "/") || strings.HasPrefix(c.Path, "../") || c.Data == "" {
				t.Fatalf("unusable Config: %+v", c)
			}
		}
	})
}
