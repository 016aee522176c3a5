package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// HostDir is the folder of all journals of a machine, where root keeps them.
const HostDir = "/var/lib/bundle/state"

// FileName is the name of the journal in its folder.
const FileName = "journal.jsonl"

// DefaultDir is the folder of a cluster's journal on this machine.
func DefaultDir(cluster string) (string, error) {
	if err := checkName(cluster); err != nil {
		return "", err
	}
	if isRoot() {
		return filepath.Join(HostDir, cluster), nil
	}
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("there is no place for the journal: %w", err)
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "bundle", cluster), nil
}

// checkName refuses names that are no name of a folder.
func checkName(name string) error {
	bad := name == "" || name == "." || name == ".." || len(name) > 200 ||
		strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || r == ':' || !unicode.IsPrint(r) })
	if bad {
		return fmt.Errorf("the cluster name %.40q cannot be the name of a folder", name)
	}
	return nil
}
