package kube

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// grace is how long a step whose time is over may still write down how it
// ended, and find out why.
const grace = 15 * time.Second

// session are the clients of one step. All their requests end with the step,
// also those of libraries that know no context.
type session struct {
	*Cluster
	cfg    *rest.Config
	kube   kubernetes.Interface
	dyn    dynamic.Interface
	disc   discovery.CachedDiscoveryInterface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	// late outlives the context of the step by grace.
	late  context.Context
	close func()
}

// session makes clients for one step. The caller closes it.
func (c *Cluster) session(ctx context.Context) (*session, error) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-late.Done():
		case <-time.After(grace):
			cancel()
		}
	})
	s := &session{Cluster: c, late: late, close: func() { stop(); cancel() }}
	s.cfg = rest.CopyConfig(c.plain)
	s.cfg.Transport = &bound{next: c.base, step: ctx, late: late}
	err := func() (err error) {
		client, err := rest.HTTPClientFor(s.cfg)
		if err != nil {
			return err
		}
		typed, err := kubernetes.NewForConfigAndClient(s.cfg, client)
		if err != nil {
			return err
		}
		s.kube = typed
		if s.dyn, err = dynamic.NewForConfigAndClient(s.cfg, client); err != nil {
			return err
		}
		s.disc = memory.NewMemCacheClient(typed.Discovery())
		s.mapper = restmapper.NewDeferredDiscoveryRESTMapper(s.disc)
		return nil
	}()
	if err != nil {
		s.close()
		return nil, fail(ErrInput, c.server, "no client can be made for %s: %s", c.server, oneLine(err.Error())).because(err)
	}
	return s, nil
}

// bound ends requests with late, besides their own context, and lets none be
// sent again once the step is over.
type bound struct {
	next       http.RoundTripper
	step, late context.Context
}

// stepKey is where a request carries the context of its step.
type stepKey struct{}

// RoundTrip implements [http.RoundTripper].
func (b *bound) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(context.WithValue(req.Context(), stepKey{}, b.step))
	stop := context.AfterFunc(b.late, func() { cancel(context.Cause(b.late)) })
	done := func() { stop(); cancel(nil) }
	resp, err := b.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		done()
		return nil, err
	}
	resp.Body = &closer{ReadCloser: resp.Body, done: done}
	return resp, nil
}

// resolve finds what people mean by the name of a resource: "deployment",
// "deploy", "deployments.apps", "Addon", "addons.v1.example.com".
func (s *session) resolve(resource string) (*meta.RESTMapping, error) {
	m, err := s.lookUp(resource)
	if meta.IsNoMatchError(err) {
		// A definition may have come since discovery.
		s.mapper.Reset()
		m, err = s.lookUp(resource)
	}
	return m, err
}

func (s *session) lookUp(resource string) (*meta.RESTMapping, error) {
	mapper := restmapper.NewShortcutExpander(s.mapper, s.disc, nil)
	name := strings.ToLower(resource)
	full, group := schema.ParseResourceArg(name)
	var kind schema.GroupVersionKind
	if full != nil {
		kind, _ = mapper.KindFor(*full)
	}
	if kind.Empty() {
		var err error
		if kind, err = mapper.KindFor(group.WithVersion("")); err != nil {
			return nil, err
		}
	}
	return mapper.RESTMapping(kind.GroupKind(), kind.Version)
}

// mapping finds the resource of a kind.
func (s *session) mapping(kind schema.GroupVersionKind) (*meta.RESTMapping, error) {
	m, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		s.mapper.Reset()
		m, err = s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	return m, err
}

// objects gives access to the objects of a mapping in a namespace, which is
// ignored for kinds that have none.
func (s *session) objects(m *meta.RESTMapping, namespace string) dynamic.ResourceInterface {
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		return s.dyn.Resource(m.Resource).Namespace(orDefault(namespace))
	}
	return s.dyn.Resource(m.Resource)
}

// scoped gives the namespace that an object of the mapping lies in.
func scoped(m *meta.RESTMapping, namespace string) string {
	if m.Scope.Name() == meta.RESTScopeNameNamespace {
		return orDefault(namespace)
	}
	return ""
}

func orDefault(namespace string) string {
	if namespace == "" {
		return "default"
	}
	return namespace
}

// object is what people call an object.
func object(kind, namespace, name string) string {
	s := strings.ToLower(kind) + " " + name
	if namespace != "" {
		s += " in namespace " + namespace
	}
	return s
}

// reason takes what the API server itself said out of an error.
func reason(err error) string {
	if s, ok := errors.AsType[*apierrors.StatusError](err); ok && s.ErrStatus.Message != "" {
		return s.ErrStatus.Message
	}
	if errors.Is(err, io.EOF) {
		return "the connection was cut"
	}
	return err.Error()
}
