package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"bundle/install/kube"
	"bundle/manifest"
)

// DialFunc connects to an address, through a host's connection for instance.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

const (
	dialTimeout = 5 * time.Second
	pullTimeout = 30 * time.Second
)

// DialNodePorts connects to every TCP node port of the services on every one
// of the hosts, at most jobs at once. The answers are never nil.
func DialNodePorts(ctx context.Context, dial DialFunc, hosts []string, services []kube.Service, jobs int) []PortAnswer {
	answers := []PortAnswer{}
	for _, s := range services {
		for _, p := range s.Ports {
			if p.NodePort == 0 || p.Protocol != "" && p.Protocol != "TCP" {
				continue
			}
			for _, h := range hosts {
				answers = append(answers, PortAnswer{Namespace: s.Namespace, Service: s.Name, Local: s.Local, Port: int(p.NodePort), Host: h})
			}
		}
	}
	var g errgroup.Group
	g.SetLimit(max(jobs, 1))
	for i := range answers {
		a := &answers[i]
		g.Go(func() error {
			a.Err = dialOnce(ctx, dial, net.JoinHostPort(a.Host, strconv.Itoa(a.Port)))
			return nil
		})
	}
	_ = g.Wait()
	return answers
}

func dialOnce(ctx context.Context, dial DialFunc, address string) string {
	ctx, cancel := context.WithTimeoutCause(ctx, dialTimeout, fmt.Errorf("nobody answered for %s", dialTimeout))
	defer cancel()
	conn, err := dial(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = conn.Close()
		return ""
	case ctx.Err() != nil:
		return context.Cause(ctx).Error()
	}
	return reasonOf(err)
}

// reasonOf leaves out of a network error what is said beside it anyway.
func reasonOf(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Err != nil {
		return op.Err.Error()
	}
	return err.Error()
}

// SampleOf chooses the smallest image of a bundle.
func SampleOf(c *manifest.Contents) (manifest.Image, bool) {
	var best manifest.Image
	for _, img := range c.Images {
		if best.Name == "" || img.Size < best.Size {
			best = img
		}
	}
	return best, best.Name != ""
}

// Pull says how the registry of one master is asked.
type Pull struct {
	// Host is the master's address.
	Host string
	// Name is how nodes call the registry, with its port.
	Name string
	// TLS has the certificate authority to trust; nil asks in plain HTTP.
	TLS *tls.Config
	// Username and Password, if it wants them.
	Username, Password string
	// Dial connects to the host; nil dials from here.
	Dial DialFunc
	// Image is what is pulled, by its digest.
	Image manifest.Image
}

// PullSample asks a registry for its API's root and for one manifest by
// digest, as a container runtime does under the name that nodes use, and
// checks the bytes.
func PullSample(ctx context.Context, p Pull) RegistryAnswer {
	a := RegistryAnswer{Host: p.Host, Name: p.Name, Image: p.Image.Name}
	ref, err := manifest.ParseReference(p.Image.Name)
	if err != nil {
		a.Err = err.Error()
		return a
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pullTimeout, fmt.Errorf("nobody answered for %s", pullTimeout))
	defer cancel()
	client, done := p.client()
	defer done()
	for _, path := range []string{"", ref.Repository + "/manifests/" + p.Image.Digest.String()} {
		body, err := p.get(ctx, client, path)
		if err == nil && path != "" && digest.FromBytes(body) != p.Image.Digest {
			err = fmt.Errorf("the manifest that came has the digest %s", digest.FromBytes(body))
		}
		if err != nil {
			a.Err = err.Error()
			if ctx.Err() != nil {
				a.Err = context.Cause(ctx).Error()
			}
			return a
		}
	}
	return a
}

// client speaks to the host whatever the name in the URL resolves to.
func (p Pull) client() (*http.Client, func()) {
	dial := p.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	_, port, err := net.SplitHostPort(p.Name)
	if err != nil {
		port = "443"
		if p.TLS == nil {
			port = "80"
		}
	}
	address := net.JoinHostPort(p.Host, port)
	t := &http.Transport{
		TLSClientConfig: p.TLS, TLSHandshakeTimeout: dialTimeout, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) { return dial(ctx, network, address) },
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, t.CloseIdleConnections
}

var accept = strings.Join([]string{
	"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
	"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
}, ", ")

func (p Pull) get(ctx context.Context, client *http.Client, path string) ([]byte, error) {
	scheme := "https"
	if p.TLS == nil {
		scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+p.Name+"/v2/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	if p.Username != "" {
		req.SetBasicAuth(p.Username, p.Password)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, errors.New(reasonOf(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("its answer broke off: %w", err)
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %s", resp.Status)
	case len(body) > maxManifest:
		return nil, errors.New("its answer is too long for a manifest")
	}
	return body, nil
}
