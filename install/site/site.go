package site

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/install/host"
	"bundle/manifest"
	"bundle/manifest/cluster"
)

const (
	// Unit is the name of the service.
	Unit = "bundle-registry.service"

	defaultDomain = "sea.hub"
	defaultPort   = 5000
	// apiServerName is how every node of sealer's clusters finds the API.
	apiServerName = "apiserver.cluster.local"
	// maxPassword is what bcrypt can tell apart, in bytes.
	maxPassword = 72
)

// Options says where the registry runs and under which names. Servers, State
// and Policy are needed; the rest has defaults.
type Options struct {
	// Servers are the addresses of the hosts that run the registry: master0,
	// or all masters, master0 first.
	Servers []string
	// State is the operator's folder for this cluster: the certificate
	// authority and the password are kept there.
	State string
	// Policy is how a host proves whose a bundle is.
	Policy Policy
	// Registry is what the Clusterfile asks for: sea.hub and 5000 where it
	// does not say. Without a user everybody may pull; without a password for
	// the user one is made.
	Registry cluster.Registry
	// APIServer is the address behind apiserver.cluster.local in /etc/hosts;
	// empty is all Servers, on a server itself first: Kubernetes tries one
	// after the other, so a host that is down, or not yet a control plane, is
	// passed over.
	APIServer string
	// Aliases are further lines for /etc/hosts.
	Aliases []cluster.Alias
	// Runtime is "docker", "containerd", or empty: docker's files are written
	// where it is "docker" or where docker is there.
	Runtime string
	// Binary is our own program for the hosts; empty is the running one.
	Binary string
	// InPlace serves a bundle of this machine from where it lies.
	InPlace bool
	// Listen is the address that the registry listens on; empty is all.
	Listen string
	// StartTimeout is how long the registry may take to answer; 0 is a minute.
	StartTimeout time.Duration
	// Root is the prefix of every path on a host; empty is "/".
	Root string
	// Sent hears of the progress of uploads, as [host.Host] reports it.
	Sent func(host string, n int64)
}

// Policy is how a bundle has to be signed: by one of Keys, or by Identity; or
// which bundles are meant, by Indexes.
type Policy struct {
	// Keys are public keys in PEM.
	Keys [][]byte
	// Identity, Issuer and TrustedRoot belong together.
	Identity, Issuer string
	TrustedRoot      []byte
	// Indexes are the digests of the bundles to trust.
	Indexes []digest.Digest `json:",omitempty"`
	// Signatures lie beside the bundle.
	Signatures [][]byte
	// SkipSignature checks the content only.
	SkipSignature bool
}

// Source is a bundle file of this machine.
type Source struct {
	Path string
	// Name and Version are what the bundle calls itself.
	Name, Version string
	// Index is the digest of its index.json.
	Index digest.Digest
	Size  int64
	// Whole is what to put on hosts in place of the file at Path, which is
	// then only a part of it; nil where that is the whole bundle.
	Whole io.ReaderAt
}

func (b Source) String() string { return bundleName(b.Name, b.Version) }

func bundleName(name, version string) string { return fmt.Sprintf("bundle %s %s", name, version) }

// Outcome is what an operation did. Detail is one line for people.
type Outcome struct {
	Changed bool
	Detail  string
}

// Site is the registry of one cluster. Its methods may be called at once for
// several hosts.
type Site struct {
	o       Options
	servers []netip.Addr
	p       paths

	binary  func() (program, error)
	secrets keeper

	mu    sync.Mutex
	hosts map[string]*sync.Mutex
}

var (
	nameRE = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)
	// rootRE keeps out what would need quotes in a unit, a script or TOML.
	rootRE = regexp.MustCompile(`^(/[A-Za-z0-9._-]+)*$`)
	userRE = regexp.MustCompile(`^[\x21-\x39\x3b-\x7e]{1,255}$`)
)

// New checks the options. It touches no host and no file. Errors wrap
// [ErrOptions].
func New(o Options) (*Site, error) {
	s := &Site{o: o, hosts: map[string]*sync.Mutex{}}
	if err := s.check(); err != nil {
		return nil, &Error{Text: err.Error(), Err: ErrOptions}
	}
	s.p = newPaths(s.o.Root)
	s.binary = sync.OnceValues(func() (program, error) { return inspectProgram(s.o.Binary) })
	s.secrets.site = s
	return s, nil
}

func (s *Site) check() error {
	o := &s.o
	if o.Registry.Domain == "" {
		o.Registry.Domain = defaultDomain
	}
	if o.Registry.Port == 0 {
		o.Registry.Port = defaultPort
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = time.Minute
	}
	if o.Root == "/" {
		o.Root = ""
	}
	switch {
	case len(o.Servers) == 0:
		return fmt.Errorf("no host is named that runs the registry")
	case o.State == "":
		return fmt.Errorf("no folder is named for the registry's authority and password")
	case !nameRE.MatchString(o.Registry.Domain):
		return fmt.Errorf("the registry's domain %q is no host name", o.Registry.Domain)
	case o.Registry.Port < 1 || o.Registry.Port > 65535:
		return fmt.Errorf("the registry's port %d is none", o.Registry.Port)
	case o.Registry.Username == "" && o.Registry.Password != "":
		return fmt.Errorf("the registry has a password and no user")
	case o.Registry.Username != "" && !userRE.MatchString(o.Registry.Username):
		return fmt.Errorf("the registry's user %q holds a blank, a colon or a character that is not ASCII", o.Registry.Username)
	case len(o.Registry.Password) > maxPassword:
		return fmt.Errorf("the registry's password is longer than %d bytes, which bcrypt cannot tell apart", maxPassword)
	case !rootRE.MatchString(o.Root) || o.Root != "" && path.Clean(o.Root) != o.Root:
		return fmt.Errorf("%q cannot be the root of a host's paths", o.Root)
	}
	for _, a := range o.Servers {
		ip, err := netip.ParseAddr(a)
		if err != nil || ip.Zone() != "" {
			return fmt.Errorf("%q, which is to run the registry, is no IP address", a)
		}
		s.servers = append(s.servers, ip)
	}
	if o.Listen != "" {
		if _, err := netip.ParseAddr(o.Listen); err != nil {
			return fmt.Errorf("the registry cannot listen on %q, which is no IP address", o.Listen)
		}
	}
	for _, n := range o.Registry.CertNames {
		if !nameRE.MatchString(n) && net.ParseIP(n) == nil {
			return fmt.Errorf("the certificate cannot have the name %q", n)
		}
	}
	if _, err := s.hostsLines(""); err != nil {
		return err
	}
	return o.Policy.check()
}

func (p Policy) check() error {
	ways := 0
	for _, given := range []bool{len(p.Keys) > 0, p.Identity != "", p.SkipSignature, len(p.Indexes) > 0} {
		if given {
			ways++
		}
	}
	if ways != 1 || (p.Identity == "") != (p.Issuer == "") || (p.Identity == "") != (len(p.TrustedRoot) == 0) {
		return fmt.Errorf("whose bundles to trust has to be said in exactly one way")
	}
	if strings.ContainsFunc(p.Identity+p.Issuer, control) {
		return fmt.Errorf("the identity to trust holds control characters")
	}
	return nil
}

// sum tells two policies apart.
func (p Policy) sum() string {
	b, _ := json.Marshal(p) // only bytes and strings
	return sumOf(b)
}

// lock keeps operations on one host of this process apart.
func (s *Site) lock(h host.Host) (unlock func()) {
	s.mu.Lock()
	m := s.hosts[h.Name()]
	if m == nil {
		m = &sync.Mutex{}
		s.hosts[h.Name()] = m
	}
	s.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// isServer tells whether the host runs the registry.
func (s *Site) isServer(name string) bool { return slices.Contains(s.o.Servers, name) }

// serversFor gives the servers in the order in which the host should ask
// them: itself first, else from a place that differs from host to host.
func (s *Site) serversFor(name string) []string {
	list := s.o.Servers
	i := slices.Index(list, name)
	if i < 0 {
		h := fnv.New32a()
		_, _ = h.Write([]byte(name))
		i = int(h.Sum32() % uint32(len(list)))
	}
	return append(slices.Clone(list[i:]), list[:i]...)
}

// addr is host:port of the registry on a server.
func (s *Site) addr(server string) string {
	return net.JoinHostPort(server, strconv.Itoa(s.o.Registry.Port))
}

// localNames are the registry names that mean the site's registry itself.
func (s *Site) localNames() []string {
	port := strconv.Itoa(s.o.Registry.Port)
	names := []string{
		net.JoinHostPort(defaultDomain, strconv.Itoa(defaultPort)),
		net.JoinHostPort(defaultDomain, port),
		net.JoinHostPort(s.o.Registry.Domain, port),
	}
	if s.o.Registry.Port == 443 {
		names = append(names, s.o.Registry.Domain)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Upstreams lists the registries whose images the bundles hold: the names
// that [Site.Trust] is told.
func Upstreams(contents ...*manifest.Contents) []string {
	var names []string
	for _, c := range contents {
		for _, img := range c.Images {
			if ref, err := manifest.ParseReference(img.Name); err == nil && !ref.IsLocal() {
				names = append(names, ref.Registry)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
