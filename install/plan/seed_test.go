package plan

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
	"bundle/manifest/cluster"
	"bundle/manifest/kubefile"
	"bundle/manifest/step"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", file, got)
	}
}

const (
	ackFolder = "../../testdata/ackdistro"
	ceFolder  = "../../testdata/cnstack-ce/charts/build-cnstack-ce"
	profiles  = "../../testdata/cnstack-ce/deploy"
)

// image is what a build makes of a Kubefile, without building: the inventory
// that a plan needs, and the plugin files.
type image struct {
	contents *manifest.Contents
	plugins  []cluster.Plugin
}

// buildImage reads a Kubefile and its context. base is the image that it is
// FROM, or nil.
func buildImage(t *testing.T, name, folder string, base *image) image {
	t.Helper()
	f, err := os.Open(filepath.Join(folder, "Kubefile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	k, err := kubefile.Parse("Kubefile", f, kubefile.Auto)
	if err != nil {
		t.Fatal(err)
	}
	c := &manifest.Contents{SchemaVersion: 1, Name: name, Version: "1.0"}
	var out image
	if base != nil {
		c.Bases = []manifest.Base{{Name: base.contents.Name, Version: "1.0"}}
		c.Files = append(c.Files, base.contents.Files...)
		for _, s := range base.contents.Steps {
			s.Source = manifest.Source(base.contents.Name + "/" + string(s.Source))
			c.Steps = append(c.Steps, s)
		}
		out.plugins = base.plugins
	}
	c.Steps = append(c.Steps, step.From(k.Commands(), name, name)...)
	for _, copied := range k.Copies() {
		src := filepath.Join(folder, filepath.FromSlash(copied.Src))
		info, err := os.Stat(src)
		if err != nil {
			t.Fatal(err)
		}
		target := copied.Target(copied.Src, info.IsDir(), false)
		err = filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(src, p)
			file := manifest.File{Path: path.Join(target, filepath.ToSlash(rel)), Type: "file", Mode: 0o644, Size: int64(len(data)), Digest: digest.FromBytes(data), Source: copied.Source}
			c.Files = append(c.Files, file)
			if strings.HasPrefix(file.Path, "plugin/") || strings.HasPrefix(file.Path, "plugins/") {
				plugins, warnings, err := cluster.ParsePlugins(file.Path, data)
				if err != nil {
					return err
				}
				for _, w := range warnings {
					t.Logf("%s: %s", w.Source, w.Text)
				}
				out.plugins = append(out.plugins, plugins...)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	out.contents = c
	return out
}

// seed is CNStack CE on ACK Distro.
func seed(t *testing.T) image {
	t.Helper()
	ack := buildImage(t, "ackdistro", ackFolder, nil)
	return buildImage(t, "cnstack-ce", ceFolder, &ack)
}

// values are for the placeholders of the published Clusterfiles.
var values = map[string]string{
	"MASTER_IP_1": "10.0.0.1", "WORKER_IP_1": "10.0.0.2", "WORKER_IP_2": "10.0.0.3",
	"PASSWD": "secret", "DataDiskDeviceName": "/dev/vdb",
}

func parseCluster(t *testing.T, name, text string, o cluster.Options) *cluster.Cluster {
	t.Helper()
	c, err := cluster.Parse(name, strings.NewReader(text), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func profile(t *testing.T, name string) *cluster.Cluster {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(profiles, name))
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]string{}
	for k, v := range values {
		if strings.Contains(string(data), k) {
			set[k] = v
		}
	}
	return parseCluster(t, name, string(data), cluster.Options{Set: set})
}

func mustMake(t *testing.T, in Input) *Plan {
	t.Helper()
	p, err := Make(in)
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, p)
	return p
}

// checkPlan holds every plan to what all of them promise.
func checkPlan(t *testing.T, p *Plan) {
	t.Helper()
	seen := map[string]bool{}
	for _, s := range p.Steps {
		switch {
		case s.ID == "" || seen[s.ID]:
			t.Errorf("the id %q is empty or used twice", s.ID)
		case s.Phase == "" || s.Kind == "" || s.Source == "" || s.Summary == "" || len(s.Hosts) == 0 || s.TimeoutSeconds <= 0:
			t.Errorf("step %s is not whole: %+v", s.ID, s)
		case s.Destructive && len(s.Dangers) == 0 && s.Opaque():
			t.Errorf("step %s does not say what it removes", s.ID)
		}
		for _, before := range s.After {
			if !seen[before] {
				t.Errorf("step %s is to run after %s, which is not before it", s.ID, before)
			}
		}
		seen[s.ID] = true
	}
}

func text(t *testing.T, p *Plan) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Text(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asJSON(t *testing.T, p *Plan) []byte {
	t.Helper()
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// The published Kubefiles and Clusterfiles are what a plan exists for.
func TestSeedPlans(t *testing.T) {
	img := seed(t)
	for _, name := range []string{"Clusterfile", "Clusterfile.full"} {
		p := mustMake(t, Input{Contents: img.contents, Plugins: img.plugins, Cluster: profile(t, name)})
		golden(t, name+".txt", text(t, p))
		golden(t, name+".json", asJSON(t, p))
		c, err := CleanPlan(Input{Contents: img.contents, Plugins: img.plugins, Cluster: profile(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		checkPlan(t, c)
		golden(t, name+".clean.txt", text(t, c))
	}
}
