package site

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bundle/manifest/cluster"
)

const (
	blockBegin = "# BEGIN bundle"
	blockEnd   = "# END bundle"
)

// hostsLines are the lines of our block in a host's /etc/hosts.
func (s *Site) hostsLines(name string) ([]string, error) {
	registry := []string{s.o.Registry.Domain}
	if s.o.Registry.Domain != defaultDomain {
		registry = append(registry, defaultDomain)
	}
	var lines []string
	for _, server := range s.serversFor(name) {
		lines = append(lines, server+" "+strings.Join(registry, " "))
	}
	add := func(ip string, names ...string) error {
		addr, err := netip.ParseAddr(ip)
		if err != nil || addr.Zone() != "" {
			return fmt.Errorf("%q, which is to be %s in /etc/hosts, is no IP address", ip, strings.Join(names, " "))
		}
		for _, n := range names {
			if !nameRE.MatchString(n) {
				return fmt.Errorf("%q cannot be a name in /etc/hosts", n)
			}
		}
		if len(names) > 0 {
			lines = append(lines, ip+" "+strings.Join(names, " "))
		}
		return nil
	}
	// A site with a load balancer of its own says so by an alias. The host that
	// the first API server starts on asks that one, which is there before the
	// balancer can know it.
	aliased := slices.ContainsFunc(s.o.Aliases, func(a cluster.Alias) bool {
		return slices.Contains(a.Names, apiServerName)
	})
	balanced := aliased && name != s.o.Servers[0]
	if !balanced {
		servers := s.serversFor(name)
		switch {
		case s.o.APIServer != "":
			servers = []string{s.o.APIServer}
		case aliased:
			servers = servers[:1]
		}
		for _, server := range servers {
			if err := add(server, apiServerName); err != nil {
				return nil, err
			}
		}
	}
	for _, a := range s.o.Aliases {
		names := a.Names
		if !balanced {
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == apiServerName })
		}
		if err := add(a.IP, names...); err != nil {
			return nil, err
		}
	}
	return lines, nil
}

// setBlock gives the text of a hosts file with our block as its first lines,
// for the first line with a name wins. Without lines there is no block. All
// else stays as it is, to the byte.
func setBlock(text []byte, lines []string) ([]byte, error) {
	rest, err := withoutBlock(text)
	if err != nil || len(lines) == 0 {
		return rest, err
	}
	var b bytes.Buffer
	b.WriteString(blockBegin + "\n")
	for _, l := range lines {
		b.WriteString(l + "\n")
	}
	b.WriteString(blockEnd + "\n")
	b.Write(rest)
	return b.Bytes(), nil
}

// withoutBlock takes every block of ours out.
func withoutBlock(text []byte) ([]byte, error) {
	rest := make([]byte, 0, len(text))
	inside := false
	for line := range bytes.Lines(text) {
		switch l := string(bytes.TrimRight(line, " \t\r\n")); {
		case l == blockBegin:
			if inside {
				return nil, errors.New(`has a line "# BEGIN bundle" inside of another such block; mend it by hand`)
			}
			inside = true
		case l == blockEnd:
			if !inside {
				return nil, errors.New(`has a line "# END bundle" without the one that begins the block; mend it by hand`)
			}
			inside = false
		case !inside:
			rest = append(rest, line...)
		}
	}
	if inside {
		return nil, errors.New(`has a line "# BEGIN bundle" without the one that ends the block; mend it by hand`)
	}
	return rest, nil
}

// rivals are the lines outside of our block that give one of our names another
// address. Programs that ask for all addresses of a name get those too.
func rivals(text []byte, lines []string) []string {
	rest, err := withoutBlock(text)
	if err != nil {
		return nil
	}
	ours := map[string][]string{}
	for _, l := range lines {
		f := strings.Fields(l)
		for _, n := range f[1:] {
			ours[n] = append(ours[n], f[0])
		}
	}
	var found []string
	for line := range bytes.Lines(rest) {
		l, _, _ := strings.Cut(string(line), "#")
		f := strings.Fields(l)
		if len(f) < 2 {
			continue
		}
		if slices.ContainsFunc(f[1:], func(n string) bool { return ours[n] != nil && !slices.Contains(ours[n], f[0]) }) {
			found = append(found, printable(strings.Join(f, " ")))
		}
	}
	return found
}
