package install

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"bundle/install/engine"
	"bundle/install/host"
	"bundle/install/journal"
	"bundle/install/kube"
	"bundle/install/node"
	"bundle/install/plan"
	"bundle/install/site"
	"bundle/manifest/cluster"
	"bundle/manifest/kubeadm"
)

// Options say how a job is carried out. The zero value has defaults for all.
type Options struct {
	// State is the operator's folder for this cluster: journal, registry's
	// authority, pinned host keys, logs. Empty is [journal.DefaultDir].
	State string
	// Policy is how hosts prove whose the bundle is.
	Policy site.Policy
	// Binary is our own program for the hosts; empty is the running one.
	Binary string
	// InPlace serves the bundle from where it lies, where master0 is this
	// machine.
	InPlace bool
	// Ignore are preflight checks that shall not stop the install.
	Ignore []string
	// AllowForeign makes running images that are not the bundle's a warning
	// of the acceptance.
	AllowForeign bool
	// Signers are those whose signature was verified, for the report.
	Signers []string
	// Host says how hosts are reached; KnownHosts, LogDir and Redactor are
	// filled in.
	Host host.Options
	// Resuming says that the journal has this install already.
	Resuming bool
	// Report, if set, is told of each preflight and acceptance report.
	Report func(v any)
}

// Session is a job at work: connected hosts, and what is known of them.
// Its methods may be called from several goroutines.
type Session struct {
	job   *Job
	o     Options
	hosts *host.Set
	site  *site.Site
	nodes *node.Nodes

	notes noteKeeper

	mu   sync.Mutex
	kube *kube.Cluster
}

// StateDir gives the operator's folder for a cluster.
func StateDir(dir, cluster string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	return journal.DefaultDir(cluster)
}

// NewSession prepares a session; nothing is connected to yet.
func NewSession(j *Job, o Options) (*Session, error) {
	dir, err := StateDir(o.State, j.Cluster.Name)
	if err != nil {
		return nil, err
	}
	o.State = dir
	if o.Host.KnownHosts == "" {
		o.Host.KnownHosts = filepath.Join(dir, "known_hosts")
	}
	if o.Host.LogDir == "" {
		o.Host.LogDir = filepath.Join(dir, "logs")
	}
	if o.Host.Redactor == nil {
		o.Host.Redactor = host.NewRedactor()
	}
	s := &Session{job: j, o: o, hosts: host.NewSet(j.Cluster, o.Host)}
	s.site, err = site.New(site.Options{
		Servers: plan.Servers(j.Cluster), State: dir, Policy: o.Policy, Registry: j.Cluster.Registry,
		Aliases: j.Cluster.Aliases, Runtime: j.Cluster.Runtime, Binary: o.Binary, InPlace: o.InPlace,
	})
	if err != nil {
		return nil, err
	}
	s.nodes, err = node.New(node.Options{Input: j.kubeadm(), Redactor: s.hosts.Redactor()})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// kubeadm is what its configuration is made of.
func (j *Job) kubeadm() kubeadm.Input {
	in := kubeadm.Input{Rootfs: j.files(), Cluster: j.Cluster, Env: j.Cluster.GlobalEnv(j.env())}
	if j.Bundle == nil {
		return in
	}
	for _, i := range j.Bundle.Contents.Images {
		in.Images = append(in.Images, i.Name)
	}
	return in
}

// Redactor blots the session's secrets out of texts.
func (s *Session) Redactor() *host.Redactor { return s.hosts.Redactor() }

// State is the operator's folder for this cluster.
func (s *Session) State() string { return s.o.State }

// Mirror is the copy of the journal on master0, nil where master0 is this
// machine.
func (s *Session) Mirror(ctx context.Context) (journal.Mirror, error) {
	h, err := s.master0(ctx)
	if err != nil {
		return nil, err
	}
	if h.Local() {
		return nil, nil
	}
	return journal.OnHost(h, s.job.Cluster.Name)
}

// Close ends all connections.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kube != nil {
		s.kube.Close()
	}
	return s.hosts.Close()
}

func (s *Session) master0(ctx context.Context) (host.Host, error) {
	return s.hosts.Get(ctx, s.job.Cluster.Hosts[0].Address)
}

// cluster gives the connection to the API server, made when it is first
// asked for.
func (s *Session) cluster(ctx context.Context) (*kube.Cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kube != nil {
		return s.kube, nil
	}
	h, err := s.master0(ctx)
	if err != nil {
		return nil, err
	}
	config, err := s.nodes.FetchKubeconfig(ctx, h)
	if err != nil {
		return nil, err
	}
	c, err := kube.Connect(config, kube.Options{
		Dial: h.DialContext, Master0: h.Name(), Files: s.job.files(), Rootfs: s.job.Cluster.Rootfs(), Host: h,
		Note:  func(line string) { s.note(line) },
		Chart: s.job.chart,
	})
	if err != nil {
		return nil, err
	}
	s.kube = c
	return c, nil
}

// dropCluster forgets the connection, for what comes after made another
// cluster.
func (s *Session) dropCluster() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kube != nil {
		s.kube.Close()
		s.kube = nil
	}
}

// registries are the addresses that hosts pull from.
func (s *Session) registries() []string {
	var out []string
	for _, m := range plan.Servers(s.job.Cluster) {
		out = append(out, fmt.Sprintf("https://%s:%d", m, s.job.Cluster.Registry.Port))
	}
	return out
}

// credentials gives what the registry is asked with. A machine that takes an
// install over learns it from the first master.
func (s *Session) credentials(ctx context.Context) (user string, password cluster.Secret, ca []byte, err error) {
	if user, password, ca, err = s.site.Credentials(); err == nil {
		return user, password, ca, nil
	}
	h, herr := s.master0(ctx)
	if herr != nil {
		return "", "", nil, errors.Join(err, herr)
	}
	if _, aerr := s.site.Adopt(ctx, h); aerr != nil {
		return "", "", nil, aerr
	}
	return s.site.Credentials()
}

// source says where a host finds the root file system.
func (s *Session) source(ctx context.Context) (node.Source, error) {
	user, password, _, err := s.credentials(ctx)
	return node.Source{
		Registries: s.registries(), CA: site.CAFile, Username: user, Password: password,
		Ref: s.job.Bundle.Ref(), Digest: s.job.Bundle.ManifestDigest,
	}, err
}

// registryTLS trusts the registry's own authority.
func (s *Session) registryTLS(ctx context.Context) (*tls.Config, error) {
	_, _, ca, err := s.credentials(ctx)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("the registry's certificate authority in %s is not readable", s.o.State)
	}
	return &tls.Config{RootCAs: pool, ServerName: s.job.Cluster.Registry.Domain, MinVersion: tls.VersionTLS12}, nil
}

// sources are the bundle files to put on masters.
func (j *Job) sources() []site.Source {
	var out []site.Source
	for _, b := range j.Bundles {
		out = append(out, site.Source{Path: b.Path, Name: b.Contents.Name, Version: b.Contents.Version, Index: b.IndexDigest, Size: b.Size, Whole: b.Whole})
	}
	return out
}

// upstreams are the registries whose images the bundles hold.
func (j *Job) upstreams() []string {
	var out []string
	for _, b := range j.Bundles {
		out = append(out, site.Upstreams(b.Contents)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// outcomeOf is the engine's form of what another package says.
func outcomeOf(changed bool, detail string) engine.Outcome {
	return engine.Outcome{Changed: changed, Detail: detail}
}
