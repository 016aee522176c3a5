package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Snapshot is what can be seen of a host: lines, each of which is there or
// not.
type Snapshot map[string]bool

// facts tells the state of a running host, one line each. What a look at it
// starts itself is left out.
const facts = `
systemctl list-unit-files --state=enabled --no-legend --plain | awk '{print "unit file enabled: " $1}'
systemctl list-units --type=service --state=running --no-legend --plain | awk '$1 !~ /^(user@|session|sshd?@)/ {print "service running: " $1}'
awk '$2 !~ "^/run/(user|systemd|credentials|lock)" {print "mount: " $2 " " $3}' /proc/mounts
ps -eo comm= | grep -vxE 'ps|awk|grep|sort|bash|sh|sshd|sed|\(sd-pam\)|systemd|sftp-server' | sed 's/^/process: /'
ss -Hltnu | awk '{print "listens: " $1 " " $5}'
ip -o link | awk -F': ' '{print "link: " $2}'
ip route | sed 's/^/route: /'
for t in filter nat mangle raw; do iptables-save -t $t 2>/dev/null | grep -E '^:|^-A' | sed "s/ \[.*//; s/^/iptables $t: /"; done
sed 's/^/hosts: /' /etc/hosts
getent passwd | cut -d: -f1 | sed 's/^/user: /'
`

// volatile are files that a running Debian changes by itself.
var volatile = []string{
	"var/log", "var/tmp", "tmp", "var/lib/systemd", "var/cache", "var/lib/dbus", "run", "etc/.updated", "var/.updated",
	"root/.bash_history", "var/lib/private", "etc/machine-id", "etc/.pwd.lock", "var/lib/sudo",
}

// Snapshot looks at the host from inside, and from outside at every file that
// it has beyond those that all hosts begin with.
func (h *Host) Snapshot(ctx context.Context) (Snapshot, error) {
	out, err := h.Run(ctx, facts)
	if err != nil {
		return nil, err
	}
	s := Snapshot{}
	for _, line := range strings.Split(out, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			s[line] = true
		}
	}
	roots := map[string]string{filepath.Join(h.dir(), "upper"): ""}
	for _, d := range apart {
		roots[h.apart(d)] = d
	}
	for root, prefix := range roots {
		if err := s.addFiles(root, prefix); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s Snapshot) addFiles(root, prefix string) error {
	return filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.Join(prefix, rel)
		if slices.Contains(volatile, rel) {
			return filepath.SkipDir
		}
		line := "file: /" + rel
		if d.Type().IsRegular() && strings.HasPrefix(rel, "etc/") {
			// Where settings are, the bytes count.
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %x", sha256.Sum256(b))
		}
		if d.Type()&fs.ModeCharDevice != 0 {
			line += " (removed)"
		}
		// That a folder of the base is in the upper layer says nothing.
		if !d.IsDir() {
			s[line] = true
		}
		return nil
	})
}

// Diff tells what is in only one of two snapshots: "+" for what came.
func (s Snapshot) Diff(later Snapshot) []string {
	var out []string
	for line := range later {
		if !s[line] {
			out = append(out, "+ "+line)
		}
	}
	for line := range s {
		if !later[line] {
			out = append(out, "- "+line)
		}
	}
	slices.Sort(out)
	return out
}
