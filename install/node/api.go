package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"sigs.k8s.io/yaml"

	"bundle/install/host"
)

// api is a small client of the API server, through a host.
type api struct {
	h      host.Host
	server string
	token  string
	client *http.Client
}

const maxKubeconfig = 1 << 20

// kubeconfig is what we read of such a file: what it holds, never what it
// points at. A host must not be able to have us read our own files or run
// programs, which a kubeconfig could ask for.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Clusters       []struct {
		Name    string `json:"name"`
		Cluster struct {
			Server string `json:"server"`
			CA     []byte `json:"certificate-authority-data"`
			CAFile string `json:"certificate-authority"`
			Proxy  string `json:"proxy-url"`
		} `json:"cluster"`
	} `json:"clusters"`
	Contexts []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	Users []struct {
		Name string `json:"name"`
		User struct {
			Cert         []byte          `json:"client-certificate-data"`
			Key          []byte          `json:"client-key-data"`
			Token        string          `json:"token"`
			CertFile     string          `json:"client-certificate"`
			KeyFile      string          `json:"client-key"`
			TokenFile    string          `json:"tokenFile"`
			Exec         json.RawMessage `json:"exec"`
			AuthProvider json.RawMessage `json:"auth-provider"`
		} `json:"user"`
	} `json:"users"`
}

// FetchKubeconfig reads the administrator's kubeconfig of a control plane. One
// that asks for programs or files of whoever uses it is refused.
func (n *Nodes) FetchKubeconfig(ctx context.Context, h host.Host) ([]byte, error) {
	raw, err := h.ReadFile(ctx, n.at(adminConf), maxKubeconfig)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(h, ErrAPI, err, "kubeadm init or join makes it", "there is no %s", n.at(adminConf))
	}
	if err != nil {
		return nil, err
	}
	if _, err := parseKubeconfig(raw); err != nil {
		return nil, fail(h, ErrAPI, err, "", "%s cannot be used: %v", n.at(adminConf), err)
	}
	return raw, nil
}

func parseKubeconfig(raw []byte) (*kubeconfig, error) {
	var k kubeconfig
	if err := yaml.Unmarshal(raw, &k); err != nil {
		return nil, errors.New("it is no kubeconfig")
	}
	for _, c := range k.Clusters {
		if c.Cluster.CAFile != "" || c.Cluster.Proxy != "" {
			return nil, errors.New("it points at a file or a proxy of whoever uses it")
		}
	}
	for _, u := range k.Users {
		if len(u.User.Exec) > 0 || len(u.User.AuthProvider) > 0 {
			return nil, errors.New("it asks for a program to be run")
		}
		if u.User.CertFile != "" || u.User.KeyFile != "" || u.User.TokenFile != "" {
			return nil, errors.New("it points at a file of whoever uses it")
		}
	}
	return &k, nil
}

// api connects to the API server as the administrator of a control plane.
func (n *Nodes) api(ctx context.Context, h host.Host) (*api, error) {
	raw, err := n.FetchKubeconfig(ctx, h)
	if err != nil {
		return nil, err
	}
	k, err := parseKubeconfig(raw)
	if err != nil {
		return nil, err
	}
	a, err := k.client(h)
	if err != nil {
		return nil, fail(h, ErrAPI, err, "", "%s cannot be used: %v", n.at(adminConf), err)
	}
	return a, nil
}

func (k *kubeconfig) client(h host.Host) (*api, error) {
	a := &api{h: h}
	t := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	for _, c := range k.Contexts {
		if c.Name != k.CurrentContext {
			continue
		}
		for _, cl := range k.Clusters {
			if cl.Name == c.Context.Cluster {
				a.server = cl.Cluster.Server
				t.RootCAs.AppendCertsFromPEM(cl.Cluster.CA)
			}
		}
		for _, u := range k.Users {
			if u.Name != c.Context.User {
				continue
			}
			a.token = u.User.Token
			if len(u.User.Cert) > 0 {
				pair, err := tls.X509KeyPair(u.User.Cert, u.User.Key)
				if err != nil {
					return nil, errors.New("its certificate and key do not belong together")
				}
				t.Certificates = []tls.Certificate{pair}
			}
		}
	}
	u, err := url.Parse(a.server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("its server %q is no https address", printable(a.server))
	}
	a.client = &http.Client{
		Timeout:       15 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: t, DisableKeepAlives: true,
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return h.DialContext(ctx, network, addr)
			},
		},
	}
	return a, nil
}

// do asks the API server and gives the status and the start of the answer.
func (a *api) do(ctx context.Context, method, path string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.server+path, nil)
	if err != nil {
		return 0, nil, err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return 0, nil, context.Cause(ctx)
		}
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return resp.StatusCode, body, err
}

// healthy tells whether the API server says that it is well.
func (a *api) healthy(ctx context.Context) error {
	status, body, err := a.do(ctx, http.MethodGet, "/healthz")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("/healthz is %d: %s", status, printable(string(body)))
	}
	return nil
}

// nodeInfo is what we want to know of a node.
type nodeInfo struct {
	there, ready bool
	address      string // the InternalIP
}

func (a *api) node(ctx context.Context, name string) (nodeInfo, error) {
	status, body, err := a.do(ctx, http.MethodGet, "/api/v1/nodes/"+url.PathEscape(name))
	if err != nil {
		return nodeInfo{}, err
	}
	switch status {
	case http.StatusNotFound:
		return nodeInfo{}, nil
	case http.StatusOK:
	default:
		return nodeInfo{}, fmt.Errorf("node %s: status %d: %s", name, status, printable(string(body)))
	}
	var o struct {
		Status struct {
			Addresses  []struct{ Type, Address string }
			Conditions []struct{ Type, Status string }
		}
	}
	if err := json.Unmarshal(body, &o); err != nil {
		return nodeInfo{}, fmt.Errorf("node %s: the answer is not JSON", name)
	}
	info := nodeInfo{there: true}
	for _, c := range o.Status.Conditions {
		info.ready = info.ready || c.Type == "Ready" && c.Status == "True"
	}
	for _, ad := range o.Status.Addresses {
		if ad.Type == "InternalIP" && info.address == "" {
			info.address = ad.Address
		}
	}
	return info, nil
}

func (a *api) deleteNode(ctx context.Context, name string) error {
	status, body, err := a.do(ctx, http.MethodDelete, "/api/v1/nodes/"+url.PathEscape(name))
	if err != nil {
		return err
	}
	if status != http.StatusOK && status != http.StatusAccepted && status != http.StatusNotFound {
		return fmt.Errorf("node %s cannot be deleted: status %d: %s", name, status, printable(string(body)))
	}
	return nil
}

// apiEvery is how often an API server that does not answer is asked again.
const apiEvery = 2 * time.Second

// waitHealthy waits until the API server answers, or gives its last word. A
// question that is under way when the time is over gets its answer.
func (n *Nodes) waitHealthy(ctx context.Context, h host.Host) (*api, error) {
	for until := time.Now().Add(n.o.APITimeout); ; {
		a, err := n.api(ctx, h)
		if err == nil {
			if err = a.healthy(ctx); err == nil {
				return a, nil
			}
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		left := time.Until(until)
		if _, own := errors.AsType[*Error](err); own || left <= 0 {
			return nil, err
		}
		t := time.NewTimer(min(left, apiEvery))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		case <-t.C:
		}
	}
}

// registered waits until the cluster has the node. kubeadm ends before the
// kubelet has told the cluster of itself, and a busy host takes its time.
func (n *Nodes) registered(ctx context.Context, a *api, name string) (nodeInfo, error) {
	for until := time.Now().Add(n.o.APITimeout); ; {
		info, err := a.node(ctx, name)
		left := time.Until(until)
		if err == nil && info.there || left <= 0 {
			return info, err
		}
		t := time.NewTimer(min(left, apiEvery))
		select {
		case <-ctx.Done():
			t.Stop()
			return nodeInfo{}, context.Cause(ctx)
		case <-t.C:
		}
	}
}
