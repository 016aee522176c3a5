package kube

import (
	"net/http"
	"net/url"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const maxKubeconfig = 1 << 20

// restConfig reads a kubeconfig. It came from a host, so it may neither run a
// program here nor name a file of this machine.
func restConfig(kubeconfig []byte) (*rest.Config, error) {
	bad := func(format string, args ...any) error {
		return fail(ErrInput, "the kubeconfig", "the kubeconfig "+format, args...)
	}
	if len(kubeconfig) > maxKubeconfig {
		return nil, bad("is larger than %d bytes", maxKubeconfig)
	}
	raw, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return nil, bad("cannot be read: %s", oneLine(err.Error()))
	}
	context, ok := raw.Contexts[raw.CurrentContext]
	if !ok || context == nil {
		return nil, bad("has no current context")
	}
	cluster, user := raw.Clusters[context.Cluster], raw.AuthInfos[context.AuthInfo]
	if cluster == nil || user == nil {
		return nil, bad("has no cluster or no user for its context %q", raw.CurrentContext)
	}
	if what := reachesOut(cluster, user); what != "" {
		return nil, bad("asks for %s; only what stands in it is used", what)
	}
	server, err := url.Parse(cluster.Server)
	if err != nil || server.Host == "" || (server.Scheme != "https" && server.Scheme != "http") {
		return nil, bad("names the server %q, which is no http address", cluster.Server)
	}
	cfg, err := clientcmd.NewDefaultClientConfig(*raw, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, bad("cannot be used: %s", oneLine(err.Error()))
	}
	return cfg, nil
}

// reachesOut names what of a kubeconfig would run or read something here.
func reachesOut(c *clientcmdapi.Cluster, u *clientcmdapi.AuthInfo) string {
	switch {
	case u.Exec != nil:
		return "a credential program"
	case u.AuthProvider != nil:
		return "an authentication plugin"
	case c.ProxyURL != "":
		return "a proxy"
	case c.CertificateAuthority != "", u.ClientCertificate != "", u.ClientKey != "", u.TokenFile != "":
		return "files of the machine it lies on"
	}
	return ""
}

// connection makes the one transport of a cluster: TLS and credentials of cfg,
// our own dialer, no proxy of the environment. The second result is cfg
// without what the transport does.
func connection(cfg *rest.Config, o Options, out *outage) (http.RoundTripper, *rest.Config, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	cfg.Dial = marked(o.Dial)
	base, err := rest.TransportFor(cfg)
	if err != nil {
		return nil, nil, fail(ErrInput, "the kubeconfig", "the kubeconfig has unusable credentials: %s", oneLine(err.Error()))
	}
	plain := &rest.Config{
		Host: cfg.Host, APIPath: cfg.APIPath, QPS: o.QPS, Burst: int(2 * o.QPS),
		UserAgent: fieldManager, WarningHandler: rest.NoWarnings{},
	}
	if plain.QPS < 0 {
		plain.Burst = 0
	}
	return &retrier{next: base, out: out, request: o.RequestTimeout, now: time.Now}, plain, nil
}
