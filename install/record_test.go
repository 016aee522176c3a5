package install

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bundle/install/check"
	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/cluster"
)

func step(id, script, dir string) plan.Step {
	return plan.Step{Step: manifest.Step{ID: id, Kind: plan.KindHostScript}, Hosts: []string{"10.0.0.1"}, Script: script, Dir: dir}
}

func TestRecordKeepsTheWayBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "my-cluster")
	j := &Job{known: &Record{
		Schema: recordSchema, Bundle: check.Bundle{Name: "shop", Version: "1"},
		Env:   []manifest.EnvVar{{Name: "A", Value: "b"}},
		Clean: saved(&plan.Plan{Operation: plan.Clean, Cluster: "my-cluster", Steps: []plan.Step{step("clean.a", "rm -rf /x\n", "/r")}}),
	}}
	if err := j.WriteRecord(dir, nil); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, RecordName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the record, which has scripts of the site, is mode %o", info.Mode().Perm())
	}
	got, err := Recorded(dir, LoadOptions{Cluster: cluster.Options{Masters: []string{"10.0.0.1"}}})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Clean.Steps) != 1 || got.Clean.Steps[0].Script != "rm -rf /x\n" || got.Clean.Steps[0].Dir != "/r" {
		t.Errorf("the plan to clean came back as %+v", got.Clean.Steps)
	}
	if env := got.env(); len(env) != 1 || env[0].Name != "A" {
		t.Errorf("the bundle's variables came back as %v", env)
	}
	if got.files() != nil {
		t.Error("a job without a bundle has files")
	}
}

func TestRecordThatCannotBeUsed(t *testing.T) {
	o := LoadOptions{Cluster: cluster.Options{Masters: []string{"10.0.0.1"}}}
	for name, text := range map[string]string{
		"not JSON":      "{",
		"of the future": `{"schema":2}`,
		"without plan":  `{"schema":1}`,
		"scripts gone":  `{"schema":1,"clean":{"plan":{"steps":[{"id":"x"}]},"scripts":[]}}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, RecordName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Recorded(dir, o); !errors.Is(err, ErrNoRecord) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	if _, err := Recorded(t.TempDir(), o); !errors.Is(err, ErrNoRecord) {
		t.Errorf("nothing there: the error is %v", err)
	}
}

func TestWriteFileLeavesNoHalf(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := writeFile(p, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(p); err != nil || string(data) != "two" {
		t.Errorf("the file holds %q, %v", data, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(filepath.Join(dir, "folder"), []byte("x")); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("after a failure the folder holds %v", entries)
	}
}

func TestOutputIsToldByLines(t *testing.T) {
	var got []string
	l := &lastLine{tell: func(s string) { got = append(got, s) }}
	for _, part := range []string{"on", "e\n\n  \ntw", "o\r\nthree", strings.Repeat("x", 3*maxLine), "\n"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write gave %d, %v", n, err)
		}
	}
	if len(got) != 3 || !slices.Equal(got[:2], []string{"one", "two"}) || len(got[2]) > maxLine || !strings.HasPrefix(got[2], "threexx") {
		t.Errorf("told %d lines: %.40q", len(got), got)
	}
}

func TestClusterfileIsBounded(t *testing.T) {
	p := filepath.Join(t.TempDir(), "Clusterfile")
	f, err := os.Create(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(maxClusterfile+1), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCluster(LoadOptions{Clusterfile: p}); !errors.Is(err, ErrInput) {
		t.Errorf("the error is %v", err)
	}
}

func TestPluginFiles(t *testing.T) {
	for p, want := range map[string]bool{
		"plugin/a": true, "plugin/.hidden": false, "plugins/a.yaml": true, "plugins/a.yml": true, "plugins/a.so": false,
		"plugin/sub/a.yaml": false, "plugins.yaml": false, "etc/plugin/a.yaml": false,
	} {
		if got := isPluginFile(manifest.File{Path: p, Type: "file"}); got != want {
			t.Errorf("isPluginFile(%s) = %v", p, got)
		}
	}
}
