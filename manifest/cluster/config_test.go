package cluster

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// TestParseConfigs: a packager reads profiles long before anybody knows the
// hosts.
func TestParseConfigs(t *testing.T) {
	got, w, err := ParseConfigs("Clusterfile", strings.NewReader(`# 集群
apiVersion: sealer.aliyun.com/v1alpha1
kind: Cluster
metadata: {name: my-cluster}
spec: {masters: {ipList: [$MASTER_IP_1]}}
---
---
apiVersion: sealer.aliyun.com/v1alpha1
kind: Config
metadata:
  name: cluster-addon-sc
spec:
  path: charts/cluster-addon-configuration/values.yaml
  data: |
      dataStorageClass: $MASTER_IP_1
---
kind: Application
spec: {configs: [{name: nginx, files: [{path: v.yaml, data: "#DataDiskDeviceName#"}]}]}
---
kind: Config
metadata: {name: 合并}
spec: {path: /etc/../manifests/x.yaml, strategy: merge, process: value|toJson, data: "a: 1"}`))
	if err != nil || len(w) > 0 {
		t.Fatal(err, w)
	}
	equal(t, "Configs", got, []Config{
		{Name: "cluster-addon-sc", Path: "charts/cluster-addon-configuration/values.yaml", Data: "dataStorageClass: $MASTER_IP_1\n", Strategy: Overwrite, Source: "Clusterfile:8"},
		{App: "nginx", Path: "application/apps/nginx/v.yaml", Data: "#DataDiskDeviceName#", Strategy: Overwrite, Source: "Clusterfile:18"},
		{Name: "合并", Path: "manifests/x.yaml", Data: "a: 1", Strategy: Merge, Process: []string{"value", "toJson"}, Source: "Clusterfile:20"},
	})
}

func TestParseConfigsRefuses(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"kind: Config\nspec: {data: x}", `C:1: Config without a name: the path is empty`},
		{"kind: Config\nspec: {path: ../.., data: x}", "the path is empty"},
		{"\n\nkind: Config\nmetadata: {name: a}\nspec: {path: x}", `C:3: Config "a": the data is empty`},
		{"kind: Config\nspec: {path: x, data: y, strategy: replace}", `"replace" is neither`},
		{"kind: Config\nspec: {path: x, data: {a: 1}}", "C:2: spec.data must be a text, not a mapping"},
		{"kind: Config\nspec: {path: \"a\\nb\", data: y}", "which is no path"},
		{"kind: Config\nspec: {path: x, data: y, appName: ../x}", `"../x" cannot be the name of an application`},
		{"kind: Config\nspec: [1]", "C:2: spec of the Config must be a mapping, not a list"},
		{"kind: Application\nspec: {configs: [{files: []}]}", "for the name of its application"},
		{"a: [", "C:1: the document is not YAML"},
	} {
		_, _, err := ParseConfigs("C", strings.NewReader(tt.in))
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.in, err, tt.want)
		}
	}
}

// TestSecretsInConfigs: a Clusterfile that holds a key is as good as the key,
// and few people know that theirs does.
func TestSecretsInConfigs(t *testing.T) {
	key := "-----BEGIN RSA PRIVATE KEY-----\nc3RhbmQtaW4=\n-----END RSA PRIVATE KEY-----\n"
	for _, tt := range []struct{ data, want string }{
		{key, "holds a private key; keep"},
		{"values: " + base64.StdEncoding.EncodeToString([]byte("tls:\n  key: |\n    "+key)), "holds a private key in base64; keep"},
		{"kind: Secret\nstringData: {password: x}\n", "holds a Secret in clear text; keep"},
		{"values: " + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("harmless ", 10))), ""},
		{"-----BEGIN PUBLIC KEY-----", ""},
	} {
		text := "kind: Cluster\n---\nkind: Config\nmetadata: {name: c}\nspec:\n  path: x\n  data: |\n    " + strings.ReplaceAll(tt.data, "\n", "\n    ") + "\n"
		c := parse(t, text, Options{AllowNoHosts: true})
		w := warnings(c.Warnings)
		if (w == "") != (tt.want == "") || !strings.Contains(w, tt.want) {
			t.Errorf("%q: warned %q, want %q", tt.data, w, tt.want)
		}
		if strings.Contains(w, "c3Rh") {
			t.Error("the key is in the warning")
		}
	}
}
