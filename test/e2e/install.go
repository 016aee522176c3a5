package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Site is the disconnected side: the operator with the program, the bundle,
// the public key and a Clusterfile, in the network of the hosts.
type Site struct {
	LAN *LAN
	// Bundle is the program, Key the public key.
	Bundle, Key string
	// Files are the bundle's.
	Files       []string
	Clusterfile string
	// Log gets what the program prints on standard error.
	Log *bytes.Buffer
}

// NewSite writes the Clusterfile for the network's first hosts: masters
// control planes and then nodes.
func NewSite(lan *LAN, bundle string, b *Bundles, masters, nodes int) (*Site, error) {
	s := &Site{LAN: lan, Bundle: bundle, Files: []string{b.Product}, Key: b.Key, Log: &bytes.Buffer{}}
	text, err := os.ReadFile(filepath.Join(testdata, "cnstack-ce/deploy/Clusterfile"))
	if err != nil {
		return nil, err
	}
	var ips []string
	for i := range masters + nodes {
		ips = append(ips, fmt.Sprint(prefix, 11+i))
	}
	out := strings.ReplaceAll(string(text), "$PASSWD", Password)
	out = strings.ReplaceAll(out, "$MASTER_IP_1", strings.Join(ips[:masters], ", "))
	if nodes > 0 {
		out += "  nodes:\n    ipList: [" + strings.Join(ips[masters:], ", ") + "]\n"
	}
	s.Clusterfile = filepath.Join(lan.dir, "Clusterfile")
	return s, os.WriteFile(s.Clusterfile, []byte(out), 0o600)
}

// AsSudoer lets the operator in as a user who becomes root by sudo, with a
// password, and root's own password no more.
func (s *Site) AsSudoer(ctx context.Context) error {
	const script = `useradd -m -s /bin/bash -G sudo ops && echo "ops:` + Password + `" | chpasswd &&
sed -i 's/^PermitRootLogin.*/PermitRootLogin prohibit-password/' /etc/ssh/sshd_config.d/root.conf && systemctl reload ssh`
	for _, h := range s.LAN.Hosts {
		if _, err := h.Run(ctx, script); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(s.Clusterfile)
	if err != nil {
		return err
	}
	return os.WriteFile(s.Clusterfile, bytes.ReplaceAll(text, []byte("user: root"), []byte("user: ops")), 0o600)
}

// Command is one of the program's, run where only the hosts can be reached,
// with a home of its own.
func (s *Site) Command(ctx context.Context, args ...string) *exec.Cmd {
	// By default root keeps a cluster's records where all runs would share them.
	if slices.Contains([]string{"preflight", "install", "status", "check", "clean"}, args[0]) {
		args = append(args, "--state", filepath.Join(s.LAN.dir, "state"))
	}
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", s.LAN.Namespace(), s.Bundle}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.home(), "XDG_STATE_HOME=", "XDG_CONFIG_HOME=", "XDG_CACHE_HOME=", "SSH_AUTH_SOCK=", "BUNDLE_PASSWORD=e2e")
	cmd.Dir = s.LAN.dir
	cmd.Stderr = s.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (s *Site) home() string { return filepath.Join(s.LAN.dir, "home") }

// run gives the standard output and the exit code; it errs only if the
// program could not be run.
func (s *Site) run(ctx context.Context, args ...string) (string, int, error) {
	if err := os.MkdirAll(s.home(), 0o700); err != nil {
		return "", 0, err
	}
	s.Log.Reset()
	cmd := s.Command(ctx, args...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return stdout.String(), exit.ExitCode(), nil
	}
	return stdout.String(), 0, err
}

// must is run for what has to succeed.
func (s *Site) must(ctx context.Context, args ...string) (string, error) {
	out, code, err := s.run(ctx, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("bundle %s: exit %d\n%s%s", strings.Join(args, " "), code, tail(out, 40), tail(s.Log.String(), 60))
	}
	return out, err
}

func (s *Site) installArgs(more ...string) []string {
	return append(s.args("install", "--yes"), more...)
}

// args are those of a command about the bundle and the site.
func (s *Site) args(command string, more ...string) []string {
	return slices.Concat([]string{command}, s.Files, []string{"-f", s.Clusterfile, "--key", s.Key}, more)
}

// Images gives the digests that the bundle promises, by name without host and
// by name with it.
func (s *Site) Images(ctx context.Context) (map[string]string, error) {
	out, err := s.must(ctx, slices.Concat([]string{"images", "-o", "json"}, s.Files)...)
	if err != nil {
		return nil, err
	}
	var list []struct{ Name, Digest string }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	digests := map[string]string{}
	for _, i := range list {
		_, hostless, _ := strings.Cut(i.Name, "/")
		digests[i.Name], digests["sea.hub:5000/"+hostless] = i.Digest, i.Digest
	}
	return digests, nil
}

func tail(text string, n int) string {
	lines := strings.SplitAfter(text, "\n")
	if len(lines) > n {
		lines = append([]string{"…\n"}, lines[len(lines)-n:]...)
	}
	return strings.Join(lines, "")
}
