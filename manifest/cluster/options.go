package cluster

import (
	"maps"
	"slices"

	"bundle/manifest"
)

// Options are what the command line adds to a Clusterfile.
type Options struct {
	// Masters and Nodes are hosts behind those of the Clusterfile. An entry
	// is an address, ADDRESS:PORT, a range FIRST-LAST, or several of these
	// separated by commas.
	Masters, Nodes []string
	// Env are variables "NAME=VALUE"; they win over spec.env.
	Env []string
	// SSH has the fields that replace those of spec.ssh. What the Clusterfile
	// says about a single host stays.
	SSH SSH
	// Set are the values of placeholders by name, see the package's comment.
	Set map[string]string
	// AllowNoHosts makes a Clusterfile without any master no error.
	AllowNoHosts bool
}

// commandLine is the source of what Options bring.
func commandLine(flag string) manifest.Source { return manifest.Source("command line " + flag) }

// checkSet refuses names and values that could not be put in anywhere.
func (r *report) checkSet(set map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		at := commandLine("--set " + name)
		if !varName.MatchString(name) {
			r.bad(at, "a name has letters, digits and _", "%.60q cannot be the name of a placeholder", name)
		}
		for _, c := range set[name] {
			if c < ' ' || c == 0x7f || c == '\u2028' || c == '\u2029' || c == '\ufffd' {
				r.bad(at, "", "the value holds a line break or another control character")
				break
			}
		}
	}
}
