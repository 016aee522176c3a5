package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// LAN is a network of hosts that nothing leads out of: a bridge in a network
// namespace of its own, where the operator sits, too. Several can exist at
// once, all with the same addresses, since none sees another.
type LAN struct {
	// ID tells this network's namespaces, folders and control groups from
	// those of other runs.
	ID    string
	Hosts []*Host

	dir  string // hosts' file systems, keys
	base string // what the hosts are laid on
}

// Addresses of the network. The operator is .1 and also the router, which
// leads nowhere; hosts are .11, .12 and so on.
const (
	prefix     = "10.77.0."
	operatorIP = prefix + "1"
)

// Password is root's on every host.
const Password = "air gapped"

// NewLAN makes an empty network below dir, with hosts laid on base.
func NewLAN(ctx context.Context, dir, base string) (*LAN, error) {
	var id [3]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	l := &LAN{ID: "bde2e" + hex.EncodeToString(id[:]), base: base}
	l.dir = filepath.Join(dir, l.ID)
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, err
	}
	// Whoever finds this folder later can tell whether we still live.
	if err := os.WriteFile(filepath.Join(l.dir, "pid"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return nil, err
	}
	if _, err := output(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", l.KeyFile()); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	ns := l.Namespace()
	for _, line := range []string{
		"ip netns add " + ns,
		"ip -n " + ns + " link set lo up",
		"ip -n " + ns + " link add br0 type bridge",
		"ip -n " + ns + " addr add " + operatorIP + "/24 dev br0",
		"ip -n " + ns + " link set br0 up",
	} {
		f := strings.Fields(line)
		if _, err := output(ctx, f[0], f[1:]...); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

// Namespace is the operator's network namespace.
func (l *LAN) Namespace() string { return l.ID + "-lan" }

// KeyFile is the operator's SSH key, which root on every host accepts.
func (l *LAN) KeyFile() string { return filepath.Join(l.dir, "id") }

// Add boots hosts until there are n, and waits until all of them let the
// operator in.
func (l *LAN) Add(ctx context.Context, n int) error {
	for i := len(l.Hosts) + 1; i <= n; i++ {
		h := &Host{lan: l, Name: "h" + strconv.Itoa(i), IP: prefix + strconv.Itoa(10+i)}
		l.Hosts = append(l.Hosts, h)
		if err := h.prepare(ctx); err != nil {
			return err
		}
		if err := h.Boot(ctx); err != nil {
			return err
		}
	}
	for _, h := range l.Hosts {
		if err := h.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Operator runs a program where only the network can be reached.
func (l *LAN) Operator(ctx context.Context, args ...string) (string, error) {
	return output(ctx, "ip", append([]string{"netns", "exec", l.Namespace()}, args...)...)
}

// Links are the network interfaces that the operator and the hosts have, but
// for lo: what could lead out would be among them.
func (l *LAN) Links(ctx context.Context) (map[string][]string, error) {
	links := map[string][]string{}
	spaces := []string{l.Namespace()}
	for _, h := range l.Hosts {
		spaces = append(spaces, h.namespace())
	}
	for _, ns := range spaces {
		out, err := output(ctx, "ip", "-n", ns, "-o", "link")
		if err != nil {
			return nil, err
		}
		for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
			f := strings.SplitN(line, ": ", 3)
			if len(f) == 3 && f[1] != "lo" {
				name, _, _ := strings.Cut(f[1], "@")
				links[ns] = append(links[ns], name)
			}
		}
	}
	return links, nil
}

// Close ends the hosts and removes everything.
func (l *LAN) Close() error { return remove(l.dir) }

// remove undoes whatever a network of this or a former run has left; dir's
// last element is its ID.
func remove(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	id := filepath.Base(dir)
	var problems []error
	hosts, _ := filepath.Glob(filepath.Join(dir, "h*"))
	for _, h := range hosts {
		problems = append(problems, removeHost(ctx, id, h))
	}
	if _, err := os.Stat("/run/netns/" + id + "-lan"); err == nil {
		_, err := output(ctx, "ip", "netns", "del", id+"-lan")
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("network %s is not wholly removed: %w", id, err)
	}
	return os.RemoveAll(dir)
}

// CleanUp removes the networks below dir whose makers are dead.
func CleanUp(dir string) error {
	var problems []error
	left, _ := filepath.Glob(filepath.Join(dir, "bde2e*"))
	for _, d := range left {
		if !alive(filepath.Join(d, "pid"), ".test") {
			problems = append(problems, remove(d))
		}
	}
	return errors.Join(problems...)
}

// alive tells whether the process whose number is in the file lives and has
// the text in its command line, so that a number used again is not taken for
// the old process.
func alive(pidFile, text string) bool {
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		return false
	}
	cmdline, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
	return err == nil && strings.Contains(string(cmdline), text)
}
