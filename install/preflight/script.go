package preflight

import (
	_ "embed"
	"strings"
)

// Script tells the facts of a host when a POSIX shell runs it with the
// variables of [Query.Env]. It touches nothing.
//
//go:embed gather.sh
var Script string

// Query says what the script looks at besides what it always does. The zero
// value asks for nothing more.
type Query struct {
	// Rootfs is where the root file system of the cluster will lie.
	Rootfs string
	// Paths are folders whose free space is wanted, there already or not.
	Paths []string
	// Devices are block devices that the install will use.
	Devices []string
	// Commands and Modules (of the kernel) that the install will call for.
	Commands, Modules []string
}

// Env gives the query as the script wants it.
func (q Query) Env() map[string]string {
	return map[string]string{
		"BUNDLE_ROOTFS":   q.Rootfs,
		"BUNDLE_PATHS":    strings.Join(q.Paths, "\n"),
		"BUNDLE_DEVICES":  strings.Join(q.Devices, "\n"),
		"BUNDLE_COMMANDS": strings.Join(q.Commands, " "),
		"BUNDLE_MODULES":  strings.Join(q.Modules, " "),
	}
}
