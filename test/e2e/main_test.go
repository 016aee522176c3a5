package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cache is where everything of this folder lies.
const cache = "../../.cache/e2e"

func TestMain(m *testing.M) {
	if why := missing(); why != "" {
		fmt.Println("skipped: " + why)
		os.Exit(0)
	}
	if err := CleanUp(runs()); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	code := m.Run()
	tearDown()
	os.Exit(code)
}

// missing says what hosts cannot be made without.
func missing() string {
	if os.Getuid() != 0 {
		return "hosts need root"
	}
	for _, tool := range []string{"systemd-nspawn", "debootstrap", "ssh", "ip", "chroot"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "hosts need " + tool
		}
	}
	fs, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(fs), "\toverlay\n") {
		return "hosts need overlay file systems"
	}
	return ""
}

func runs() string {
	abs, err := filepath.Abs(filepath.Join(cache, "runs"))
	if err != nil {
		panic(err)
	}
	return abs
}

// newLAN boots n hosts that end with the test. With KEEP set they stay until
// the next run when the test has failed, to be looked at.
func newLAN(t *testing.T, n int) *LAN {
	t.Helper()
	lan, err := NewLAN(t.Context(), runs(), filepath.Join(workshop(t).Debian, "base"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("KEEP") != "" {
			t.Logf("kept: %s", lan.dir)
			select {} // until somebody kills us
		}
		if err := lan.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := lan.Add(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return lan
}
