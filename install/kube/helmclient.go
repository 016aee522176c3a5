package kube

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"helm.sh/helm/v4/pkg/action"
	helmkube "helm.sh/helm/v4/pkg/kube"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"

	"bundle/manifest/chart"
)

// getter gives the Helm SDK the clients of a session.
type getter struct {
	s  *session
	ns string
}

func (g getter) ToRESTConfig() (*rest.Config, error) { return rest.CopyConfig(g.s.cfg), nil }
func (g getter) ToDiscoveryClient() (discovery.CachedDiscoveryInterface, error) {
	return g.s.disc, nil
}
func (g getter) ToRESTMapper() (meta.RESTMapper, error)        { return g.s.mapper, nil }
func (g getter) ToRawKubeConfigLoader() clientcmd.ClientConfig { return g }
func (g getter) RawConfig() (clientcmdapi.Config, error)       { return clientcmdapi.Config{}, nil }
func (g getter) ClientConfig() (*rest.Config, error)           { return g.ToRESTConfig() }
func (g getter) Namespace() (string, bool, error)              { return g.ns, true, nil }
func (g getter) ConfigAccess() clientcmd.ConfigAccess          { return nil }

// mute is the log of the SDK.
var mute = slog.DiscardHandler

// helm is the Helm SDK for one release.
type helm struct {
	*session
	cfg     *action.Configuration
	client  *waiting
	ns, rel string
}

// helm sets the SDK up: releases are kept in secrets of their namespace, as
// the helm command does, so that it can go on with them.
func (s *session) helm(ctx context.Context, namespace, name string) *helm {
	kc := helmkube.New(getter{s, namespace})
	kc.Namespace = namespace
	kc.SetLogger(mute)
	secrets := driver.NewSecrets(s.kube.CoreV1().Secrets(namespace))
	secrets.SetLogger(mute)
	cfg := action.NewConfiguration(action.ConfigurationSetLogger(mute))
	cfg.RESTClientGetter = getter{s, namespace}
	cfg.Releases = storage.Init(secrets)
	cfg.CustomTemplateFuncs = chart.BoundedFuncs()
	cfg.HookOutputFunc = func(_, _, _ string) io.Writer { return io.Discard }
	h := &helm{session: s, cfg: cfg, ns: namespace, rel: name}
	h.client = &waiting{Client: kc, h: h, ctx: ctx}
	cfg.KubeClient = h.client
	return h
}

// what is what people call the release.
func (h *helm) what() string { return object("release", h.ns, h.rel) }

// history gives the revisions of the release, oldest first; none where there
// is no such release.
func (h *helm) history() ([]*release.Release, error) {
	list, err := h.cfg.Releases.History(h.rel)
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return revisions(list)
}

// waiting is Helm's client with waits that say, while they last, what they
// wait for, and find out why they failed before Helm takes things down again.
type waiting struct {
	*helmkube.Client
	h   *helm
	ctx context.Context
}

// Create and Update do nothing more once the step is over: the SDK itself
// would go on and only then notice.
func (w *waiting) Create(list helmkube.ResourceList, o ...helmkube.ClientCreateOption) (*helmkube.Result, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	return w.Client.Create(list, o...)
}

// Update is as Create.
func (w *waiting) Update(old, list helmkube.ResourceList, o ...helmkube.ClientUpdateOption) (*helmkube.Result, error) {
	if err := w.ctx.Err(); err != nil {
		return &helmkube.Result{}, err
	}
	return w.Client.Update(old, list, o...)
}

// GetWaiter implements [helmkube.Interface].
func (w *waiting) GetWaiter(st helmkube.WaitStrategy) (helmkube.Waiter, error) {
	return w.GetWaiterWithOptions(st)
}

// GetWaiterWithOptions implements [helmkube.InterfaceWaitOptions].
func (w *waiting) GetWaiterWithOptions(st helmkube.WaitStrategy, opts ...helmkube.WaitOption) (helmkube.Waiter, error) {
	inner, err := w.Client.GetWaiterWithOptions(st, append(opts, helmkube.WithWaitContext(w.ctx))...)
	if err != nil {
		return nil, err
	}
	return &telling{Waiter: inner, w: w}, nil
}

type telling struct {
	helmkube.Waiter
	w *waiting
}

func (t *telling) Wait(list helmkube.ResourceList, timeout time.Duration) error {
	return t.tell(list, timeout, t.Waiter.Wait)
}

func (t *telling) WaitWithJobs(list helmkube.ResourceList, timeout time.Duration) error {
	return t.tell(list, timeout, t.Waiter.WaitWithJobs)
}

func (t *telling) WatchUntilReady(list helmkube.ResourceList, timeout time.Duration) error {
	return t.tell(list, timeout, t.Waiter.WatchUntilReady)
}

// tell waits, and tells.
func (t *telling) tell(list helmkube.ResourceList, timeout time.Duration, wait func(helmkube.ResourceList, time.Duration) error) error {
	h := t.w.h
	refs := refsOf(list)
	begin := time.Now()
	done := make(chan struct{})
	defer close(done)
	go func() {
		tick := time.NewTicker(20 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.w.ctx.Done():
				return
			case <-tick.C:
				ctx, cancel := context.WithTimeout(t.w.ctx, asking)
				if found := h.diagnose(ctx, refs); len(found) > 0 {
					h.note("waiting for %s: %s", h.what(), found[0].Text)
				}
				cancel()
			}
		}
	}()
	err := wait(list, timeout)
	if err == nil || errors.Is(t.w.ctx.Err(), context.Canceled) {
		return err
	}
	return h.notReady(h.what(), helmReason(err), refs, span(time.Since(begin)), err)
}

// refsOf names the objects of a list.
func refsOf(list helmkube.ResourceList) []ref {
	var out []ref
	for _, i := range list {
		apiVersion, kind := i.Mapping.GroupVersionKind.ToAPIVersionAndKind()
		out = append(out, ref{APIVersion: apiVersion, Kind: kind, Namespace: i.Namespace, Name: i.Name})
	}
	return out
}
