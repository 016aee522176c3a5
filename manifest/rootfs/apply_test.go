package rootfs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"dario.cat/mergo"
	"sigs.k8s.io/yaml"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

// memory is a root file system in memory: path to content. A path that ends in
// / is a folder, a content that begins with -> a link; "x:" before a path sets
// the exec bits.
type memory map[string]string

func (m memory) List() []manifest.File {
	var list []manifest.File
	for p, content := range m {
		f := manifest.File{Type: "file", Mode: 0o644, Size: int64(len(content))}
		var exec bool
		if p, exec = strings.CutPrefix(p, "x:"); exec {
			f.Mode = 0o755
		}
		f.Path = p
		if link, ok := strings.CutPrefix(content, "->"); ok {
			f.Type, f.Link, f.Size = "symlink", link, 0
		}
		if strings.HasSuffix(p, "/") {
			f.Type, f.Path, f.Mode = "dir", strings.TrimSuffix(p, "/"), 0o755
		}
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	return list
}

func (m memory) ReadFile(p string) ([]byte, error) {
	for _, name := range []string{p, "x:" + p} {
		if c, ok := m[name]; ok {
			return []byte(c), nil
		}
	}
	return nil, fmt.Errorf("%s: %w", p, fs.ErrNotExist)
}

func config(path, strategy, process, data string) cluster.Config {
	c := cluster.Config{Name: "c", Path: path, Strategy: strategy, Data: data, Source: "Clusterfile:7"}
	if process != "" {
		c.Process = strings.Split(process, "|")
	}
	return c
}

func files(r Result) string {
	var b strings.Builder
	for _, f := range r.Files {
		fmt.Fprintf(&b, "%s %v %v\n%s", f.Path, f.Mode, f.Why, f.Data)
		if !strings.HasSuffix(string(f.Data), "\n") {
			b.WriteString("¶\n")
		}
	}
	return b.String()
}

func warned(r Result) string {
	var b strings.Builder
	for _, w := range r.Warnings {
		fmt.Fprintf(&b, "%s: %s\n", w.Source, w.Text)
	}
	return b.String()
}

// TestConfigs: every way in which a Config changes a file.
func TestConfigs(t *testing.T) {
	root := memory{
		"charts/a/values.yaml":    "image: x\nclass: local\nmore: {b: 1}\n",
		"x:scripts/init.sh":       "#!/bin/bash\n",
		"manifests/two.yaml":      "a: {b: 1}\n---\nc: 2\n",
		"system/credential.yaml":  "kind: Secret\nmetadata: {name: c}\ndata: {old: b2xk}\n",
		"system/many.yaml":        "kind: Namespace\n---\nkind: Secret\n",
		"system/plain.yaml":       "",
		"etc/link.yaml":           "->../manifests/two.yaml",
		"etc/inside":              "->/manifests",
		"etc/out":                 "->../../../manifests",
		"application/apps/nginx/": "",
	}
	for _, tt := range []struct {
		name    string
		configs []cluster.Config
		want    string
		warn    string
	}{
		{"replaces a file, and says what is lost", []cluster.Config{config("charts/a/values.yaml", "overwrite", "", "class: lvm\n")},
			"charts/a/values.yaml -rw-r--r-- [Clusterfile:7]\nclass: lvm\n",
			"Clusterfile:7: Config \"c\" replaces the whole of charts/a/values.yaml and so drops image, more; say strategy: merge to keep them\n"},
		{"keeps exec bits, and does not end a line by itself", []cluster.Config{config("scripts/init.sh", "overwrite", "", "exit")},
			"scripts/init.sh -rwxr-xr-x [Clusterfile:7]\nexit¶\n", ""},
		{"makes a new file", []cluster.Config{config("applications/x.yaml", "overwrite", "value", "a: 1\n")},
			"applications/x.yaml -rw-r--r-- [Clusterfile:7]\na: 1\n", ""},
		{"merges into each document", []cluster.Config{config("manifests/two.yaml", "merge", "value", "a: {d: false}\n")},
			"manifests/two.yaml -rw-r--r-- [Clusterfile:7]\na:\n  b: 1\n  d: false\n---\na:\n  d: false\nc: 2\n", ""},
		{"merges into nothing", []cluster.Config{config("manifests/new.yaml", "merge", "", "a: 1\n")},
			"manifests/new.yaml -rw-r--r-- [Clusterfile:7]\na: 1\n",
			"Clusterfile:7: Config \"c\" finds no file manifests/new.yaml to put its data into; the data becomes the file\n"},
		{"one after the other", []cluster.Config{config("manifests/two.yaml", "overwrite", "", "a: 1\n"), config("manifests/two.yaml", "merge", "", "b: 2\n")},
			"manifests/two.yaml -rw-r--r-- [Clusterfile:7]\na: 1\nb: 2\n", ""},
		{"through a link", []cluster.Config{config("etc/link.yaml", "overwrite", "", "l\n"), config("etc/inside/n.yaml", "overwrite", "", "n\n"), config("etc/out/o/o.yaml", "overwrite", "", "o\n")},
			"manifests/n.yaml -rw-r--r-- [Clusterfile:7]\nn\nmanifests/o/o.yaml -rw-r--r-- [Clusterfile:7]\no\nmanifests/two.yaml -rw-r--r-- [Clusterfile:7]\nl\n", ""},
		{"to JSON", []cluster.Config{config("a.json", "overwrite", "toJson", "b: [1, x]\n")},
			"a.json -rw-r--r-- [Clusterfile:7]\n{\"b\":[1,\"x\"]}¶\n", ""},
		{"values to JSON", []cluster.Config{config("a.yaml", "overwrite", "value|toJson", "b: {c: <1>}\nd: 2\n")},
			"a.yaml -rw-r--r-- [Clusterfile:7]\nb: '{\"c\":\"<1>\"}'\nd: \"2\"\n", ""},
		{"to base64", []cluster.Config{config("a.yaml", "overwrite", "toBase64", "x")},
			"a.yaml -rw-r--r-- [Clusterfile:7]\neA==¶\n", ""},
		{"values to JSON and base64", []cluster.Config{config("a.yaml", "overwrite", "value|toJson|toBase64", "b: {c: 1}\n")},
			"a.yaml -rw-r--r-- [Clusterfile:7]\nb: eyJjIjoxfQ==\n", ""},
		{"into a Secret", []cluster.Config{config("system/credential.yaml", "overwrite", "value|toSecret", "cert.key: |\n  KEY\n")},
			"system/credential.yaml -rw-r--r-- [Clusterfile:7]\ndata:\n  cert.key: S0VZCg==\n  old: b2xk\nkind: Secret\nmetadata:\n  name: c\n", ""},
		{"into the Secret among others", []cluster.Config{config("system/many.yaml", "overwrite", "toSecret", "a: b")},
			"system/many.yaml -rw-r--r-- [Clusterfile:7]\nkind: Namespace\n---\ndata:\n  a: Yg==\nkind: Secret\n", ""},
		{"into an empty file", []cluster.Config{config("system/plain.yaml", "overwrite", "toSecret", "a: b")},
			"system/plain.yaml -rw-r--r-- [Clusterfile:7]\ndata:\n  a: Yg==\n", ""},
		{"a Secret that is not there", []cluster.Config{config("system/none.yaml", "overwrite", "toSecret", "a: b\n")},
			"system/none.yaml -rw-r--r-- [Clusterfile:7]\na: b\n",
			"Clusterfile:7: Config \"c\" finds no file system/none.yaml to put its data into; the data becomes the file\n"},
		{"an unknown processor", []cluster.Config{config("a.yaml", "overwrite", "toXML|toBase64", "x")},
			"a.yaml -rw-r--r-- [Clusterfile:7]\neA==¶\n",
			"Clusterfile:7: Config \"c\" names the unknown processor \"toXML\"; it is ignored\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Apply(root, tt.configs, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := files(r); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if got := warned(r); got != tt.warn {
				t.Errorf("warned\n%swant\n%s", got, tt.warn)
			}
		})
	}
}

func TestConfigsRefused(t *testing.T) {
	root := memory{
		"charts/a/Chart.yaml": "name: a\n", "a": "->b", "b": "->a", "list.yaml": "- 1\n", "broken.yaml": "a: [\n",
		"etc/dir.tmpl/x": "",
	}
	for _, tt := range []struct {
		c    cluster.Config
		want string
	}{
		{config("charts/a", "overwrite", "", "x"), `Clusterfile:7: Config "c": charts/a is a folder`},
		{config("a/x", "overwrite", "", "x"), "its links lead in a circle"},
		{config("list.yaml/x", "overwrite", "", "x"), "a folder on its way is a file"},
		{config("list.yaml", "merge", "", "a: 1"), "document 1 of the file to merge into"},
		{config("list.yaml", "merge", "", "- 1"), "the data of the Config"},
		{config("list.yaml", "replace", "", "a: 1"), "neither overwrite nor merge"},
		{config("x", "overwrite", "toJson", "a: ["), "the processor toJson"},
		{config("x", "overwrite", "value|toJson", "- 1"), "the processor toJson"},
		{config("x", "overwrite", "value|toBase64", "- 1"), "the processor toBase64"},
		{config("x", "overwrite", "value|toBase64", "a: 1"), `the value of "a" is no text; put it in quotes`},
		{config("list.yaml", "overwrite", "toSecret", "a: 1"), "the processor toSecret"},
		{config("list.yaml", "overwrite", "toSecret", "a: b"), "the processor toSecret: the file"},
		{config("broken.yaml", "overwrite", "toSecret", "a: b"), "the processor toSecret: the file"},
	} {
		_, err := Apply(root, []cluster.Config{tt.c}, nil)
		if !errors.Is(err, ErrApply) || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "Clusterfile:7: ") {
			t.Errorf("%+v:\n got %v\nwant %s", tt.c, err, tt.want)
		}
	}
	// All problems at once.
	_, err := Apply(root, []cluster.Config{config("a", "overwrite", "", "x"), config("charts", "overwrite", "", "x")}, nil)
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v", err)
	}
}

// huge is a file system with one file that nobody should read.
type huge struct{ memory }

func (huge) List() []manifest.File {
	return []manifest.File{
		{Path: "etc/big.tmpl", Type: "file", Size: 1 << 40}, {Path: "etc/gone.tmpl", Type: "file", Size: 1},
		{Path: "big.yaml", Type: "file", Size: 1 << 40},
	}
}

func TestHugeFilesAreNotRead(t *testing.T) {
	_, err := Apply(huge{memory{"etc/gone.tmpl": "x"}}, []cluster.Config{config("big.yaml", "merge", "", "a: 1")}, nil)
	if !errors.Is(err, ErrApply) || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("got %v", err)
	}
	if _, err := Apply(huge{}, nil, nil); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrApply) {
		t.Errorf("a failing source: %v", err)
	}
	if _, err := Apply(huge{memory{"etc/gone.tmpl": "x"}}, nil, nil); !errors.Is(err, ErrApply) || !strings.Contains(err.Error(), "etc/big.tmpl: the template is larger than 1024 KiB") {
		t.Errorf("got %v", err)
	}
	if _, err := Apply(huge{memory{"etc/gone.tmpl": strings.Repeat("x", 2<<20)}}, nil, nil); !errors.Is(err, ErrApply) {
		t.Errorf("a source that lies: %v", err)
	}
	big := strings.Repeat("x", 15<<20)
	var configs []cluster.Config
	for i := range 10 {
		configs = append(configs, config(fmt.Sprint("f", i), "overwrite", "", big))
	}
	if _, err := Apply(memory{}, configs, nil); err == nil || !strings.Contains(err.Error(), "larger than 128 MiB together") {
		t.Errorf("got %.100v", err)
	}
	if _, err := Apply(memory{}, []cluster.Config{config("f", "overwrite", "toBase64", big)}, nil); err == nil || !strings.Contains(err.Error(), "makes more than 16 MiB") {
		t.Errorf("got %.100v", err)
	}
}

// TestMergeLikeSealer: merging does what sealer's library does.
func TestMergeLikeSealer(t *testing.T) {
	for _, tt := range [][2]string{
		{"a: {b: [1, 2], c: x}\nd: true", "a: {b: [3], c: ''}\nd: false"},
		{"a: 1", "a: 0\nb: {c: {}}"},
		{"a: {b: 1}", "a: null"},
		{"a: {b: {c: {d: 1, e: 2}}}", "a: {b: {c: {d: 5}}}"},
		{"a: [{b: 1}, {c: 2}]", "a: [{b: 3}]"},
	} {
		var want, over map[string]any
		if yaml.Unmarshal([]byte(tt[0]), &want) != nil || yaml.Unmarshal([]byte(tt[1]), &over) != nil {
			t.Fatal("bad test")
		}
		if err := mergo.Merge(&want, &over, mergo.WithOverride); err != nil {
			t.Fatal(err)
		}
		text, _ := yaml.Marshal(want)
		got, err := ApplyConfig([]byte(tt[0]), config("x.yaml", "merge", "", tt[1]))
		if err != nil || string(got.Data) != string(text) {
			t.Errorf("%q over %q:\n got %s%v\nwant %s", tt[1], tt[0], got.Data, err, text)
		}
	}
}

// TestCommunityEdition: the Configs of a 2.x Clusterfile, whose values are in
// base64, arrive unchanged; one that is meant for a Secret becomes one.
func TestCommunityEdition(t *testing.T) {
	f, err := os.Open("../../testdata/cnstack-ce-2.x/deploy/Clusterfile")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := cluster.Parse("Clusterfile", f, cluster.Options{Masters: []string{"10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	root := memory{
		"applications/cnstack-multicluster-2.1.0-ce-image-mapping.yaml": "kind: ImageMapping\nspec:\n  mapping: {a: b}\n",
		"system-components/cluster-credential.yaml":                     "apiVersion: v1\nkind: Secret\nmetadata: {name: credential}\n",
		"etc/registry.yml.tmpl":                                         "url: {{.RegistryURL}}\nruntime: {{.ContainerRuntime}}\n",
	}
	r, err := Apply(root, c.Configs, c.GlobalEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range r.Files {
		got[f.Path] = string(f.Data)
	}
	if len(got) != 5 || len(r.Warnings) != 0 {
		t.Errorf("%d files, warnings %v", len(got), r.Warnings)
	}
	if got["applications/cnstack-2.1.0-ce.yaml"] != c.Configs[0].Data {
		t.Error("an overwrite changed its data")
	}
	if s := got["applications/cnstack-multicluster-2.1.0-ce-image-mapping.yaml"]; !strings.Contains(s, "a: b") || !strings.Contains(s, "ecp_builder/ocm-registration:v0.9.0: ecp_builder") {
		t.Errorf("not merged: %s", s)
	}
	key := base64.StdEncoding.EncodeToString([]byte("-----BEGIN PUBLIC KEY-----"))
	if s := got["system-components/cluster-credential.yaml"]; !strings.Contains(s, "cert.key: "+key[:30]) {
		t.Errorf("no Secret: %s", s)
	}
	if s := got["etc/registry.yml"]; s != "url: registry-internal.adp.aliyuncs.com:5000\nruntime: containerd\n" {
		t.Errorf("rendered %q", s)
	}
}

// TestFullProfile: the published full profile replaces two values.yaml as a
// whole, with the data its author meant to add.
func TestFullProfile(t *testing.T) {
	charts := "../../testdata/cnstack-ce/charts/component/charts/"
	root := memory{}
	for _, name := range []string{"aecp", "cluster-addon-configuration"} {
		data, err := os.ReadFile(charts + name + "/values.yaml")
		if err != nil {
			t.Fatal(err)
		}
		root["charts/"+name+"/values.yaml"] = string(data)
	}
	// The stand-in has one value only; the real chart has more.
	root["charts/cluster-addon-configuration/values.yaml"] += "replicas: 1\nimage: {tag: v1}\n"
	f, err := os.Open("../../testdata/cnstack-ce/deploy/Clusterfile.full")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := cluster.Parse("Clusterfile.full", f, cluster.Options{Set: map[string]string{
		"MASTER_IP_1": "10.0.0.1", "WORKER_IP_1": "10.0.0.2", "WORKER_IP_2": "10.0.0.3", "PASSWD": "x", "DataDiskDeviceName": "/dev/vdb",
	}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Apply(root, c.Configs, c.GlobalEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 3 || string(r.Files[1].Data) != "dataStorageClass: open-local-lvm\n" || r.Files[2].Path != "manifests/clusterconfig.yaml" {
		t.Errorf("got %s", files(r))
	}
	if w := warned(r); !strings.Contains(w, `Clusterfile.full:55: Config "cluster-addon-sc" replaces the whole of charts/cluster-addon-configuration/values.yaml and so drops image, replicas; `) {
		t.Errorf("warned %s", w)
	}
}
