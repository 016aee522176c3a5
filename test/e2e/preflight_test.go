package e2e

import (
	"os"
	"slices"
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
	if _, err := s.must(t.Context(), s.args("preflight")...); err != nil {
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
			out, code, err := s.run(t.Context(), s.args("preflight")...)
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

// What is missing is found before any host is touched: an image that a chart
// asks for, the base of a delta, and a volume. What is hit has its name.
func TestWhatIsMissingIsFoundBeforehand(t *testing.T) {
	t.Parallel()
	s := newSite(t, 1, 0)
	b := bundles(t)
	before, err := s.LAN.Hosts[0].Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		files []string
		says  []string
	}{
		{"an image", []string{b.Incomplete}, []string{"caas-ui"}},
		{"the base", []string{b.Delta}, []string{"its base ackdistro v1.20.4-ack-2", "\n  image ", "coredns"}},
		{"a volume", slices.Concat(b.Volumes[2:], b.Volumes[:1]), []string{"volume 2 of ", "\n  "}},
	} {
		s.Files = c.files
		for _, args := range [][]string{s.args("rehearse"), s.installArgs()} {
			out, code, err := s.run(t.Context(), args...)
			if err != nil {
				t.Fatal(err)
			}
			text := out + s.Log.String()
			if code != 5 {
				t.Errorf("bundle %s without %s: exit %d, want 5\n%s", args[0], c.name, code, text)
			}
			for _, want := range c.says {
				if !strings.Contains(text, want) {
					t.Errorf("bundle %s without %s does not say %q:\n%s", args[0], c.name, want, text)
				}
			}
		}
	}
	after, err := s.LAN.Hosts[0].Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := before.Diff(after); len(diff) > 0 {
		t.Errorf("the host was touched:\n%s", strings.Join(diff, "\n"))
	}
}
