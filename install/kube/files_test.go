package kube

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func treeOf(names ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for _, n := range names {
		m[n] = &fstest.MapFile{Data: []byte("x")}
	}
	return m
}

func TestStepFilesAreFoundAsAShellAndKubectlFindThem(t *testing.T) {
	c := &Cluster{o: Options{Rootfs: "/var/lib/sealer/data/c/rootfs", Files: treeOf(
		"m/b.yaml", "m/a.yml", "m/c.json", "m/readme.md", "m/.hidden.yaml", "m/sub/d.yaml", "apps/x/m/e.yaml", "apps/y/m/f.yaml")}}
	for _, tc := range []struct {
		dir       string
		files     string
		recursive bool
		want      string
	}{
		{"", "m/b.yaml", false, "m/b.yaml"},
		{"", "m", false, "m/.hidden.yaml m/a.yml m/b.yaml m/c.json"},
		{"", "m/", true, "m/.hidden.yaml m/a.yml m/b.yaml m/c.json m/sub/d.yaml"},
		{"", "m/*.yaml", false, "m/b.yaml"},
		{"", "./m/*", false, "m/a.yml m/b.yaml m/c.json m/readme.md m/sub/d.yaml"},
		{"m", "a.yml ../m/b.yaml", false, "m/a.yml m/b.yaml"},
		{"", "apps/*/m/*.yaml", false, "apps/x/m/e.yaml apps/y/m/f.yaml"},
		{"m", "/var/lib/sealer/data/c/rootfs/m/[ab].y*", false, "m/a.yml m/b.yaml"},
	} {
		got, err := c.expand(tc.dir, strings.Fields(tc.files), tc.recursive)
		if err != nil {
			t.Errorf("%v: %v", tc, err)
			continue
		}
		var names []string
		for _, p := range got {
			names = append(names, p.name)
		}
		if !slices.Equal(names, strings.Fields(tc.want)) {
			t.Errorf("%s in %q: got %v, want %s", tc.files, tc.dir, names, tc.want)
		}
	}
}

func TestStepFilesThatAreNotInTheBundleAreNamed(t *testing.T) {
	c := &Cluster{o: Options{Files: treeOf("m/a.yaml", "docs/readme.md")}}
	for file, want := range map[string]string{
		"absent.yaml":    "the bundle has no absent.yaml",
		"m/*.json":       "m/*.json matches no file of the bundle",
		"docs":           "the folder docs holds no manifest (.json, .yaml, .yml)",
		"../../etc/x":    "../../etc/x leads out of the root file system",
		"m/[":            "m/[ is no valid pattern",
		"/etc/x/*":       "/etc/x/*: wildcards are only for files of the bundle",
		"/etc/kube.yaml": "/etc/kube.yaml lies outside of the root file system of the bundle",
	} {
		_, err := c.load(t.Context(), "", []string{file}, false)
		if !errors.Is(err, ErrInput) || err.Error() != want {
			t.Errorf("%s gave %v, want %q", file, err, want)
		}
	}
}
