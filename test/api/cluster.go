package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Options say what to start. The zero value is an API server alone.
type Options struct {
	// Bin is the folder with the programs; default BinDir().
	Bin string
	// Dir keeps data, certificates and logs; default a temporary folder that
	// Close removes.
	Dir string
	// Controllers starts kube-controller-manager, kube-scheduler and kwok, too.
	Controllers bool
	// Nodes to play; they are Ready when Start returns. Needs Controllers.
	Nodes []Node
}

// Cluster is a running API server with what belongs to it.
type Cluster struct {
	opts   Options
	own    bool // opts.Dir is ours to remove
	server string
	port   [3]int // of the API server, and of etcd for clients and peers
	config *rest.Config

	etcd, apiserver *process
	others          []*process
}

// patience is how long one program may take to come up; generous, since test
// machines are shared.
const patience = 2 * time.Minute

// errPort is why a start is tried again: somebody took the free port that we
// had found.
var errPort = errors.New("the port was taken meanwhile")

// Start returns when the API server is ready, the controllers work and all
// nodes are Ready.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	for try := 1; ; try++ {
		c, err := startOnce(ctx, o)
		if err == nil || !errors.Is(err, errPort) || try == 3 {
			return c, err
		}
	}
}

func startOnce(ctx context.Context, o Options) (_ *Cluster, err error) {
	c := &Cluster{opts: o}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.opts.Bin == "" {
		if c.opts.Bin, err = BinDir(); err != nil {
			return nil, err
		}
	}
	if c.opts.Dir == "" {
		if c.opts.Dir, err = os.MkdirTemp("", "api-"); err != nil {
			return nil, err
		}
		c.own = true
	}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	if err := c.startEtcd(); err != nil {
		return nil, err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return nil, err
	}
	if o.Controllers {
		if err := c.startControllers(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// prepare finds ports and makes certificates and the kubeconfig.
func (c *Cluster) prepare() error {
	var held []net.Listener
	for i := range c.port {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		held = append(held, l)
		c.port[i] = l.Addr().(*net.TCPAddr).Port
	}
	for _, l := range held {
		if err := l.Close(); err != nil {
			return err
		}
	}
	c.server = "https://127.0.0.1:" + strconv.Itoa(c.port[0])

	ca, err := newAuthority(c.opts.Dir)
	if err != nil {
		return err
	}
	if err := ca.issue("server", "kube-apiserver", nil, net.IPv4(127, 0, 0, 1), net.IPv4(10, 96, 0, 1)); err != nil {
		return err
	}
	if err := ca.issue("admin", "admin", []string{"system:masters"}); err != nil {
		return err
	}
	cfg := clientcmdapi.NewConfig()
	cluster, user := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo()
	cluster.Server = c.server
	for file, to := range map[string]*[]byte{
		"ca.crt": &cluster.CertificateAuthorityData, "admin.crt": &user.ClientCertificateData, "admin.key": &user.ClientKeyData,
	} {
		if *to, err = os.ReadFile(c.path(file)); err != nil {
			return err
		}
	}
	cfg.Clusters["test"], cfg.AuthInfos["admin"] = cluster, user
	cfg.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	cfg.CurrentContext = "test"
	if err := clientcmd.WriteToFile(*cfg, c.KubeconfigFile()); err != nil {
		return err
	}
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.KubeconfigFile()); err != nil {
		return err
	}
	c.config.QPS = -1
	return nil
}

func (c *Cluster) path(name string) string { return filepath.Join(c.opts.Dir, name) }

func (c *Cluster) startEtcd() (err error) {
	client, peer := fmt.Sprintf("http://127.0.0.1:%d", c.port[1]), fmt.Sprintf("http://127.0.0.1:%d", c.port[2])
	c.etcd, err = start(c.opts.Bin, c.opts.Dir, "etcd", "--data-dir", c.path("etcd"),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--unsafe-no-fsync", "--log-level", "warn")
	return err
}

// StartAPIServer starts the API server again after StopAPIServer, at the same
// address and with the same data, and returns when it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) (err error) {
	c.apiserver, err = start(c.opts.Bin, c.opts.Dir, "kube-apiserver",
		"--etcd-servers", fmt.Sprintf("http://127.0.0.1:%d", c.port[1]),
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", strconv.Itoa(c.port[0]),
		"--tls-cert-file", c.path("server.crt"), "--tls-private-key-file", c.path("server.key"),
		"--client-ca-file", c.path("ca.crt"), "--authorization-mode", "Node,RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", c.path("sa.key"),
		"--service-account-signing-key-file", c.path("sa.key"), "--service-cluster-ip-range", "10.96.0.0/16",
		"--endpoint-reconciler-type", "none", "--allow-privileged", "--shutdown-delay-duration", "0s")
	if err != nil {
		return err
	}
	probe, err := c.Client()
	if err != nil {
		return err
	}
	return c.until(ctx, "the API server to be ready", c.apiserver, func(ctx context.Context) error {
		return probe.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// StopAPIServer ends the API server at once, as a power cut does; etcd and the
// rest go on.
func (c *Cluster) StopAPIServer() {
	if c.apiserver != nil {
		c.apiserver.kill()
		c.apiserver = nil
	}
}

// until waits for try to succeed while the program it waits for lives.
func (c *Cluster) until(ctx context.Context, what string, p *process, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		for _, p := range []*process{p, c.etcd} {
			if dead := p.dead(); dead != nil {
				if portTaken(p.tail()) {
					return fmt.Errorf("%w: %w", errPort, dead)
				}
				return dead
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w\n%s", patience, what, err, p.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kubeconfig is an administrator's kubeconfig.
func (c *Cluster) Kubeconfig() ([]byte, error) { return os.ReadFile(c.KubeconfigFile()) }

// KubeconfigFile is where that kubeconfig lies.
func (c *Cluster) KubeconfigFile() string { return c.path("kubeconfig") }

// Config is an administrator's connection, without a limit of requests.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client is a client with that connection. It has connections of its own, so
// that none of a server that was stopped is used again.
func (c *Cluster) Client() (kubernetes.Interface, error) {
	cfg := c.Config()
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	cfg.TLSClientConfig = rest.TLSClientConfig{}
	cfg.Transport = &http.Transport{TLSClientConfig: tlsConfig, IdleConnTimeout: time.Minute}
	return kubernetes.NewForConfig(cfg)
}

// Addr is where the API server listens, as HOST:PORT.
func (c *Cluster) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port[0])) }

// Kubectl is the path of a kubectl of the same release.
func (c *Cluster) Kubectl() string { return filepath.Join(c.opts.Bin, "kubectl") }

// Close ends everything.
func (c *Cluster) Close() {
	for _, p := range slices.Backward(c.others) {
		p.stop(time.Second)
	}
	// Nobody reads this data again, so nothing has to end gracefully.
	c.StopAPIServer()
	if c.etcd != nil {
		c.etcd.kill()
	}
	if c.own {
		_ = os.RemoveAll(c.opts.Dir)
	}
}
