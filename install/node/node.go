package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"bundle/install/host"
	"bundle/manifest/cluster"
	"bundle/manifest/kubeadm"
)

// Classes of errors, for errors.Is.
var (
	// ErrForeign says that the host belongs to a cluster that this installer
	// did not make.
	ErrForeign = errors.New("another cluster's node")
	// ErrKubeadm says that kubeadm failed.
	ErrKubeadm = errors.New("kubeadm failed")
	// ErrAPI says that the API server does not answer as it should.
	ErrAPI = errors.New("no answer from the API server")
	// ErrAgent says that our own program failed on the host.
	ErrAgent = errors.New("the host's program failed")
	// ErrDamaged says that the registry gave other bytes than the bundle has.
	ErrDamaged = errors.New("damaged on the way")
)

// Error is a step that failed on one host.
type Error struct {
	Host string
	// Text is one sentence that names the host.
	Text string
	// Class is one of the sentinels of this package.
	Class error
	// Err is the cause, if there is one.
	Err  error
	hint string
}

// Error gives one sentence.
func (e *Error) Error() string { return e.Text }

// Hint says what to do next.
func (e *Error) Hint() string { return e.hint }

// Object is the host.
func (e *Error) Object() string { return e.Host }

// Unwrap gives the class and the cause.
func (e *Error) Unwrap() []error {
	var list []error
	for _, err := range []error{e.Class, e.Err} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

func fail(h host.Host, class, cause error, hint, format string, args ...any) error {
	return &Error{Host: h.Name(), Text: h.Name() + ": " + fmt.Sprintf(format, args...), Class: class, Err: cause, hint: hint}
}

// Outcome is what an operation did. Detail is one line for people.
type Outcome struct {
	Changed bool
	Detail  string
}

// Options says which cluster the hosts belong to. Cluster is needed; the rest
// has defaults.
type Options struct {
	// Input is what kubeadm's configuration is made of, the Clusterfile among
	// it.
	Input kubeadm.Input
	// Program is our own program on the hosts; empty is /var/lib/bundle/bin/bundle.
	Program string
	// Redactor, if set, is told of every secret before it is used.
	Redactor *host.Redactor
	// TicketTTL is how long a token to join is good for; 0 is two hours.
	TicketTTL time.Duration
	// APITimeout is how long the API server of a finished cluster may take to
	// answer; 0 is two minutes.
	APITimeout time.Duration
	// Root is the prefix of every path on a host; empty is "/".
	Root string
}

// Nodes works on the hosts of one cluster. Its methods may be called at once
// for several hosts.
type Nodes struct {
	o      Options
	rootfs string

	mu      sync.Mutex
	tickets map[bool]*ticket // by whether it is for control planes
}

// New makes the nodes of a cluster. It touches no host.
func New(o Options) (*Nodes, error) {
	if o.Input.Cluster == nil || len(o.Input.Cluster.Hosts) == 0 {
		return nil, errors.New("no hosts are named")
	}
	o.Root = strings.TrimSuffix(o.Root, "/")
	if o.Program == "" {
		o.Program = o.Root + "/var/lib/bundle/bin/bundle"
	}
	if o.TicketTTL == 0 {
		o.TicketTTL = 2 * time.Hour
	}
	if o.APITimeout == 0 {
		o.APITimeout = 2 * time.Minute
	}
	return &Nodes{o: o, rootfs: o.Root + o.Input.Cluster.Rootfs(), tickets: map[bool]*ticket{}}, nil
}

// at gives a path on a host.
func (n *Nodes) at(p string) string { return n.o.Root + p }

func (n *Nodes) cluster() *cluster.Cluster { return n.o.Input.Cluster }

// prelude stands before every script of ours. The image's own programs come
// last in the PATH.
const prelude = `set -eu
export PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$ROOTFS/bin" LC_ALL=C
umask 022
`

// env are the variables that every script of ours has.
func (n *Nodes) env(more ...string) map[string]string {
	m := map[string]string{
		"ROOT": n.o.Root, "ROOTFS": n.rootfs,
		"STATE": n.at(statePath), "LOCK": n.at(lockPath), "CONFIG": n.at(configPath),
	}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

// Bounds of what is kept of a script's output, in bytes.
const (
	maxOutput = 1 << 20
	maxErrors = 256 << 10
)

// run runs a script of ours and gives its output.
func (n *Nodes) run(ctx context.Context, h host.Host, label, script string, env map[string]string, stdin []byte) (string, error) {
	var out, errs tail
	out.limit, errs.limit = maxOutput, maxErrors
	c := host.Command{Label: label, Script: prelude + script, Env: env, Stdout: &out, Stderr: &errs}
	if stdin != nil {
		c.Stdin = bytes.NewReader(stdin)
	}
	if err := h.Run(ctx, c); err != nil {
		return out.String() + "\n" + errs.String(), err
	}
	return out.String(), nil
}

// tail keeps the last bytes that are written to it.
type tail struct {
	mu    sync.Mutex
	limit int
	buf   []byte
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.limit; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.buf), "?")
}

// printable makes one line of what a host said, and shortens it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	const most = 600
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// hostOf gives the host's entry of the Clusterfile.
func (n *Nodes) hostOf(h host.Host) (cluster.Host, error) {
	for _, c := range n.cluster().Hosts {
		if c.Address == h.Name() {
			return c, nil
		}
	}
	return cluster.Host{}, fail(h, nil, nil, "", "it is not in the Clusterfile")
}

// split gives host and port of an endpoint.
func split(endpoint string) (name, port string) {
	name, port, err := net.SplitHostPort(endpoint)
	if err != nil {
		return endpoint, "6443"
	}
	return name, port
}
