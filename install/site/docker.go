package site

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// daemonJSON adds our servers to docker's settings: as mirrors of Docker Hub,
// and where the settings are for a docker that knows mirrors of every registry
// ("mirror-registries", as sealer's images ship it), there too. Text that
// says so already is given back as it is.
func daemonJSON(text []byte, mirrors []string, plain []string) ([]byte, error) {
	settings, err := jsonObject(text)
	if err != nil {
		return nil, err
	}
	have, err := stringList(settings, "registry-mirrors")
	if err != nil {
		return nil, err
	}
	next := merged(mirrors, have, plain)
	changed := !slices.Equal(have, next)
	settings["registry-mirrors"] = next
	if every, ok := settings["mirror-registries"]; ok {
		more, err := mirrorEvery(every, mirrors, plain)
		if err != nil {
			return nil, err
		}
		changed = changed || more != nil
		if more != nil {
			settings["mirror-registries"] = more
		}
	}
	if !changed {
		return text, nil
	}
	return jsonText(settings)
}

// mirrorEvery puts our mirrors first for all domains; nil where they are.
func mirrorEvery(v any, mirrors, plain []string) (any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New(`has "mirror-registries" that is no list`)
	}
	for _, e := range list {
		entry, ok := e.(map[string]any)
		if !ok {
			return nil, errors.New(`has "mirror-registries" with an entry that is no object`)
		}
		if entry["domain"] != "*" {
			continue
		}
		have, err := stringList(entry, "mirrors")
		if err != nil {
			return nil, err
		}
		next := merged(mirrors, have, plain)
		if slices.Equal(have, next) {
			return nil, nil
		}
		entry["mirrors"] = next
		return list, nil
	}
	return append(list, map[string]any{"domain": "*", "mirrors": mirrors}), nil
}

// merged puts ours before theirs, and drops what names us in plain HTTP, for
// we answer TLS only.
func merged(ours, theirs, plain []string) []string {
	next := slices.Clone(ours)
	for _, m := range theirs {
		if bare := strings.TrimRight(m, "/"); !slices.Contains(next, bare) && !slices.Contains(plain, bare) {
			next = append(next, m)
		}
	}
	return next
}

// dockerLogin adds a user and a password for registries, as docker login
// keeps them.
func dockerLogin(text []byte, registries []string, basic string) ([]byte, error) {
	settings, err := jsonObject(text)
	if err != nil {
		return nil, err
	}
	auths, ok := settings["auths"].(map[string]any)
	if !ok && settings["auths"] != nil {
		return nil, errors.New(`has "auths" that is no object`)
	}
	if auths == nil {
		auths = map[string]any{}
	}
	changed := false
	for _, r := range registries {
		if entry, _ := auths[r].(map[string]any); entry == nil || entry["auth"] != basic {
			auths[r], changed = map[string]any{"auth": basic}, true
		}
	}
	if !changed {
		return text, nil
	}
	settings["auths"] = auths
	return jsonText(settings)
}

// jsonObject reads settings; an empty file has none. Numbers stay as they are
// written.
func jsonObject(text []byte) (map[string]any, error) {
	settings := map[string]any{}
	if len(bytes.TrimSpace(text)) == 0 {
		return settings, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&settings); err != nil {
		return nil, fmt.Errorf("is not JSON with an object in it (%w); mend it or move it away", err)
	}
	if d.More() || settings == nil {
		return nil, errors.New("is not JSON with one object in it; mend it or move it away")
	}
	return settings, nil
}

func jsonText(settings map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(settings)
	return b.Bytes(), err
}

func stringList(m map[string]any, key string) ([]string, error) {
	v, ok := m[key]
	if !ok || v == nil {
		return nil, nil
	}
	if list, ok := v.([]string); ok {
		return list, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("has %q that is no list", key)
	}
	out := make([]string, len(list))
	for i, e := range list {
		if out[i], ok = e.(string); !ok {
			return nil, fmt.Errorf("has %q with an entry that is no text", key)
		}
	}
	return out, nil
}
