package rehearse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"bundle/archive"
	"bundle/install/plan"
	"bundle/internal/upstream"
	"bundle/manifest"
	"bundle/manifest/cluster"
	"bundle/manifest/imagelist"
	"bundle/manifest/rootfs"
	"bundle/pack"
	"bundle/pack/unpack"
	"bundle/verify"
)

var update = flag.Bool("update", false, "rewrite golden files")

const (
	ackDir  = "../../testdata/ackdistro"
	seedDir = "../../testdata/cnstack-ce/charts/build-cnstack-ce"
	profile = "../../testdata/cnstack-ce/deploy/Clusterfile.full"
	root    = "/var/lib/sealer/data/my-cluster/rootfs"
)

// world is a registry that has an image for every name in the test data, and
// the base of the seed's bundle.
type world struct {
	reg  *upstream.Registry
	base string
}

var shared struct {
	once sync.Once
	w    world
	err  error
	dir  string
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if shared.w.reg != nil {
		_ = shared.w.reg.Close()
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

func theWorld(t *testing.T) world {
	t.Helper()
	shared.once.Do(func() { shared.err = makeWorld() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.w
}

func makeWorld() error {
	ctx := context.Background()
	var err error
	if shared.dir, err = os.MkdirTemp("", "rehearse"); err != nil {
		return err
	}
	if shared.w.reg, err = upstream.Start(ctx, upstream.Options{LayerBytes: 4 << 10}); err != nil {
		return err
	}
	var refs []manifest.Reference
	for _, list := range []string{filepath.Join(ackDir, "imageList"), filepath.Join(seedDir, "imageList")} {
		f, err := os.Open(list)
		if err != nil {
			return err
		}
		entries, err := imagelist.Parse(list, f)
		f.Close()
		if err != nil {
			return err
		}
		for _, e := range entries {
			refs = append(refs, e.Ref)
		}
	}
	if _, err := shared.w.reg.Populate(ctx, refs, []string{"linux/amd64", "linux/arm64"}); err != nil {
		return err
	}
	shared.w.base = filepath.Join(shared.dir, "ackdistro.tar.zst")
	return run(ctx, pack.Options{Context: ackDir, Name: "ackdistro", Version: "v1.20.4-ack-2", Dialect: "0.5", Output: shared.w.base})
}

func run(ctx context.Context, o pack.Options) error {
	if o.Platforms == nil {
		o.Platforms = []string{"linux/amd64"}
	}
	o.Registry.Mirrors = map[string]string{"*": shared.w.reg.Addr()}
	b, err := pack.Prepare(ctx, o, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = b.Run(ctx)
	return err
}

// seed builds the seed's bundle from a context folder and opens it as an
// install does. The view has the Configs of the full profile, if asked for.
func seed(t *testing.T, dir string, full bool, change func(*pack.Options)) Input {
	t.Helper()
	w := theWorld(t)
	o := pack.Options{
		Context: dir, Name: "cnstack-ce", Version: "1.1.0", Output: filepath.Join(t.TempDir(), "b.tar.zst"),
		From: []string{"bundle:" + w.base},
	}
	if change != nil {
		change(&o)
	}
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return opened(t, o.Output, full)
}

func opened(t *testing.T, path string, full bool) Input {
	t.Helper()
	r, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	c, m, err := pack.ReadContents(r)
	if err != nil {
		t.Fatal(err)
	}
	files, err := unpack.ReadAll(t.Context(), r, m, func(string, int64) bool { return true }, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	in := Input{Bundles: []Bundle{{Name: "b", Reader: r}}, Contents: c, Rootfs: root}
	src := source{c.Files, files}
	result := rootfs.Result{}
	if full {
		if result, err = rootfs.Apply(src, configs(t), nil); err != nil {
			t.Fatal(err)
		}
	}
	in.Files = rootfs.View(src, result)
	for _, s := range c.Steps {
		ps := plan.Step{Step: s, Hosts: []string{"10.0.0.1"}, Dir: root}
		if s.Kind == manifest.StepExec {
			ps.Script = s.Run
		}
		in.Steps = append(in.Steps, ps)
	}
	return in
}

// source is a root file system in memory.
type source struct {
	list  []manifest.File
	files map[string][]byte
}

func (s source) List() []manifest.File { return s.list }

func (s source) ReadFile(name string) ([]byte, error) {
	data, ok := s.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return data, nil
}

func configs(t *testing.T) []cluster.Config {
	t.Helper()
	f, err := os.Open(profile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, _, err := cluster.ParseConfigs("Clusterfile.full", f)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func rehearse(t *testing.T, in Input) *Report {
	t.Helper()
	rep, err := Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func names(r *Report) []string {
	var list []string
	for _, i := range r.Images {
		list = append(list, i.Name)
	}
	return list
}

// TestSeedIsWholeForBothProfiles pulls everything that the seed's bundle will
// ask for, with the basic values and with those of the full profile.
func TestSeedIsWholeForBothProfiles(t *testing.T) {
	for _, full := range []bool{false, true} {
		in := seed(t, seedDir, full, nil)
		in.Full = full
		in.Kubeadm = []byte(kubeadmConfig)
		in.Steps = append(in.Steps, plan.Step{
			Step: manifest.Step{ID: "plugin", Kind: plan.KindHostScript, Source: "Clusterfile:60"}, Dir: root,
			Script: "helm uninstall localpv\nhelm install -n kube-system open-local charts/open-local\nctr run registry.example/odd:1 x\nimage: registry.example/odd:1\n",
		})
		calls := 0
		in.Progress = func(done, total int, item string) {
			if calls++; done != calls || done > total || item == "" {
				t.Errorf("progress says %d of %d at call %d, %q", done, total, calls, item)
			}
		}
		r := rehearse(t, in)
		if !r.OK || r.Err() != nil {
			t.Fatalf("full %v: %v", full, r.Err())
		}
		for _, want := range []string{
			"registry.cn-hangzhou.aliyuncs.com/oecp/pause:3.2",
			"sea.hub:5000/oecp/kube-proxy:v1.20.4-aliyun.1",     // as the chart says it
			"sea.hub:5000/oecp/kube-apiserver:v1.20.4-aliyun.1", // as kubeadm will
			"ack-agility-registry.cn-shanghai.cr.aliyuncs.com/ecp_builder/registration-operator:v1.0.0",
			"docker.io/thebeatles1994/open-local:v0.2.4-dev",
		} {
			i := slices.Index(names(r), want)
			if i < 0 {
				t.Fatalf("%s was not pulled; %s were", want, strings.Join(names(r), " "))
			}
			if img := r.Images[i]; img.Bytes < 1000 || img.Digest == "" || len(img.NeededBy) == 0 || !slices.Equal(img.Platforms, []string{"linux/amd64"}) {
				t.Errorf("%+v", img)
			}
		}
		if calls != len(r.Images) || r.Charts < 7 || r.Manifests < 2 {
			t.Errorf("%d calls, %d images, %d charts, %d manifests", calls, len(r.Images), r.Charts, r.Manifests)
		}
		if !slices.Contains(r.NodePorts, 30088) {
			t.Errorf("node ports are %v", r.NodePorts)
		}
		noted := false
		for _, n := range r.Notes {
			noted = noted || n.Object == "registry.example/odd:1" && strings.HasPrefix(string(n.Sources[0]), "Clusterfile:60")
		}
		if !noted {
			t.Errorf("notes are %+v", r.Notes)
		}
		if full != (r.BytesRead > 1<<20) {
			t.Errorf("%d bytes read, full %v", r.BytesRead, full)
		}
	}
}

const kubeadmConfig = `apiVersion: kubeadm.k8s.io/v1beta2
kind: InitConfiguration
nodeRegistration: []
---
apiVersion: kubeadm.k8s.io/v1beta2
kind: ClusterConfiguration
kubernetesVersion: v1.20.4-aliyun.1
imageRepository: sea.hub:5000/oecp
dns:
  imageTag: 1.7.0
etcd:
  local:
    imageTag: 3.4.3-0
`

// without copies the seed's folders and leaves one line out of the imageList.
func without(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../testdata/cnstack-ce/charts")); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "build-cnstack-ce/imageList")
	data, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(string(data)) {
		if !strings.Contains(line, image) {
			kept = append(kept, line)
		}
	}
	if err := os.WriteFile(list, []byte(strings.Join(kept, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(list)
}

// TestOneImageRemovedIsNamed, with the place that asks for it; the error is
// the one of an incomplete bundle.
func TestOneImageRemovedIsNamed(t *testing.T) {
	in := seed(t, without(t, "caas-db"), false, func(o *pack.Options) { o.AllowMissing = true })
	r := rehearse(t, in)
	err := r.Err()
	want := "sea.hub:5000/ecp_builder/caas-db:v1.5.3.0 (chart aecp templates/database.yaml: StatefulSet caas-db container caas-db) is not in the bundle"
	if r.OK || err == nil || err.Error() != want {
		t.Fatalf("error is %v\nwant %s", err, want)
	}
	if !errors.Is(err, ErrIncomplete) || !errors.Is(err, verify.ErrIncomplete) || errors.Is(err, ErrDamaged) {
		t.Errorf("error is of the class %v", err)
	}
	if e := err.(*failed); e.Hint() != "add it to the imageList and build the bundle again" || e.Object() != r.Problems[0].Object {
		t.Errorf("hint %q, object %q", e.Hint(), e.Object())
	}

	// The image that only base64 values name is a note: the bundle's builder
	// was told, and only the application knows.
	in = seed(t, without(t, "registration-operator"), false, nil)
	r = rehearse(t, in)
	i := slices.IndexFunc(r.Notes, func(n Note) bool { return strings.Contains(n.Object, "registration-operator") })
	if !r.OK || i < 0 {
		t.Errorf("ok %v, notes %+v", r.OK, r.Notes)
	}
}

// TestOtherArchitectureIsIncomplete: the hosts are arm64 and the bundle is not.
func TestOtherArchitectureIsIncomplete(t *testing.T) {
	in := seed(t, seedDir, false, nil)
	in.Platforms = []string{"linux/arm64", "linux/arm64/v8"}
	r := rehearse(t, in)
	if !errors.Is(r.Err(), ErrIncomplete) {
		t.Fatalf("error is %v", r.Err())
	}
	reasons := map[string]int{}
	for _, p := range r.Problems {
		reasons[p.Reason]++
	}
	// One image of the registry is an index whatever was asked for; its other
	// platform was left out.
	if len(reasons) == 0 || len(r.Images) != 0 {
		t.Errorf("reasons %v, images %v", reasons, names(r))
	}
	for reason := range reasons {
		if reason != "for linux/arm64 is not in the bundle" && reason != "has no image for linux/arm64" && reason != "is there for linux/amd64 only, and hosts are linux/arm64" {
			t.Errorf("reason %q", reason)
		}
	}
	if lines := strings.Count(r.Err().Error(), "\n"); lines != 21 {
		t.Errorf("the error has %d lines:\n%v", lines, r.Err())
	}
}

// TestDamagedLayerIsFound: the bytes of a layer differ from what was signed.
func TestDamagedLayerIsFound(t *testing.T) {
	in := seed(t, seedDir, false, nil)
	path := in.Bundles[0].Reader.Path()
	var target manifest.Image
	for _, i := range in.Contents.Images {
		if strings.Contains(i.Name, "caas-ui") {
			target = i
		}
	}
	var m doc
	for d := target.Digest; m.Layers == nil; {
		raw, err := in.Bundles[0].Reader.ReadBlob(d, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		for _, c := range m.Manifests {
			if c.Platform != nil && c.Platform.Architecture == "amd64" {
				d = c.Digest
			}
		}
	}
	layer := m.Layers[len(m.Layers)-1]
	offset, length := in.Bundles[0].Reader.Extent(layer.Digest)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	at := offset + length - 1024 // in the content, whose padding is less
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	for _, full := range []bool{true, false} {
		in := opened(t, path, false)
		in.Full = full
		r := rehearse(t, in)
		err := r.Err()
		if full && err == nil {
			t.Fatal("a damaged layer was not found")
		}
		if err == nil {
			continue // its first bytes are whole
		}
		if !errors.Is(err, ErrDamaged) || !errors.Is(err, verify.ErrDamaged) || len(r.Problems) != 2 || r.Problems[0].Object != target.Name ||
			r.Problems[0].Reason != "has a layer (2 of 2) that is damaged: its bytes are not those of "+layer.Digest.String() {
			t.Errorf("error is %v", err)
		}
	}
}

// TestProblemsOfStepsAreNamed: charts and files that are not there, or cannot
// be installed with this cluster's values.
func TestProblemsOfStepsAreNamed(t *testing.T) {
	in := seed(t, seedDir, false, nil)
	files := fstest.MapFS{
		"charts/web/Chart.yaml":             {Data: []byte("apiVersion: v2\nname: web\nversion: 1.0.0\n")},
		"charts/web/values.yaml":            {Data: []byte("image: registry.example/web\ntag: {}\n")},
		"charts/web/templates/a.yaml":       {Data: []byte(webTemplate)},
		"charts/spare/Chart.yaml":           {Data: []byte("apiVersion: v2\nname: spare\nversion: 1.0.0\n")},
		"charts/spare/values.yaml":          {Data: []byte("{}")},
		"charts/spare/templates/a.yaml":     {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: s}\nspec: {containers: [{name: s, image: registry.example/spare:1}]}\n")},
		"charts/odd/Chart.yaml":             {Data: []byte("apiVersion: v9\n")},
		"charts/old.tgz":                    {Data: []byte("no archive")},
		"manifests/broken.yaml":             {Data: []byte("a: [\n")},
		"manifests/imageList":               {Data: []byte("two words\n")},
		"more/pod.yaml":                     {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: p, image: registry.example/pod:1}]}\n")},
		"more/notes.txt":                    {Data: []byte("image: x\n")},
		"more/deep/pod.yaml":                {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: p, image: registry.example/deep:1}]}\n")},
		"more/crd.yaml":                     {Data: []byte(crd)},
		"values.yaml":                       {Data: []byte("tag: v2\n")},
		"bad.yaml":                          {Data: []byte("- a\n")},
		"Metadata":                          {Data: []byte(`{"version":"v1.20.4"}`)},
		"application/apps/x/svc/other.yaml": {Data: []byte("{}")},
	}
	release := func(args map[string]any) plan.Step {
		a := map[string]any{"release": "web", "namespace": "default", "chart": "charts/web"}
		maps.Copy(a, args)
		return plan.Step{Step: manifest.Step{ID: "s", Kind: manifest.StepHelmRelease, Source: "Kubefile:1", Args: a}}
	}
	apply := func(kind string, args map[string]any) plan.Step {
		return plan.Step{Step: manifest.Step{ID: "s", Kind: kind, Source: "Kubefile:2", Args: args}}
	}
	in.Files = files
	in.Steps = []plan.Step{
		release(map[string]any{"chart": "charts/none"}),
		release(nil), // no tag: does not render
		release(map[string]any{"values": []string{"none.yaml"}}),
		release(map[string]any{"values": []string{"/etc/values.yaml"}}),
		release(map[string]any{"values": []string{"bad.yaml"}}),
		release(map[string]any{"set": []string{"a[-1]=1"}}),
		release(map[string]any{"setString": []string{"a[-1]=1"}}),
		release(map[string]any{"chart": "../web"}),
		release(map[string]any{"release": 7}),
		release(map[string]any{"values": []string{root + "/values.yaml"}, "set": []string{"port=30099"}}),
		release(map[string]any{"setString": []string{"tag=7"}}),
		release(map[string]any{"chart": "oci://registry.example/charts/open-local", "version": "0.2.4"}),
		release(map[string]any{"chart": "oci://registry.example/charts/none"}),
		apply(manifest.StepKubectlApply, map[string]any{"files": []string{"more/*.yml"}}),
		apply(manifest.StepKubectlApply, map[string]any{"files": []string{"none"}}),
		apply(manifest.StepKubectlApply, map[string]any{"files": []string{"more/["}}),
		apply(manifest.StepKubectlCreate, map[string]any{"files": []string{"more"}}),
		apply(manifest.StepKubectlCreate, map[string]any{"files": []string{"*"}, "recursive": true, "dir": "more"}),
		release(map[string]any{"setString": []string{"tag=8"}}), // now that the API is there
		{Step: manifest.Step{ID: "s", Kind: manifest.StepExec, Source: "Kubefile:9"}, Dir: root, Script: "kubectl apply -f nowhere.yaml\n"},
		{Step: manifest.Step{ID: "s", Kind: manifest.StepExec, Source: "Kubefile:10"}, Dir: "/tmp", Script: "kubectl apply -f x.yaml\n"},
		{Step: manifest.Step{ID: "s", Kind: manifest.StepScale, Source: "Kubefile:11"}},
	}
	in.Contents = &manifest.Contents{Platforms: []string{"linux/amd64"}, Images: []manifest.Image{{Name: "not a name", Digest: in.Contents.Images[0].Digest}}}
	r := rehearse(t, in)
	var text, short bytes.Buffer
	if err := r.Text(&text, true); err != nil {
		t.Fatal(err)
	}
	// Images are made here, by whatever Go there is.
	digests := regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	golden(t, "problems.golden", digests.ReplaceAll(text.Bytes(), []byte("sha256:…")))
	if err := r.Text(&short, false); err != nil || short.Len() >= text.Len() {
		t.Errorf("%v, %d bytes of %d", err, short.Len(), text.Len())
	}
	for i := range r.Images {
		r.Images[i].Bytes = 0
	}
	r.BytesRead = 0
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "problems.json", digests.ReplaceAll(raw, []byte("sha256:…")))
	if !errors.Is(r.Err(), ErrUnusable) || !errors.Is(r.Err(), ErrIncomplete) {
		t.Errorf("error is %v", r.Err())
	}
}

const webTemplate = `{{- if kindIs "map" .Values.tag }}{{ fail "give a tag" }}{{ end }}
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: web
    image: {{ .Values.image }}:{{ .Values.tag }}{{ if .Capabilities.APIVersions.Has "example.com/v1/Thing" }}-things{{ end }}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  ports: [{port: 80, nodePort: {{ .Values.port | default 0 }}}]
`

const crd = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  versions: [{name: v1, served: true, storage: true}]
`

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	p := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference\n%s", name, got)
	}
}

// TestNothingToRehearse says so.
func TestNothingToRehearse(t *testing.T) {
	if _, err := Run(t.Context(), Input{}); err == nil {
		t.Error("no error without a bundle")
	}
	in := seed(t, seedDir, false, nil)
	in.Platforms = []string{"amd64"}
	if _, err := Run(t.Context(), in); !errors.Is(err, manifest.ErrPlatform) {
		t.Errorf("error is %v", err)
	}
	in.Platforms = nil
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	in.Files, in.Steps = nil, nil
	ctx, cancel = context.WithCancel(t.Context())
	in.Jobs = 1
	in.Progress = func(done, _ int, _ string) {
		if done == 3 {
			cancel()
		}
	}
	if _, err := Run(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
