package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"bundle/manifest"
	"bundle/manifest/chart"
	"bundle/manifest/step"
)

// fieldManager is who we are in the managed fields of objects.
const fieldManager = "bundle"

// Dialer connects to an address as seen from a place where the API server can
// be reached.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// FileReader reads a file of a host; an install/host.Host is one.
type FileReader interface {
	// ReadFile reads a file of at most limit bytes. It errs with
	// fs.ErrNotExist where there is none.
	ReadFile(ctx context.Context, path string, limit int64) ([]byte, error)
}

// Options say how to reach a cluster and what its steps read. The zero value
// dials from this machine and has no files.
type Options struct {
	// Dial reaches the API server; nil dials from here.
	Dial Dialer
	// Master0 is the address of the first master, by which steps that mean it
	// find its node. Its host name is good, too.
	Master0 string
	// Files is the root file system as the install writes it; nil has none.
	Files fs.FS
	// Rootfs is where that tree lies on a host, so that an absolute path into
	// it means Files; empty where none does.
	Rootfs string
	// Host reads other absolute paths; nil refuses them.
	Host FileReader
	// Chart gives the charts that Files does not have: those that steps name by
	// "oci://…", and by the path that a bundle.yaml has them at. It errs with
	// [fs.ErrNotExist]; nil has none.
	Chart func(ctx context.Context, ref, version string) (*chart.Chart, error)
	// Note hears what a step is doing, one line each; nil is deaf. It is called
	// from several goroutines, one at a time.
	Note func(line string)
	// QPS bounds requests a second, twice that in a burst; default 50, below 0
	// unbounded.
	QPS float32
	// RequestTimeout bounds one exchange that is no watch; default 60 s.
	RequestTimeout time.Duration
	// Poll is the pause between two looks at what is waited for; default 1 s.
	Poll time.Duration
	// Timeout bounds steps that name no time of their own; default as
	// [DefaultTimeout] says.
	Timeout time.Duration
}

// Cluster is a connection to one API server. Its methods may be called at
// once from several goroutines.
type Cluster struct {
	o      Options
	server string
	// base sends requests, again where that helps; plain is the configuration
	// for clients on top of it.
	base http.RoundTripper
	raw  http.RoundTripper
	// plain has no transport; sessions set theirs.
	plain *rest.Config
	out   *outage
}

// Connect reads a kubeconfig. It opens no connection.
func Connect(kubeconfig []byte, o Options) (*Cluster, error) {
	silence()
	o.QPS = cmp.Or(o.QPS, 50)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, time.Minute)
	o.Poll = cmp.Or(o.Poll, time.Second)
	o.Note = oneAtATime(o.Note)
	cfg, err := restConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	out := &outage{say: o.Note, now: time.Now}
	base, plain, err := connection(cfg, o, out)
	if err != nil {
		return nil, err
	}
	return &Cluster{o: o, server: cfg.Host, base: base, raw: base.(*retrier).next, plain: plain, out: out}, nil
}

// Close drops the connections.
func (c *Cluster) Close() { utilnet.CloseIdleConnectionsFor(c.raw) }

// Server is the address of the API server, for messages.
func (c *Cluster) Server() string { return c.server }

// Outcome is what a step did.
type Outcome struct {
	// Changed tells whether anything is other than before.
	Changed bool
	// Detail is one line for people.
	Detail string
}

// DefaultTimeout is how long a step of a kind may take that names no time.
func DefaultTimeout(kind string) time.Duration {
	switch kind {
	case manifest.StepHelmRelease, manifest.StepWaitCRD, manifest.StepWaitDeployment:
		return 10 * time.Minute
	case manifest.StepKubectlApply, manifest.StepKubectlCreate, manifest.StepKubectlDelete, manifest.StepHelmUninstall:
		return 5 * time.Minute
	}
	return 2 * time.Minute
}

// Run does a step of any kind but exec. It ends when the time of the step is
// over, and a little later at most. Errors are *[Error], or the error of ctx
// where that was cancelled.
func (c *Cluster) Run(ctx context.Context, s manifest.Step) (Outcome, error) {
	a, err := step.Decode(s)
	if err != nil {
		return Outcome{}, fail(ErrInput, "step "+s.ID, "%s", err).because(err)
	}
	limit := time.Duration(s.TimeoutSeconds) * time.Second
	if limit <= 0 {
		limit = cmp.Or(c.o.Timeout, DefaultTimeout(s.Kind))
	}
	run, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ses, err := c.session(run)
	if err != nil {
		return Outcome{}, err
	}
	defer ses.close()
	out, err := ses.do(run, a)
	if err != nil {
		return Outcome{}, c.explain(ctx, a.Summary(), limit, err)
	}
	return out, nil
}

// do hands an action to what does it.
func (s *session) do(ctx context.Context, a step.Action) (Outcome, error) {
	switch a := a.(type) {
	case *step.HelmRelease:
		return s.release(ctx, *a)
	case *step.HelmUninstall:
		return s.uninstall(ctx, *a)
	case *step.Apply:
		return s.apply(ctx, *a)
	case *step.Create:
		return s.create(ctx, *a)
	case *step.Delete:
		return s.delete(ctx, *a)
	case *step.Namespace:
		made, err := s.ensureNamespace(ctx, a.Name)
		return outcome(made, "made namespace "+a.Name, "namespace "+a.Name+" is there"), err
	case *step.Scale:
		return s.scale(ctx, *a)
	case *step.Taint:
		return s.taint(ctx, *a)
	case *step.Label:
		return s.meta(ctx, a.Meta, "label")
	case *step.Annotate:
		return s.meta(ctx, a.Meta, "annotation")
	case *step.Patch:
		return s.patch(ctx, *a)
	case *step.WaitCRD:
		return s.waitCRD(ctx, *a)
	case *step.WaitRollout:
		return s.waitRollout(ctx, *a)
	}
	return Outcome{}, fail(ErrInput, a.Kind(), "a step of the kind %s is not for the API server", a.Kind())
}

func outcome(changed bool, did, is string) Outcome {
	if changed {
		return Outcome{Changed: true, Detail: did}
	}
	return Outcome{Detail: is}
}

// explain makes the error of a step: cancelled runs keep the error of their
// context; an outage is told as one; other errors get a sentence.
func (c *Cluster) explain(ctx context.Context, what string, limit time.Duration, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	own, isOwn := errors.AsType[*Error](err)
	if away, why := c.out.state(); away >= notice && (!isOwn || own.Class == nil || own.Class == ErrTimeout) {
		return fail(ErrTimeout, "the API server "+c.server,
			"the API server %s has not answered for %s (%s), so this was not done: %s", c.server, span(away), why, what).
			because(err).advise("look at the API server on the first master: crictl ps -a, journalctl -u kubelet")
	}
	if isOwn {
		return own
	}
	if ended(err) {
		return fail(ErrTimeout, c.server, "%s: not done within %s", what, span(limit)).because(err)
	}
	return fail(nil, c.server, "%s: %s", what, oneLine(reason(err))).because(err)
}

// poll calls look until it says that it is done, the first time at once.
// Errors end it.
func (c *Cluster) poll(ctx context.Context, every time.Duration, look func() (done bool, err error)) error {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		done, err := look()
		if err != nil || done {
			return err
		}
		t.Reset(every)
	}
}

// note tells people what is going on.
func (c *Cluster) note(format string, args ...any) { c.o.Note(fmt.Sprintf(format, args...)) }
