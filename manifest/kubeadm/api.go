package kubeadm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// ownGroup tells whether a document is of kubeadm's own API and not the
// kubelet's or kube-proxy's.
func ownGroup(kind string) bool {
	return kind == kindInit || kind == kindCluster || kind == kindJoin
}

// checkAPI makes sure that a document says an apiVersion of its kind.
func checkAPI(name, kind string, d doc) error {
	version, ok := d["apiVersion"].(string)
	if !ok || version == "" {
		return fmt.Errorf("%s %w: its %s has no apiVersion", name, ErrInput, kind)
	}
	if ownGroup(kind) && apiIndex(version) < 0 {
		return fmt.Errorf("%s %w: %s of apiVersion %.60q is not known", name, ErrInput, kind, version)
	}
	return nil
}

// raise rewrites a document of an older version of kubeadm's API as one of
// the newer version to. It is told nothing and does nothing where the
// document is that new already.
func raise(kind string, d doc, to string) {
	from, target := apiIndex(d.text("apiVersion")), apiIndex(to)
	if !ownGroup(kind) || from >= target {
		return
	}
	d["apiVersion"] = to
	if from < apiIndex(V1Beta3) && target >= apiIndex(V1Beta3) && kind == kindCluster {
		delete(d, "useHyperKubeImage")
		if dns, ok := d["dns"].(map[string]any); ok {
			delete(dns, "type")
		}
	}
	if target < apiIndex(V1Beta4) {
		return
	}
	walkArgs(map[string]any(d), func(m map[string]any, key string) {
		if args, ok := m[key].(map[string]any); ok {
			m[key] = argList(args)
		}
	})
	switch kind {
	case kindCluster:
		// It is a field of the other two kinds now, with a default that fits.
		if server, ok := d["apiServer"].(map[string]any); ok {
			delete(server, "timeoutForControlPlane")
		}
	case kindJoin:
		if discovery, ok := d["discovery"].(map[string]any); ok {
			if t, ok := discovery["timeout"]; ok {
				delete(discovery, "timeout")
				d.at("timeouts").fill("discovery", t)
			}
		}
	}
}

// argList gives arguments in the form of v1beta4, sorted by name.
func argList(args map[string]any) []any {
	out := make([]any, 0, len(args))
	for _, name := range slices.Sorted(maps.Keys(args)) {
		out = append(out, map[string]any{"name": name, "value": scalar(args[name])})
	}
	return out
}

// setArg sets one argument of a component unless it is there, in the form of
// the document's version.
func setArg(d doc, m doc, key, name, value string) {
	if apiIndex(d.text("apiVersion")) < apiIndex(V1Beta4) {
		m.at(key).fill(name, value)
		return
	}
	args, _ := m[key].([]any)
	for _, a := range args {
		if argName(a) == name {
			return
		}
	}
	m[key] = append(args, map[string]any{"name": name, "value": value})
}

// textArgs makes texts of numbers and booleans among the arguments of
// components, where kubeadm takes nothing else.
func textArgs(d doc) {
	walkArgs(map[string]any(d), func(m map[string]any, key string) {
		switch args := m[key].(type) {
		case map[string]any:
			for name, v := range args {
				args[name] = scalar(v)
			}
		case []any:
			for _, a := range args {
				if a, ok := a.(map[string]any); ok && a["value"] != nil {
					a["value"] = scalar(a["value"])
				}
			}
		}
	})
}

func scalar(v any) any {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	return v
}

// settle brings two documents of one kind to one version of kubeadm's API
// that kubeadm of v reads, and lays over onto base.
func settle(kind string, base, over doc, v Version) (doc, []string, error) {
	if base == nil && over == nil {
		return nil, nil, nil
	}
	base, over = cloneDoc(base), cloneDoc(over)
	var warnings []string
	if ownGroup(kind) {
		to := max(apiIndex(base.text("apiVersion")), apiIndex(over.text("apiVersion")))
		for to < len(apis)-1 && !Supported(v, apis[to].name) && v.AtLeast(apis[to+1].from) {
			to++
		}
		name := apis[to].name
		if !Supported(v, name) {
			return nil, nil, fmt.Errorf("%s of %s %w: kubeadm %s does not read that version; write it as %s", kind, name, ErrInput, v, Native(v))
		}
		for _, d := range []doc{base, over} {
			if was := d.text("apiVersion"); was != "" && was != name {
				warnings = append(warnings, fmt.Sprintf("%s is rewritten from %s to %s, which kubeadm %s reads", kind,
					strings.TrimPrefix(was, group), strings.TrimPrefix(name, group), v))
			}
			if len(d) > 0 {
				raise(kind, d, name)
			}
		}
	}
	return merge(base, over), warnings, nil
}

func cloneDoc(d doc) doc {
	m, _ := clone(map[string]any(d)).(map[string]any)
	return m
}
