package cluster

import (
	"errors"
	"io/fs"
	"net/netip"
	"strings"
	"testing"
)

// FuzzClusterfile: what is taken is usable, what is refused says so, and
// secrets stay where they are.
func FuzzClusterfile(f *testing.F) {
	for _, name := range []string{
		"v2.yaml", "traps/placeholders.yaml", "traps/windows.yaml", "traps/names.yaml", "traps/secrets.yaml",
		"cnstack-ce/deploy/Clusterfile.full", "cnstack-ce-2.x/deploy/Clusterfile",
	} {
		f.Add(string(read(f, name)), "MASTER_IP_1", "10.0.0.1")
	}
	f.Add("kind: Cluster\nspec: &a {hosts: [{ips: [1.1.1.1], roles: [master], ssh: {<<: *a}}]}", "a", "b")
	f.Add("---\n...\n%YAML 1.1\n---\nkind: Cluster\n", "x", "\"\\")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		o := Options{Set: map[string]string{name: value}, AllowNoHosts: true, SSH: SSH{Password: "k3pt-s3cret"}}
		c, err := Parse("C", strings.NewReader(text), o)
		if err != nil {
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("an error of another kind: %v", err)
			}
			if strings.Contains(err.Error(), "k3pt-s3cret") && !strings.Contains(text+name+value, "k3pt-s3cret") {
				t.Fatalf("the password is in the error: %v", err)
			}
			return
		}
		if !fileName.MatchString(c.Name) || !folderPath.MatchString(c.DataRoot) || !strings.HasPrefix(c.Rootfs(), "/") {
			t.Fatalf("the root file system would be %q", c.Rootfs())
		}
		seen := map[string]bool{}
		for i, h := range c.Hosts {
			if a, err := netip.ParseAddr(h.Address); err != nil || a.String() != h.Address || seen[h.Address] {
				t.Fatalf("host %q", h.Address)
			}
			seen[h.Address] = true
			if h.SSH.User == "" || h.SSH.Port == 0 || len(h.Roles) == 0 || h.Master() && i > 0 && !c.Hosts[i-1].Master() {
				t.Fatalf("host %+v", h)
			}
			for name := range c.HostEnv(h, nil) {
				if !varName.MatchString(name) {
					t.Fatalf("variable %q", name)
				}
			}
		}
		for _, cfg := range c.Configs {
			if !fs.ValidPath(cfg.Path) || cfg.Path == "." || cfg.Data == "" {
				t.Fatalf("Config %+v", cfg)
			}
		}
		for _, p := range c.Plugins {
			if _, _, err := c.Select(p); err != nil && !errors.Is(err, ErrSyntax) {
				t.Fatalf("an error of another kind: %v", err)
			}
		}
		if _, _, err := ParseConfigs("C", strings.NewReader(text)); err != nil && !errors.Is(err, ErrSyntax) {
			t.Fatalf("an error of another kind: %v", err)
		}
	})
}

// FuzzPlugin: whatever an image brings, its plugins run on hosts of the
// cluster or not at all.
func FuzzPlugin(f *testing.F) {
	for _, name := range []string{"plugins.yaml", "traps/on.yaml", "traps/preinstall.yaml", "cnstack-ce/charts/build-cnstack-ce/plugin_localpv.yaml"} {
		f.Add("plugin/x.yaml", string(read(f, name)), "10.0.0.1-10.0.0.3|master")
	}
	f.Fuzz(func(t *testing.T, name, text, on string) {
		c, err := Short([]string{"10.0.0.1"}, []string{"10.0.0.2-10.0.0.4"}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		list, _, err := ParsePlugins(name, []byte(text))
		if err != nil && !errors.Is(err, ErrSyntax) {
			t.Fatalf("an error of another kind: %v", err)
		}
		for _, p := range append(list, Plugin{Type: TypeShell, On: []string{on}}, Plugin{Type: TypeTaint, Data: on}) {
			hosts, _, err := c.Select(p)
			if err != nil && !errors.Is(err, ErrSyntax) {
				t.Fatalf("an error of another kind: %v", err)
			}
			seen := map[string]bool{}
			for _, h := range hosts {
				if seen[h.Address] && p.Type != TypeHostname {
					t.Fatalf("%s twice for %q", h.Address, p.On)
				}
				seen[h.Address] = true
			}
			if _, _, err := c.Table(p); err != nil && !errors.Is(err, ErrSyntax) {
				t.Fatalf("an error of another kind: %v", err)
			}
		}
	})
}

// FuzzSet: a value that is put in changes nothing but the place it is put in.
func FuzzSet(f *testing.F) {
	f.Add("a: $X", "v")
	f.Add("a: '$X'\nb: [\"$X\", ${X}]\nc: |\n  $X", "it's")
	f.Add("? $X\n: #X#", "a: b")
	f.Fuzz(func(t *testing.T, text, value string) {
		list := find(text, inContent)
		for _, l := range [][]found{list, find(text, inScript), find(text, inField), find(text, inSecret)} {
			end := 0
			for _, f := range l {
				if f.start < end || f.end <= f.start || f.end > len(text) || !varName.MatchString(f.name) {
					t.Fatalf("%q: %+v", text, f)
				}
				end = f.end
			}
		}
		fill := list[:0]
		for _, f := range list {
			if f.name == "X" {
				fill = append(fill, f)
			}
		}
		b := &binder{report: &report{}, set: map[string]string{"X": value}}
		filled := replace(text, fill, func(string) string { return value })
		if !b.fits(text, filled, fill) {
			return
		}
		if len(fill) == 0 && filled != text {
			t.Fatalf("%q became %q", text, filled)
		}
	})
}
