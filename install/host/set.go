package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"

	"bundle/manifest/cluster"
)

// Set is the hosts of a cluster. Each is connected to when it is asked for
// first, and kept.
type Set struct {
	o     Options
	hosts []cluster.Host

	mu     sync.Mutex
	kept   map[string]*kept
	closed bool
}

// kept is a host that was asked for.
type kept struct {
	mu   sync.Mutex
	host Host
}

// NewSet is the hosts of c. All secrets that c holds are made known to
// o.Redactor.
func NewSet(c *cluster.Cluster, o Options) *Set {
	o = o.withDefaults()
	o.Redactor.AddCluster(c)
	return &Set{o: o, hosts: c.Hosts, kept: map[string]*kept{}}
}

// Redactor replaces the secrets of the cluster.
func (s *Set) Redactor() *Redactor { return s.o.Redactor }

// Get gives the host of an address, connecting to it if that was not done.
// A host that could not be reached is tried again by the next call.
func (s *Set) Get(ctx context.Context, addr string) (Host, error) {
	h, ok := s.find(addr)
	if !ok {
		return nil, fmt.Errorf("%w: the cluster has no host %s", ErrCommand, addr)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, &Error{Host: addr, Class: ErrClosed, Reason: "was closed already"}
	}
	k := s.kept[h.Address]
	if k == nil {
		k = &kept{}
		s.kept[h.Address] = k
	}
	s.mu.Unlock()

	k.mu.Lock()
	defer k.mu.Unlock()
	if k.host != nil {
		return k.host, nil
	}
	if s.isHere(h) {
		k.host = Local(h.Address, s.o)
		return k.host, nil
	}
	host, err := Dial(ctx, TargetOf(h), s.o)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = host.Close()
		return nil, &Error{Host: addr, Class: ErrClosed, Reason: "was closed already"}
	}
	k.host = host
	return host, nil
}

// All gives the hosts of the addresses, in their order, connecting to those
// that were not asked for before. The error is an [*Errors].
func (s *Set) All(ctx context.Context, addrs []string) ([]Host, error) {
	names := make([]Host, len(addrs))
	for i, a := range addrs {
		names[i] = named{at: i, name: a}
	}
	hosts := make([]Host, len(addrs))
	err := Each(ctx, names, 0, func(ctx context.Context, n Host) (err error) {
		i := n.(named).at
		hosts[i], err = s.Get(ctx, addrs[i])
		return err
	})
	if err != nil {
		return nil, err
	}
	return hosts, nil
}

// named is the place of a host that is not connected yet.
type named struct {
	Host
	at   int
	name string
}

func (n named) Name() string { return n.name }

// isHere tells whether the host is this machine and we may work on it. A
// loopback address with a port of its own leads somewhere else, and who is
// not root here may be so by SSH.
func (s *Set) isHere(h cluster.Host) bool {
	if s.o.Remote || !IsLocal(h.Address) || os.Geteuid() != 0 {
		return false
	}
	ip, err := netip.ParseAddr(strings.Trim(h.Address, "[]"))
	loopback := err != nil || ip.Unmap().IsLoopback()
	return !loopback || h.SSH.Port == 0 || h.SSH.Port == cluster.DefaultSSHPort
}

func (s *Set) find(addr string) (cluster.Host, bool) {
	for _, h := range s.hosts {
		if h.Address == addr {
			return h, true
		}
	}
	return cluster.Host{}, false
}

// Close closes all hosts. What runs on them fails.
func (s *Set) Close() error {
	s.mu.Lock()
	s.closed = true
	kept := s.kept
	s.kept = nil
	s.mu.Unlock()
	var errs []error
	for _, k := range kept {
		k.mu.Lock()
		if k.host != nil {
			errs = append(errs, k.host.Close())
		}
		k.mu.Unlock()
	}
	return errors.Join(errs...)
}
