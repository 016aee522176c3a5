package bundlefile

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"bundle/manifest"
	"bundle/manifest/step"
)

const head = "apiVersion: bundle/v1\nkind: Bundle\n"

var good = []string{
	head,
	head + "from: scratch\n",
	head + "images: []\nsteps: []\n",
	"---\n" + head + "name: a.b-c_d\nversion: v1\n",
	"\xef\xbb\xbf" + head,
	head + "steps:\n  - label: {selector: a=b, set: {x: \"\"}}\n",
}

func TestWholeFile(t *testing.T) {
	f, err := Parse("bundle.yaml", strings.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "shop" || f.Version != "1.10" {
		t.Errorf("name %q version %q: a version is kept as it is written", f.Name, f.Version)
	}
	if f.From != "registry.example.com/base/ackdistro:v1.20.4-ack-2" || f.FromSource != "bundle.yaml:6" {
		t.Errorf("from %q %q", f.From, f.FromSource)
	}
	if !reflect.DeepEqual(f.Platforms, []string{"linux/amd64", "linux/arm64/v8"}) {
		t.Errorf("platforms %v", f.Platforms)
	}
	if len(f.Images) != 2 || f.Images[0].Ref.String() != "docker.io/library/nginx:latest" || f.Images[0].Source != "bundle.yaml:9" || f.Images[0].Optional || !f.Images[1].Optional {
		t.Errorf("images %+v", f.Images)
	}
	if !reflect.DeepEqual(f.ImageLists, []Input{{"lists/images.txt", "bundle.yaml:13"}}) {
		t.Errorf("lists %v", f.ImageLists)
	}
	charts := []Chart{
		{Path: "charts/shop", Source: "bundle.yaml:15"},
		{OCI: "oci://registry.example.com/charts/db", Version: "2.0.1", Source: "bundle.yaml:16"},
		{Path: "charts/api", Values: []string{"values.yaml", "values-prod.yaml"}, Profiles: [][]string{{"values-small.yaml"}, {"values-large.yaml"}}, Release: "api", Namespace: "shop", Source: "bundle.yaml:17"},
		{OCI: "oci://registry.example.com/charts/cache", Version: "3.1.0", Source: "bundle.yaml:24"},
		{Name: "ingress", Repo: "https://charts.example.com", Version: "4.1", Source: "bundle.yaml:26"},
	}
	if !reflect.DeepEqual(f.Charts, charts) {
		t.Errorf("charts %+v", f.Charts)
	}
	files := []Copy{
		{Src: "manifests", Dst: "manifests", Source: "bundle.yaml:30"},
		{Src: "bin/tool", Dst: "bin", Into: true, Mode: 0o755, Source: "bundle.yaml:31"},
	}
	if !reflect.DeepEqual(f.Files, files) {
		t.Errorf("files %+v", f.Files)
	}
	env := []manifest.EnvVar{{Name: "MODE", Value: "prod", Source: "bundle.yaml:33"}, {Name: "DEBUG", Value: "false", Source: "bundle.yaml:34"}}
	if !reflect.DeepEqual(f.Env, env) || f.Labels["org.example/owner"] != "shop" {
		t.Errorf("env %+v labels %v", f.Env, f.Labels)
	}
}

func TestSteps(t *testing.T) {
	f, err := Parse("bundle.yaml", strings.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	steps := f.Steps("aecp", "shop")
	type want struct {
		id, summary string
		timeout     int
		danger      bool
	}
	wants := []want{
		{"shop-01", "Make sure namespace shop exists", 0, false},
		{"shop-02", "Make sure namespace other exists", 0, false},
		{"charts.api", "The API", 600, false},
		{"shop-04", "Upgrade the Helm release db from db in namespace default", 0, false},
		{"shop-05", "Apply manifests/*.yaml", 0, false},
		{"shop-06", "Apply manifests/a.yaml, manifests/b.yaml in namespace shop", 0, false},
		{"shop-07", "Create what manifests/once.yaml describes and is not there yet in namespace shop", 0, false},
		{"shop-08", "Delete what manifests/old.yaml describes", 0, true},
		{"shop-09", "Delete configmap a, b in namespace shop", 0, true},
		{"shop-10", "Scale deployment api to 0 in namespace shop", 0, false},
		{"shop-11", "Scale statefulset db to 3", 0, false},
		{"shop-12", "Remove the taint node-role.kubernetes.io/master:NoSchedule from the first master", 0, false},
		{"shop-13", "Taint every node with pool=gpu with gpu=yes:NoExecute", 0, false},
		{"shop-14", "Label the first master with lb=nginx", 0, false},
		{"shop-15", "Remove the label old from node n1, n2", 0, false},
		{"shop-16", "Label namespace shop with team=a", 0, false},
		{"shop-17", "Annotate every storageclass with storageclass.kubernetes.io/is-default-class=true", 0, false},
		{"shop-18", "Patch storageclass fast", 0, false},
		{"shop-19", "Wait for the custom resource definition addonconfigurations.example.com", 0, false},
		{"shop-20", "Wait for the custom resource definition addonconfiguration", 2001, false},
		{"shop-21", "Wait until deployment api is rolled out in namespace shop", 90, false},
		{"shop-22", "Wait until daemonset agent is rolled out", 0, false},
		{"shop-23", "Uninstall the Helm release open-local from namespace kube-system", 90, true},
		{"shop-24", `Run: echo "all $(date)"`, 0, false},
		{"shop-25", "Run: set -e rm -rf /tmp/shop", 30, true},
		{"shop-26", "Run: rm -rf /tmp/x", 0, false},
	}
	if len(steps) != len(wants) {
		t.Fatalf("%d steps, want %d", len(steps), len(wants))
	}
	for i, w := range wants {
		s := steps[i]
		if got := (want{s.ID, s.Summary, s.TimeoutSeconds, s.Destructive}); got != w {
			t.Errorf("step %d is %+v, want %+v", i+1, got, w)
		}
		if s.Source == "" {
			t.Errorf("step %s does not say where it comes from", s.ID)
		}
		if _, err := step.Decode(s); err != nil {
			t.Errorf("step %s cannot be read back: %v", s.ID, err)
		}
	}
	if steps[2].Phase != "first" || steps[3].Phase != "aecp" {
		t.Errorf("phases %q, %q", steps[2].Phase, steps[3].Phase)
	}
	api, err := step.Decode(steps[2])
	if err != nil {
		t.Fatal(err)
	}
	h := api.(*step.HelmRelease)
	if want := []string{`image.tag=1\,2`, "replicas=3"}; !reflect.DeepEqual(h.Set, want) {
		t.Errorf("set %q, want %q: a comma in a value must not begin another", h.Set, want)
	}
	if !h.Atomic || !h.Wait || !h.CreateNamespace {
		t.Errorf("helm %+v: atomic waits", h)
	}
	db, err := step.Decode(steps[3])
	if err != nil {
		t.Fatal(err)
	}
	if h := db.(*step.HelmRelease); h.SetString[0] != "v=08" || h.Set[1] != "b={x,y}" || h.Mode != step.ModeUpgrade {
		t.Errorf("helm %+v", h)
	}
	if steps[17].Idempotent || !steps[23+1].Idempotent || steps[23].Idempotent {
		t.Error("a JSON patch and a plain exec cannot run twice; an exec that says so can")
	}
}

var bad = []struct {
	text string
	// want are parts of the message.
	want []string
	// schemaCannot is set for what a JSON schema cannot tell.
	schemaCannot bool
}{
	{"", []string{"bundle.yaml: the file is empty"}, true},
	{"# only a comment\n", []string{"the file is empty"}, true},
	{"apiVersion: bundle/v1\n", []string{`bundle.yaml:1:1: a bundle.yaml needs the field "kind"`}, false},
	{"kind: Bundle\napiVersion: bundle/v2\n", []string{`2:13: apiVersion is "bundle/v2", which this tool does not know; write bundle/v1`}, false},
	{"- a\n", []string{"a bundle.yaml must be a mapping, not a list"}, false},
	{head + "imagez: []\n", []string{`bundle.yaml:3:1: a bundle.yaml has no field "imagez"; did you mean "images"?`}, false},
	{head + "zzzzzzzzzz: 1\n", []string{`has no field "zzzzzzzzzz"; it has apiVersion, charts`}, false},
	{head + "name: a\nname: b\n", []string{`4:1: a bundle.yaml has the field "name" twice`}, true},
	{head + "name: Shop\n", []string{`3:7: name is "Shop"; use lower-case letters`}, false},
	{head + "version: a/b\n", []string{`version is "a/b"`}, true},
	{head + "version:\n", []string{"version must be a string, not nothing"}, false},
	{head + "from: \" \"\n", []string{"from is empty"}, true},
	{head + "from: a/UPPER\n", []string{"from: ", "not an image reference"}, true},
	{head + "platforms: linux/amd64\n", []string{`platforms must be a list, not "linux/amd64"`}, false},
	{head + "platforms: [amd64]\n", []string{`the platform is "amd64"; write it like linux/amd64`}, false},
	{head + "platforms: [linux/amd64, linux/amd64]\n", []string{"linux/amd64 is in the list twice"}, false},
	{head + "images: {a: b}\n", []string{"images must be a list, not a mapping"}, false},
	{head + "images: [Nginx]\n", []string{`3:10: "Nginx" is not an image reference`}, true},
	{head + "images: [nginx, 'nginx:latest']\n", []string{"docker.io/library/nginx:latest is in the list already, see bundle.yaml:3"}, true},
	{head + "images: [{optional: true}]\n", []string{`an image needs the field "ref"`}, false},
	{head + "images: [{ref: a, optional: maybe}]\n", []string{"optional must be true or false"}, false},
	{head + "images: [[a]]\n", []string{"an image must be a mapping, not a list"}, false},
	{head + "imageLists: [../x]\n", []string{`an image list is "../x", which is not below its folder`}, false},
	{head + "imageLists: [/x]\n", []string{`"/x"`}, false},
	{head + "charts: [{version: 1}]\n", []string{"a chart has exactly one of path, oci and name"}, false},
	{head + "charts: [{path: a, oci: 'oci://b/c:1'}]\n", []string{"exactly one of path, oci and name"}, false},
	{head + "charts: [{name: a, version: 1}]\n", []string{"the chart a names no repository"}, false},
	{head + "charts: [{name: a, repo: 'https://b'}]\n", []string{"the chart needs a version; a bundle must not depend on the day it is built"}, false},
	{head + "charts: [{oci: 'oci://b/c'}]\n", []string{"the chart needs a version"}, true},
	{head + "charts: ['oci://b/c']\n", []string{"has no version"}, true},
	{head + "charts: [{path: a, repo: 'https://b'}]\n", []string{"repo goes with name only"}, false},
	{head + "charts: [{name: a, version: 1, repo: 'ftp://b'}]\n", []string{"no URL of a chart repository"}, false},
	{head + "charts: [{name: a, version: 1, repo: 'https://u:secret@b'}]\n", []string{"repo holds a user name or password"}, true},
	{head + "charts: [{oci: 'b/c'}]\n", []string{"write oci://registry/chart"}, false},
	{head + "charts: [{oci: 'oci://b/C'}]\n", []string{"oci: "}, true},
	{head + "charts: [{oci: 'oci://b/c@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', version: 1}]\n", []string{"oci has a digest"}, true},
	{head + "charts: [[a]]\n", []string{"a chart must be a mapping, not a list"}, false},
	{head + "files: [{src: a}]\n", []string{`an entry of files needs the field "dst"`}, false},
	{head + "files: [{src: ../a, dst: b}]\n", []string{`src is "../a"`}, false},
	{head + "files: [{src: a, dst: ../../etc}]\n", []string{`dst is "../../etc"`}, false},
	{head + "files: [{src: a, dst: b, mode: rwx}]\n", []string{`mode is "rwx"`}, true},
	{head + "files: [{src: a, dst: b, mode: '4755'}]\n", []string{`mode is "4755"`}, true},
	{head + "env: {1a: b}\n", []string{`env sets "1a", which no shell can read`}, false},
	{head + "env: {A: [b]}\n", []string{"env: A must be a string, not a list"}, false},
	{head + "env: {A: }\n", []string{`write "" for an empty string`}, false},
	{head + "env: [A=b]\n", []string{"env must be a mapping of names to strings"}, false},
	{head + "labels: {a: b, a: c}\n", []string{`labels has "a" twice`}, true},
	{head + "labels: {[a]: b}\n", []string{"labels has a name that is no string"}, true},
	{head + "steps: [{id: a}]\n", []string{"a step does exactly one thing, this one does 0"}, false},
	{head + "steps: [{namespace: a, apply: b}]\n", []string{"this one does 2"}, false},
	{head + "steps: [a]\n", []string{`a step must be a mapping, not "a"`}, false},
	{head + "steps: [{id: x, namespace: a}, {id: x, namespace: b}]\n", []string{`the step id "x" is used twice`}, true},
	{head + "steps: [{helms: {release: a}}]\n", []string{`did you mean "helm"?`}, false},
	{head + "steps: [{helm: {release: a}}]\n", []string{`helm needs the field "chart"`}, false},
	{head + "steps: [{helm: {release: a, chart: 'https://x/y.tgz'}}]\n", []string{"would be fetched while installing"}, true},
	{head + "steps: [{helm: {release: a, chart: b, timeout: 90}}]\n", []string{"which is no duration; write 90s for seconds"}, false},
	{head + "steps: [{helm: {release: a, chart: b, timeout: soon}}]\n", []string{"write it like 90s or 10m"}, false},
	{head + "steps: [{helm: {release: a, chart: b, timeout: 1000h}}]\n", []string{"at most a week"}, true},
	{head + "steps: [{helm: {release: a, chart: b, wait: 1}}]\n", []string{"wait must be true or false"}, false},
	{head + "steps: [{helm: {release: '-x', chart: b}}]\n", []string{`release is "-x"`}, false},
	{head + "steps: [{apply: []}]\n", []string{"apply names no file"}, false},
	{head + "steps: [{apply: {namespace: a}}]\n", []string{`apply needs the field "files"`}, false},
	{head + "steps: [{delete: {resource: a}}]\n", []string{"delete needs either files, or resource and names"}, false},
	{head + "steps: [{delete: {files: a, names: [b]}}]\n", []string{"delete needs either files, or resource and names"}, false},
	{head + "steps: [{scale: {name: a, replicas: -1}}]\n", []string{"replicas must be a number from 0 on"}, false},
	{head + "steps: [{scale: {name: a, replicas: '1'}}]\n", []string{"replicas must be a number"}, false},
	{head + "steps: [{scale: {name: a, replicas: 1, resource: pod}}]\n", []string{`resource is "pod"; write one of deployment`}, false},
	{head + "steps: [{taint: {nodes: all, add: 'a=b'}}]\n", []string{`the taint is "a=b"`}, true},
	{head + "steps: [{taint: {nodes: all, remove: 'a:NoSchedule-'}}]\n", []string{"the taint is"}, false},
	{head + "steps: [{taint: {nodes: all}}]\n", []string{"taint needs exactly one of add and remove"}, false},
	{head + "steps: [{taint: {add: 'a:NoSchedule'}}]\n", []string{"taint needs exactly one of nodes"}, false},
	{head + "steps: [{taint: {nodes: some, add: 'a:NoSchedule'}}]\n", []string{"write master0, all, or a list of node names"}, false},
	{head + "steps: [{label: {nodes: all, selector: a=b, set: {a: b}}}]\n", []string{"exactly one of nodes, names, all and selector"}, false},
	{head + "steps: [{label: {nodes: all}}]\n", []string{"label needs set or remove"}, false},
	{head + "steps: [{label: {nodes: all, resource: pod, set: {a: b}}}]\n", []string{"nodes and resource do not go together"}, false},
	{head + "steps: [{waitCRD: [a]}]\n", []string{"name must be a string, not a list"}, false},
	{head + "steps: [{exec: 'if true'}]\n", []string{"run is not valid shell"}, true},
	{head + "steps: [{exec: {run: a, dir: ../x}}]\n", []string{`dir is "../x"`}, false},
	{head + "steps: [{exec: {destructive: true}}]\n", []string{`exec needs the field "run"`}, false},
	{head + "name: &a x\nversion: *a\n", []string{"3:7: anchors are not allowed", "4:10: aliases are not allowed"}, true},
	{head + "name: !!str x\n", []string{`the tag "!!str" is not allowed`}, true},
	{head + "env:\n  <<: {A: b}\n", []string{"4:7: env: << must be a string, not a mapping"}, true},
	{head + "---\nkind: Bundle\n", []string{"more than one YAML document"}, true},
	{head + "name: [a\n", []string{"this is not valid YAML"}, true},
	{head + "---\nname: [a\n", []string{"this is not valid YAML"}, true},
	{head + "name: " + strings.Repeat("[", 20) + strings.Repeat("]", 20) + "\n", []string{"nested more than 16 deep"}, true},
	{strings.Repeat("#", MaxSize+1), []string{"larger than 1 MiB"}, true},
	{head + "a: 1\n" + "b: 2\nname: C\n", []string{`3:1:`, `4:1:`, `5:7:`}, false},
	{head + "platforms: [" + strings.Repeat("x, ", 60) + "]\n", []string{"and 10 more of this kind"}, false},
}

func TestBadFiles(t *testing.T) {
	for _, c := range bad {
		_, err := Parse("bundle.yaml", strings.NewReader(c.text))
		if err == nil {
			t.Errorf("parses:\n%.300s", c.text)
			continue
		}
		if !errors.Is(err, ErrBundleFile) {
			t.Errorf("%v is no ErrBundleFile", err)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q does not say %q for\n%.300s", err, w, c.text)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

// An id somebody chose must not meet one that is counted.
func TestStepIDsStayUnique(t *testing.T) {
	f, err := Parse("b.yaml", strings.NewReader(head+"steps: [{namespace: a}, {id: x-01, namespace: b}, {id: x-01.2, namespace: c}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	steps := f.Steps("p", "x")
	if steps[0].ID != "x-01.3" || steps[1].ID != "x-01" {
		t.Errorf("ids %q, %q", steps[0].ID, steps[1].ID)
	}
}

func TestReadError(t *testing.T) {
	broken := errors.New("the disk is gone")
	_, err := Parse("bundle.yaml", iotest.ErrReader(broken))
	if !errors.Is(err, broken) || errors.Is(err, ErrBundleFile) || !strings.Contains(err.Error(), "bundle.yaml") {
		t.Errorf("got %v", err)
	}
}

func TestProblemPlace(t *testing.T) {
	_, err := Parse("b.yaml", strings.NewReader(head+"name: Shop\n"))
	var p *Problem
	if !errors.As(err, &p) || p.Line != 3 || p.Column != 7 || p.File != "b.yaml" {
		t.Errorf("got %+v", p)
	}
}

func FuzzBundleFile(f *testing.F) {
	f.Add(whole)
	for _, g := range good {
		f.Add(g)
	}
	for _, b := range bad {
		if len(b.text) < 4096 {
			f.Add(b.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("bundle.yaml", strings.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrBundleFile) {
				t.Fatalf("%v is no ErrBundleFile", err)
			}
			return
		}
		ids := map[string]bool{}
		for _, s := range file.Steps("p", "x") {
			if _, err := step.Decode(s); err != nil {
				t.Fatal(err)
			}
			if s.Summary == "" || s.Source == "" {
				t.Fatalf("step %+v says too little", s)
			}
			ids[s.ID] = true
		}
		for _, c := range file.Files {
			if strings.HasPrefix(c.Dst, "..") && (c.Dst == ".." || c.Dst[2] == '/') || strings.HasPrefix(c.Dst, "/") {
				t.Fatalf("destination %q leaves the root", c.Dst)
			}
		}
	})
}
