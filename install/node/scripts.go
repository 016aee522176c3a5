package node

import (
	"context"
	"fmt"
	"io"
	"maps"
	"strings"

	"bundle/install/host"
	"bundle/manifest"
)

// Dialect is how the scripts of a root file system want to be started.
type Dialect string

// The dialects of sealer's cluster images.
const (
	// NoScripts is a root file system without scripts for the host: it has a
	// container runtime and the kubelet already.
	NoScripts Dialect = ""
	// InitScript is that of sealer up to 0.8: scripts/init.sh does all,
	// scripts/clean.sh takes it back.
	InitScript Dialect = "init.sh"
	// RuntimeScripts is that of sealer since 0.9: scripts/docker.sh or
	// scripts/containerd.sh, then scripts/init-kube.sh;
	// scripts/uninstall-docker.sh or -containerd.sh take them back.
	RuntimeScripts Dialect = "init-kube.sh"
)

// Scripts tells the dialect of a root file system. Images of the later one
// often still have an init.sh, and those of the earlier one have the scripts
// that init.sh calls; what only the later one has are uninstall scripts.
func Scripts(files []manifest.File) Dialect {
	has := map[string]bool{}
	for _, f := range files {
		if f.Type == "file" && strings.HasPrefix(f.Path, "scripts/") {
			has[f.Path] = true
		}
	}
	runtime := has["scripts/docker.sh"] || has["scripts/containerd.sh"]
	uninstall := has["scripts/uninstall-docker.sh"] || has["scripts/uninstall-containerd.sh"]
	switch {
	case has["scripts/init-kube.sh"] && (uninstall || runtime && !has["scripts/init.sh"]):
		return RuntimeScripts
	case has["scripts/init.sh"]:
		return InitScript
	case has["scripts/init-kube.sh"]:
		return RuntimeScripts
	}
	return NoScripts
}

// Script is a text that bash runs on a host as it stands.
type Script struct {
	// Label is what the host's log calls it.
	Label string
	Text  string
	// Dir is where it runs; absolute.
	Dir string
	// Env are its variables, exported.
	Env map[string]string
	// Output, if set, gets what it prints as it comes.
	Output io.Writer
}

// Script runs a script of the image, of a plugin or of a step. Its folder's
// programs of the image are found after those of the host.
func (n *Nodes) Script(ctx context.Context, h host.Host, s Script) (Outcome, error) {
	env := maps.Clone(s.Env)
	if env == nil {
		env = map[string]string{}
	}
	if env["PATH"] == "" {
		env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + n.rootfs + "/bin"
	}
	c := host.Command{Label: s.Label, Script: s.Text, Dir: s.Dir, Env: env, Stdout: s.Output, Stderr: s.Output}
	if err := h.Run(ctx, c); err != nil {
		return Outcome{}, err
	}
	return Outcome{Changed: true}, nil
}

const hostNameScript = `
was="$(uname -n)"
kept="$(cat "$ROOT/etc/hostname" 2>/dev/null || true)"
if [ "$was" = "$NAME" ] && [ "$kept" = "$NAME" ]; then echo same; exit; fi
if [ -z "$ROOT" ] && command -v hostnamectl >/dev/null && hostnamectl set-hostname "$NAME" 2>/dev/null; then :
else
	printf '%s\n' "$NAME" >"$ROOT/etc/hostname.new"
	mv "$ROOT/etc/hostname.new" "$ROOT/etc/hostname"
	if [ -z "$ROOT" ]; then hostname "$NAME"; fi
fi
printf 'was %s\n' "$was"
`

// SetHostName gives a host its name, now and after it starts again.
func (n *Nodes) SetHostName(ctx context.Context, h host.Host, name string) (Outcome, error) {
	if !validHostName(name) {
		return Outcome{}, fail(h, nil, nil, "", "%q cannot be the name of a host", printable(name))
	}
	out, err := n.run(ctx, h, "set the host name", hostNameScript, n.env("NAME", name), nil)
	if err != nil {
		return Outcome{}, err
	}
	if was, ok := strings.CutPrefix(strings.TrimSpace(out), "was "); ok {
		return Outcome{Changed: true, Detail: fmt.Sprintf("the host is called %s, and was %s", name, printable(was))}, nil
	}
	return Outcome{Detail: "the host is called " + name}, nil
}

func validHostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label {
			return false
		}
		for _, c := range label {
			if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
				return false
			}
		}
	}
	return len(s) <= 64
}
