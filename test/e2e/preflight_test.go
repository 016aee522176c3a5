package e2e

import (
	"os"
	"strings"
	"testing"
)

// Each fault is found before anything is touched, by the name that the user
// gave the host, in words of the fault.
func TestPreflightFinds(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 1)
	good, err := os.ReadFile(s.Clusterfile)
	if err != nil {
		t.Fatal(err)
	}
	h1, h2 := s.LAN.Hosts[0], s.LAN.Hosts[1]
	on := func(h *Host, script string) {
		t.Helper()
		if _, err := h.Run(t.Context(), script); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(old, replacement string) {
		t.Helper()
		if err := os.WriteFile(s.Clusterfile, []byte(strings.ReplaceAll(string(good), old, replacement)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.must(t.Context(), "preflight", s.File, "-f", s.Clusterfile, "--key", s.Key); err != nil {
		t.Fatalf("good hosts do not pass: %v", err)
	}
	before := map[*Host]Snapshot{}
	for _, h := range s.LAN.Hosts {
		if before[h], err = h.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, fault := range []struct {
		name       string
		make, undo func()
		says       []string
	}{
		{"a host that is down", func() { edit("["+h2.IP+"]", "["+h2.IP+", 10.77.0.99]") }, func() {}, []string{"10.77.0.99"}},
		{"a wrong password", func() { edit(Password, "guessed") }, func() {}, []string{h1.IP, h2.IP, "password"}},
		{
			"a full disk",
			func() { on(h2, "mkdir -p /var/lib/sealer && mount -t tmpfs -o size=20m tmpfs /var/lib/sealer") },
			func() { on(h2, "umount /var/lib/sealer && rmdir /var/lib/sealer") },
			[]string{h2.IP, "/var/lib/sealer"},
		},
		{
			"a taken port",
			func() { on(h1, "systemd-run -q --unit=squatter socat TCP-LISTEN:5000,fork,reuseaddr EXEC:cat") },
			func() { on(h1, "systemctl stop squatter") },
			[]string{h1.IP, "5000", "socat"},
		},
		{
			// All hosts have the clock of this machine, so the tool that
			// tells it has to lie.
			"a clock that is ten minutes off",
			func() {
				on(h2, `cp -p /usr/bin/date /usr/bin/date.real
printf '#!/bin/bash\nfor a; do case $a in -d*|--date*) exec /usr/bin/date.real "$@";; esac; done\nexec /usr/bin/date.real -d "+10 minutes" "$@"\n' >/usr/bin/date.new
chmod 755 /usr/bin/date.new && mv /usr/bin/date.new /usr/bin/date`)
			},
			func() { on(h2, "mv /usr/bin/date.real /usr/bin/date") },
			[]string{h2.IP, "clock"},
		},
	} {
		t.Run(fault.name, func(t *testing.T) {
			edit("", "")
			fault.make()
			out, code, err := s.run(t.Context(), "preflight", s.File, "-f", s.Clusterfile, "--key", s.Key)
			fault.undo()
			if err != nil {
				t.Fatal(err)
			}
			text := out + s.Log.String()
			if code == 0 {
				t.Errorf("preflight passes:\n%s", text)
			}
			for _, w := range fault.says {
				if !strings.Contains(strings.ToLower(text), strings.ToLower(w)) {
					t.Errorf("preflight does not say %q:\n%s", w, text)
				}
			}
			if strings.Contains(text, Password) {
				t.Errorf("preflight prints the password:\n%s", text)
			}
		})
	}
	for _, h := range s.LAN.Hosts {
		after, err := h.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range before[h].Diff(after) {
			// date was copied and moved back by us.
			if !strings.Contains(d, "/usr/bin/date") {
				t.Errorf("preflight has changed %s: %s", h.Name, d)
			}
		}
	}
}

// An image that a chart asks for and the bundle does not have is found
// without any host.
func TestImageThatIsMissingIsFoundBeforehand(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 0)
	s.File = bundles(t).Incomplete
	for _, cmd := range []string{"rehearse", "install"} {
		args := []string{cmd, s.File, "-f", s.Clusterfile, "--key", s.Key}
		if cmd == "install" {
			args = append(args, "--yes")
		}
		out, code, err := s.run(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		if text := out + s.Log.String(); code != 5 || !strings.Contains(text, "caas-ui") {
			t.Errorf("bundle %s: exit %d, want 5 and the name of caas-ui\n%s", cmd, code, text)
		}
	}
}
