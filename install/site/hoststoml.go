package site

import (
	"fmt"
	"strings"
)

// hostsTOML tells containerd to fetch what names the registry from our
// servers, in this order, and from nowhere else: "server", which it tries
// last, is ours too, so that a missing image fails at once instead of after
// the time that a network without a way out takes to say so. The settings
// before the first table are that last server's.
//
// containerd 1.6 takes header names as they are written, so they have to be
// written as HTTP spells them.
func (s *Site) hostsTOML(registry string, servers []string, authorization string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by bundle install: images of %s come from the registry on site.\n", registry)
	fmt.Fprintf(&b, "server = %q\n", "https://"+s.addr(servers[0]))
	entry := func(indent, table string) {
		fmt.Fprintf(&b, "%scapabilities = [\"pull\", \"resolve\"]\n", indent)
		fmt.Fprintf(&b, "%sca = %q\n", indent, s.p.caCert)
		if authorization != "" {
			fmt.Fprintf(&b, "\n%s[%sheader]\n%s  Authorization = %q\n", indent, table, indent, authorization)
		}
	}
	entry("", "")
	for _, server := range servers {
		table := fmt.Sprintf("host.%q", "https://"+s.addr(server))
		fmt.Fprintf(&b, "\n[%s]\n", table)
		entry("  ", table+".")
	}
	return []byte(b.String())
}
