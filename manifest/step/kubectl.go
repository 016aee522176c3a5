package step

import (
	"strconv"
	"strings"
)

var kubectlGlobal = flagSet{"n": flagString, "namespace": flagString}

// kubectl understands the verbs that installs use.
func kubectl(args []arg, dir string) ([]Action, int, bool) {
	verb, rest, ok := verbOf(args, kubectlGlobal)
	if !ok {
		return nil, 0, false
	}
	switch verb {
	case "apply", "create", "delete":
		return kubectlFiles(verb, rest, dir)
	case "scale":
		return kubectlScale(rest)
	case "taint":
		return kubectlTaint(rest)
	case "label", "annotate":
		return kubectlMeta(verb, rest)
	case "patch":
		return kubectlPatch(rest)
	case "rollout":
		return kubectlRollout(rest)
	case "wait":
		return kubectlWait(rest)
	}
	return nil, 0, false
}

// with adds the global flags to a set.
func with(set flagSet) flagSet {
	for name, typ := range kubectlGlobal {
		set[name] = typ
	}
	return set
}

func kubectlFiles(verb string, args []arg, dir string) ([]Action, int, bool) {
	set := flagSet{"f": flagString, "filename": flagString, "R": flagBool, "recursive": flagBool}
	switch verb {
	case "apply":
		set["server-side"] = flagBool
	case "delete":
		set["ignore-not-found"] = flagBool
	}
	p, ok := parseFlags(args, with(set), map[string]bool{"f": true, "filename": true})
	if !ok {
		return nil, 0, false
	}
	ns, ok := p.last("n", "namespace")
	if !ok {
		return nil, 0, false
	}
	if !p.has("f", "filename") {
		return kubectlObjects(verb, p, ns)
	}
	if len(p.rest) > 0 || (p.has("f") && p.has("filename")) {
		return nil, 0, false
	}
	files, ok := fileNames(p, args)
	if !ok {
		return nil, 0, false
	}
	recursive := p.on("R", "recursive")
	switch verb {
	case "apply":
		return []Action{Apply{Files: files, Namespace: ns, Recursive: recursive, ServerSide: p.on("server-side"), Dir: dir}}, 0, true
	case "create":
		return []Action{Create{Files: files, Namespace: ns, Recursive: recursive, Dir: dir}}, 0, true
	}
	if recursive {
		return nil, 0, false
	}
	return []Action{Delete{Files: files, Namespace: ns, Dir: dir}}, 0, true
}

// fileNames gives the values of -f. A file whose name holds a quoted wildcard
// is not understood: the steps that use the names would expand it.
func fileNames(p parsed, args []arg) ([]string, bool) {
	for _, a := range args {
		if !a.glob && strings.ContainsAny(a.text, "*?[") {
			return nil, false
		}
	}
	var out []string
	for _, v := range p.all("f", "filename") {
		for _, file := range strings.Split(v, ",") {
			if file == "" || file == "-" || isNetwork(file) {
				return nil, false
			}
			out = append(out, file)
		}
	}
	return out, true
}

// kubectlObjects understands "create namespace N" and "delete RESOURCE NAME…".
func kubectlObjects(verb string, p parsed, ns string) ([]Action, int, bool) {
	w, ok := p.words()
	if !ok || len(w) < 1 || p.has("R", "recursive", "server-side") {
		return nil, 0, false
	}
	switch verb {
	case "create":
		if len(w) != 2 || resourceName(w[0]) != "namespace" || ns != "" {
			return nil, 0, false
		}
		return []Action{Namespace{Name: w[1]}}, 0, true
	case "delete":
		resource, names, ok := objects(w)
		if !ok {
			return nil, 0, false
		}
		return []Action{Delete{Resource: resource, Names: names, Namespace: ns}}, 0, true
	}
	return nil, 0, false
}

// objects reads "RESOURCE NAME…" or "RESOURCE/NAME".
func objects(w []string) (resource string, names []string, ok bool) {
	if len(w) == 1 {
		resource, name, ok := strings.Cut(w[0], "/")
		if !ok || resource == "" || name == "" || strings.ContainsAny(w[0], ",") || strings.Contains(name, "/") {
			return "", nil, false
		}
		return resourceName(resource), []string{name}, true
	}
	if len(w) == 0 || w[0] == "" {
		return "", nil, false
	}
	for _, x := range w {
		if strings.ContainsAny(x, "/,") {
			return "", nil, false
		}
	}
	return resourceName(w[0]), w[1:], true
}

func kubectlScale(args []arg) ([]Action, int, bool) {
	p, ok := parseFlags(args, with(flagSet{"replicas": flagString}), nil)
	if !ok {
		return nil, 0, false
	}
	w, ok := p.words()
	ns, okNS := p.last("n", "namespace")
	count, okCount := p.last("replicas")
	if !ok || !okNS || !okCount {
		return nil, 0, false
	}
	replicas, err := strconv.ParseInt(count, 10, 32)
	if err != nil || replicas < 0 {
		return nil, 0, false
	}
	resource, names, ok := objects(w)
	if !ok || !scalable[resource] {
		return nil, 0, false
	}
	var out []Action
	for _, name := range names {
		out = append(out, Scale{Resource: resource, Name: name, Namespace: ns, Replicas: int(replicas)})
	}
	return out, 0, true
}

func kubectlPatch(args []arg) ([]Action, int, bool) {
	p, ok := parseFlags(args, with(flagSet{"p": flagString, "patch": flagString, "type": flagString}), nil)
	if !ok {
		return nil, 0, false
	}
	w, ok := p.words()
	ns, okNS := p.last("n", "namespace")
	typ, okType := p.last("type")
	patch, okPatch := p.last("p", "patch")
	if !ok || !okNS || !okType || !okPatch || patch == "" {
		return nil, 0, false
	}
	if typ == "" {
		typ = "strategic"
	}
	resource, names, ok := objects(w)
	if !ok || len(names) != 1 || (typ != "strategic" && typ != "merge" && typ != "json") {
		return nil, 0, false
	}
	return []Action{Patch{Resource: resource, Name: names[0], Namespace: ns, Type: typ, Patch: patch}}, 0, true
}

// rollable are the workloads that roll out.
var rollable = map[string]bool{"deployment": true, "statefulset": true, "daemonset": true}

// kubectlRollout understands "rollout status".
func kubectlRollout(args []arg) ([]Action, int, bool) {
	p, ok := parseFlags(args, with(flagSet{"timeout": flagString}), nil)
	if !ok {
		return nil, 0, false
	}
	w, ok := p.words()
	ns, okNS := p.last("n", "namespace")
	timeout, okTime := p.timeout()
	if !ok || !okNS || !okTime || len(w) < 2 || w[0] != "status" {
		return nil, 0, false
	}
	resource, names, ok := objects(w[1:])
	if !ok || len(names) != 1 || !rollable[resource] {
		return nil, 0, false
	}
	return []Action{WaitRollout{Resource: resource, Name: names[0], Namespace: ns}}, timeout, true
}

// kubectlWait understands waiting for an established definition.
func kubectlWait(args []arg) ([]Action, int, bool) {
	p, ok := parseFlags(args, flagSet{"for": flagString, "timeout": flagString}, nil)
	if !ok {
		return nil, 0, false
	}
	w, ok := p.words()
	cond, okFor := p.last("for")
	timeout, okTime := p.timeout()
	if !ok || !okFor || !okTime || !strings.EqualFold(cond, "condition=established") {
		return nil, 0, false
	}
	resource, names, ok := objects(w)
	if !ok || resource != "customresourcedefinition" || len(names) == 0 {
		return nil, 0, false
	}
	if timeout == 0 {
		timeout = 30 // kubectl's own
	}
	var out []Action
	for _, name := range names {
		out = append(out, WaitCRD{CRD: name})
	}
	return out, timeout, true
}
