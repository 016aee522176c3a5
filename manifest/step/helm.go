package step

import (
	"strings"
)

var helmGlobal = flagSet{"n": flagString, "namespace": flagString}

// helm understands "helm [-n N] install|upgrade|uninstall …".
func helm(args []arg, dir string) ([]Action, int, bool) {
	verb, rest, ok := verbOf(args, helmGlobal)
	if !ok {
		return nil, 0, false
	}
	switch verb {
	case "install", "upgrade":
		return helmRelease(verb, rest, dir)
	case "uninstall", "delete", "del", "un":
		return helmUninstall(rest)
	}
	return nil, 0, false
}

// verbOf takes the first word that is no global flag out of args.
func verbOf(args []arg, global flagSet) (string, []arg, bool) {
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a.special() {
			return "", nil, false
		}
		if !strings.HasPrefix(a.text, "-") {
			rest := append(append([]arg{}, args[:i]...), args[i+1:]...)
			return a.text, rest, true
		}
		name, _, hasValue := strings.Cut(strings.TrimLeft(a.text, "-"), "=")
		typ, ok := global[name]
		if !ok && !strings.HasPrefix(a.text, "--") && len(a.text) > 2 {
			typ, ok = global[a.text[1:2]]
			hasValue = true
		}
		if !ok {
			return "", nil, false
		}
		if typ == flagString && !hasValue {
			i++
		}
	}
	return "", nil, false
}

func helmRelease(verb string, args []arg, dir string) ([]Action, int, bool) {
	p, ok := parseFlags(args, flagSet{
		"n": flagString, "namespace": flagString, "f": flagString, "values": flagString,
		"set": flagString, "set-string": flagString, "version": flagString, "timeout": flagString,
		"create-namespace": flagBool, "wait": flagBool, "atomic": flagBool, "rollback-on-failure": flagBool,
		"i": flagBool, "install": flagBool,
	}, nil)
	if !ok {
		return nil, 0, false
	}
	w, ok := p.words()
	if !ok || len(w) != 2 || isNetwork(w[1]) {
		return nil, 0, false
	}
	a := HelmRelease{Release: w[0], Chart: w[1], Dir: dir}
	install := p.on("i", "install")
	switch {
	case verb == "install" && p.has("i", "install"):
		return nil, 0, false
	case verb == "upgrade" && !install:
		a.Mode = ModeUpgrade
	}
	var okNS, okVersion, okTime bool
	a.Namespace, okNS = p.last("n", "namespace")
	a.Version, okVersion = p.last("version")
	timeout, okTime := p.timeout()
	if !okNS || !okVersion || !okTime {
		return nil, 0, false
	}
	if a.Namespace == "" {
		a.Namespace = "default"
	}
	if p.has("f") && p.has("values") {
		return nil, 0, false // their order matters, and is lost
	}
	for _, v := range p.all("f", "values") {
		for _, file := range strings.Split(v, ",") {
			if file == "" || file == "-" || isNetwork(file) || strings.Contains(file, `"`) {
				return nil, 0, false
			}
			a.Values = append(a.Values, file)
		}
	}
	a.Set, a.SetString = p.all("set"), p.all("set-string")
	if len(a.Set) > 0 && len(a.SetString) > 0 {
		return nil, 0, false // as above
	}
	a.CreateNamespace = p.on("create-namespace")
	a.Atomic = p.on("atomic", "rollback-on-failure")
	a.Wait = p.on("wait") || a.Atomic
	return []Action{a}, timeout, true
}

func helmUninstall(args []arg) ([]Action, int, bool) {
	p, ok := parseFlags(args, flagSet{
		"n": flagString, "namespace": flagString, "timeout": flagString,
		"ignore-not-found": flagBool, "wait": flagBool,
	}, nil)
	if !ok {
		return nil, 0, false
	}
	w, ok := p.words()
	ns, okNS := p.last("n", "namespace")
	timeout, okTime := p.timeout()
	if !ok || !okNS || !okTime || len(w) == 0 || p.on("wait") {
		return nil, 0, false
	}
	if ns == "" {
		ns = "default"
	}
	var out []Action
	for _, release := range w {
		out = append(out, HelmUninstall{Release: release, Namespace: ns})
	}
	return out, timeout, true
}

// isNetwork tells whether a chart or file is fetched from somewhere. oci:// is
// not: a bundle carries such charts under their names.
func isNetwork(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}
