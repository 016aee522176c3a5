package wire

import (
	"net"
	"net/netip"
	"strings"
)

// dockerHub is what users call the registry whose API answers elsewhere.
const dockerHub = "docker.io"

// Host canonicalises the names of Docker Hub ("index.docker.io",
// "registry-1.docker.io") to docker.io and lower-cases any other host.
func Host(host string) string {
	switch host = strings.ToLower(host); host {
	case "index.docker.io", "registry-1.docker.io":
		return dockerHub
	}
	return host
}

// IsLoopback tells whether addr (host or host:port) can only be this
// machine.
func IsLoopback(addr string) bool {
	host := addr
	if h, _, err := net.SplitHostPort(addr); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// addrSet is a set of addresses as users list them: "host" stands for the
// host at any port, "host:port" for just that one, "*" for all.
type addrSet map[string]bool

func newAddrSet(addrs []string) addrSet {
	s := make(addrSet, len(addrs))
	for _, a := range addrs {
		a = strings.TrimPrefix(strings.TrimPrefix(a, "http://"), "https://")
		s[Host(strings.TrimSuffix(a, "/"))] = true
	}
	return s
}

func (s addrSet) has(addr string) bool {
	addr = Host(addr)
	if s["*"] || s[addr] {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	return err == nil && s[host]
}
