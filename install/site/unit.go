package site

import (
	"fmt"
	"strings"
)

// serveArgs are the arguments of our program on a server.
func (s *Site) serveArgs(server string, bundles []placed, auth bool) []string {
	listen := fmt.Sprintf(":%d", s.o.Registry.Port)
	if s.o.Listen != "" {
		listen = s.addr(s.o.Listen)
	}
	args := []string{"serve"}
	for _, b := range bundles {
		args = append(args, b.Path)
	}
	args = append(args, "--addr="+listen, "--tls=auto", "--tls-dir="+s.p.tls)
	for _, n := range s.certificateNames(server) {
		args = append(args, "--tls-name="+n)
	}
	for _, n := range s.localNames() {
		args = append(args, "--local-name="+n)
	}
	if auth {
		args = append(args, "--htpasswd="+s.p.htpasswd)
	}
	return append(args, s.policyFlags()...)
}

// certificateNames are what the certificate of a server has to cover.
func (s *Site) certificateNames(server string) []string {
	names := []string{defaultDomain}
	for _, n := range append([]string{s.o.Registry.Domain, server}, s.o.Registry.CertNames...) {
		if n != "" && n != defaultDomain {
			names = append(names, n)
		}
	}
	return names
}

// mark is the line that tells whether the running service has what it needs:
// it changes with the program, the bundles, the keys and the authority.
func mark(program string, bundles []placed, policy string, ca []byte) string {
	var b strings.Builder
	fmt.Fprintln(&b, program, policy, sumOf(ca))
	for _, p := range bundles {
		fmt.Fprintln(&b, p.Index, p.Size, p.Stat)
	}
	return "# for " + sumOf([]byte(b.String()))
}

// unitText is the service. What an older systemd does not know it ignores.
func (s *Site) unitText(mark string, args []string) []byte {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = unitQuote(a)
	}
	capabilities := "CAP_DAC_READ_SEARCH"
	if s.o.Registry.Port < 1024 {
		capabilities += " CAP_NET_BIND_SERVICE"
	}
	return []byte(`# Made by bundle install; bundle clean removes it.
` + mark + `
[Unit]
Description=Registry in the bundle
After=network.target local-fs.target

[Service]
ExecStart=` + s.p.binary + " " + strings.Join(words, " ") + `
Restart=always
RestartSec=3
TimeoutStopSec=20
LimitNOFILE=65536
CapabilityBoundingSet=` + capabilities + `
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=` + s.p.tls + `
ProtectHome=read-only
PrivateDevices=yes
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
`)
}

// unitQuote makes one word of s in an ExecStart line.
func unitQuote(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s)
	if strings.ContainsAny(s, " \t'\";\\") || s == "" {
		return `"` + s + `"`
	}
	return s
}

// supervisorText keeps the registry running where there is no systemd. It
// notes its own process with the moment it began, so that no other one that
// has the number later is taken for it.
func (s *Site) supervisorText(mark string, args []string) []byte {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = shellQuote(a)
	}
	return []byte(`#!/bin/bash
# Made by bundle install: keeps the registry running where there is no systemd.
` + mark + `
stop= child=
trap 'stop=yes; [ -z "$child" ] || kill "$child" 2>/dev/null' TERM INT
read -r s < "/proc/$$/stat"
s=${s##*) }
set -- $s
echo "$$ ${20}" > ` + s.p.pid + `
while [ -z "$stop" ]; do
  ` + s.p.binary + " " + strings.Join(words, " ") + ` </dev/null >> ` + s.p.log + ` 2>&1 &
  child=$!
  echo "$child" > ` + s.p.child + `
  [ -z "$stop" ] || kill "$child" 2>/dev/null
  wait "$child"
  code=$?
  # A signal ends the first wait early.
  [ -z "$stop" ] || wait "$child"
  child=
  [ -n "$stop" ] || { echo "ended with code $code" >> ` + s.p.log + `; sleep 3 & wait $!; }
done
rm -f -- ` + s.p.pid + " " + s.p.child + `
`)
}
