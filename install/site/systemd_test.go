package site

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeSystemctl stands in for systemd: it notes how it is called, starts what
// the unit says, and stops it.
const fakeSystemctl = `
echo "$*" >> "$D/calls"
start() {
  line=$(sed -n 's/^ExecStart=//p' "$UNITFILE")
  eval "setsid $line </dev/null >>'$D/log' 2>&1 &"
  echo $! > "$D/pid"
}
stop() { [ ! -f "$D/pid" ] || { kill "$(cat "$D/pid")" 2>/dev/null; while kill -0 "$(cat "$D/pid")" 2>/dev/null; do sleep 0.05; done; rm -f "$D/pid"; }; }
case "$1 $2" in
"is-active --quiet") [ "$3" != bundle-registry.service ] && exit $([ -f "$D/$3.active" ] && echo 0 || echo 3)
  [ -f "$D/pid" ] && kill -0 "$(cat "$D/pid")" 2>/dev/null;;
is-active*) if [ -f "$D/pid" ] && kill -0 "$(cat "$D/pid")" 2>/dev/null; then echo active; else echo activating; exit 3; fi;;
restart*) if [ "$2" = bundle-registry.service ]; then stop; start; fi;;
stop*) stop;;
esac
`

// withSystemd makes a host on which systemd seems to run. calls gives how it
// was called since the last time, without the questions.
func withSystemd(t *testing.T, s *Site, h *testHost) (calls func() string, dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, d := range []string{s.p.systemd, filepath.Dir(s.p.unit)} { // as every host has them
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.fake(t, "systemctl", "D="+dir+"\nUNITFILE="+s.p.unit+"\n"+fakeSystemctl)
	h.fake(t, "journalctl", "cat "+dir+"/log")
	return func() string {
		b, err := os.ReadFile(dir + "/calls")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		_ = os.Remove(dir + "/calls")
		var list []string
		for line := range strings.Lines(string(b)) {
			if !strings.HasPrefix(line, "is-active") {
				list = append(list, strings.TrimSpace(line))
			}
		}
		return strings.Join(list, "; ")
	}, dir
}

func TestServiceFromNothingToNothing(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	calls, _ := withSystemd(t, s, h)
	before := tree(t, s.p.root)
	mustPlace(t, s, h, true, f.first)
	if got := calls(); got != "" {
		t.Errorf("placing called systemctl %s", got)
	}
	if out := mustStart(t, s, h, true); strings.Contains(out.Detail, "systemd") {
		t.Errorf("%+v", out)
	}
	const restart = "daemon-reload; enable --quiet bundle-registry.service; restart bundle-registry.service"
	if got := calls(); got != restart {
		t.Errorf("start called systemctl %s", got)
	}
	mustStart(t, s, h, false)
	if got := calls(); got != "" {
		t.Errorf("a second start called systemctl %s", got)
	}
	// Another bundle is another unit.
	mustPlace(t, s, h, true, f.second)
	mustStart(t, s, h, true)
	if got := calls(); got != restart {
		t.Errorf("with another bundle systemctl %s", got)
	}
	// So is another program.
	o := s.o
	o.Binary = filepath.Join(t.TempDir(), "bundle")
	b := get1(t, f.program)
	if err := os.WriteFile(o.Binary, append([]byte(b), "x"...), 0o755); err != nil {
		t.Fatal(err)
	}
	other := newSite(t, o)
	if out, err := other.PlaceProgram(t.Context(), h); err != nil || !out.Changed {
		t.Fatalf("%+v %v", out, err)
	}
	mustStart(t, other, h, true)
	if got := calls(); got != restart {
		t.Errorf("with another program systemctl %s", got)
	}
	r, err := s.Undo(t.Context(), h)
	if err != nil || len(r.Left) > 0 || !strings.Contains(r.Detail, "service bundle-registry.service") {
		t.Fatalf("%+v %v", r, err)
	}
	if got := calls(); got != "stop bundle-registry.service; disable --quiet bundle-registry.service; daemon-reload; reset-failed bundle-registry.service" {
		t.Errorf("undo called systemctl %s", got)
	}
	if after := tree(t, s.p.root); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if again, err := s.Undo(t.Context(), h); err != nil || again.Changed || calls() != "" {
		t.Errorf("%+v %v", again, err)
	}
}

func TestServiceThatDoesNotComeUp(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	_, _ = withSystemd(t, s, h)
	mustPlace(t, s, h, true, f.first)
	o := s.o
	o.Listen = "203.0.113.1"
	_, err := newSite(t, o).Start(t.Context(), h)
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "host 127.0.0.1: the registry ends right after it started: the registry cannot listen on 203.0.113.1") {
		t.Error(err)
	}
	if hint := err.(interface{ Hint() string }).Hint(); hint != "journalctl -u bundle-registry.service on the host says more" {
		t.Errorf("hint: %s", hint)
	}
}

const config16 = `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "sea.hub:5000/oecp/pause:3.2"
`

// The image's own scripts bring containerd, with a configuration that knows
// nothing of us, and docker's settings with a mirror in plain HTTP.
func TestRuntimeThatTheImageBrought(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	calls, dir := withSystemd(t, s, h)
	mustPlace(t, s, h, true, f.first)
	mustStart(t, s, h, true)
	// Whatever this machine has is not what the test is about.
	h.fake(t, "containerd", `[ "$3" != config ] || cat "$2"`)
	h.fake(t, "ctr", "")
	out, err := s.Trust(t.Context(), h, []string{"docker.io"})
	if err != nil || !strings.Contains(out.Detail, "containerd's config_path does not name") {
		t.Fatalf("%+v %v", out, err)
	}
	calls()
	put1(t, s.p.containerd, config16)
	put1(t, s.p.daemon, `{"mirror-registries":[{"domain":"*","mirrors":["http://sea.hub:5000"]}]}`)
	put1(t, dir+"/containerd.active", "")
	put1(t, dir+"/docker.active", "")
	if out, err = s.EnsureRuntime(t.Context(), h); err != nil || !out.Changed {
		t.Fatalf("%+v %v", out, err)
	}
	if got := calls(); got != "restart docker; restart containerd" {
		t.Errorf("systemctl %s", got)
	}
	if got := get1(t, s.p.containerd); got != config16+"\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \""+s.p.certs+"\"\n" {
		t.Error(got)
	}
	if got := get1(t, s.p.daemon); strings.Contains(got, "http://sea.hub") || !strings.Contains(got, "https://"+s.addr("127.0.0.1")) {
		t.Error(got)
	}
	if out, err = s.EnsureRuntime(t.Context(), h); err != nil || out.Changed || calls() != "" {
		t.Errorf("a second time: %+v %v", out, err)
	}
	if out, err = s.Trust(t.Context(), h, nil); err != nil || out.Changed || strings.Contains(out.Detail, "config_path") {
		t.Errorf("%+v %v", out, err)
	}
	r, err := s.Undo(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if got := calls(); !strings.HasSuffix(got, "restart containerd; reload-or-restart docker") {
		t.Errorf("systemctl %s", got)
	}
	if get1(t, s.p.containerd) != config16 || !strings.Contains(get1(t, s.p.daemon), `"http://sea.hub:5000"`) || len(r.Left) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestContainerdThatDoesNotComeUpGetsItsOldSettingsBack(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	_, dir := withSystemd(t, s, h)
	h.fake(t, "containerd", "")
	h.fake(t, "ctr", `if grep -q config_path "`+s.p.containerd+`"; then exit 1; fi`)
	h.fake(t, "sleep", "")
	put1(t, s.p.containerd, config16)
	put1(t, dir+"/containerd.active", "")
	_, _, err := s.ensureConfigPath(t.Context(), h)
	if err == nil || !strings.HasSuffix(err.Error(), "cannot have containerd take its new settings: it does not answer after its restart") {
		t.Error(err)
	}
	if got := get1(t, s.p.containerd); got != config16 {
		t.Error(got)
	}
}

func TestContainerdWithMirrorsInTheOldWayIsLeft(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	const old = config16 + "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"sea.hub:5000\"]\n  endpoint = [\"https://sea.hub:5000\"]\n"
	put1(t, s.p.containerd, old)
	changed, notes, err := s.ensureConfigPath(t.Context(), h)
	if err != nil || len(changed) > 0 || len(notes) != 1 || !strings.Contains(notes[0], "is left as it is") || get1(t, s.p.containerd) != old {
		t.Errorf("%v %q %v", changed, notes, err)
	}
	// Below docker containerd is nothing to the kubelet, and has no word for it.
	const below = "disabled_plugins = [\"cri\"]\n"
	put1(t, s.p.containerd, below)
	if changed, notes, err := s.ensureConfigPath(t.Context(), h); err != nil || len(changed)+len(notes) > 0 || get1(t, s.p.containerd) != below {
		t.Errorf("%v %q %v", changed, notes, err)
	}
}
