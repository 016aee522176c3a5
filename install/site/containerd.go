package site

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// containerd's configuration has its registry settings in a table whose name
// depends on the version of the file.
func registryTable(version int64) []string {
	switch version {
	case 1:
		return []string{"plugins", "cri", "registry"}
	case 2:
		return []string{"plugins", "io.containerd.grpc.v1.cri", "registry"}
	}
	return []string{"plugins", "io.containerd.cri.v1.images", "registry"}
}

// errMirrors: the configuration names mirrors in the old way, and containerd
// takes either them or the folder.
var errMirrors = errors.New(`sets "mirrors" or "configs" of registries, and containerd refuses those beside config_path`)

// errNoCRI: the kubelet cannot use this containerd; it only serves docker.
var errNoCRI = errors.New("turns off what the kubelet would use")

// containerdConfig makes containerd look into the folder certs for what we
// say about registries. Folders that are named already stay, behind ours. Text
// that does so already is given back as it is. The change is made in the text,
// so that comments and order stay, and checked by parsing both.
func containerdConfig(text []byte, certs string) ([]byte, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		text = []byte("version = 2\n")
	}
	before := map[string]any{}
	if err := toml.Unmarshal(text, &before); err != nil {
		return nil, fmt.Errorf("is not TOML (%s); mend it or move it away", firstLine(err))
	}
	version := int64(1)
	if v, ok := before["version"].(int64); ok {
		version = v
	}
	table := registryTable(version)
	settings, _ := lookup(before, table).(map[string]any)
	paths, _ := settings["config_path"].(string)
	if slices.Contains(filepath.SplitList(paths), certs) {
		return text, nil
	}
	disabled, _ := before["disabled_plugins"].([]any)
	for _, name := range disabled {
		if name == "cri" || name == table[1] || name == "io.containerd.grpc.v1.cri" {
			return nil, errNoCRI
		}
	}
	if oldMirrors(settings) {
		return nil, errMirrors
	}
	value := certs
	if paths != "" {
		value += ":" + paths
	}
	after := setConfigPath(string(text), table, value)
	got := map[string]any{}
	if err := toml.Unmarshal([]byte(after), &got); err != nil {
		return nil, errors.New("is written in a way that config_path cannot be added to; add it by hand")
	}
	want := before
	set(want, table, value)
	if !reflect.DeepEqual(got, want) {
		return nil, errors.New("is written in a way that config_path cannot be added to; add it by hand")
	}
	return []byte(after), nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return printable(line)
}

// oldMirrors tells whether containerd would refuse config_path beside these.
func oldMirrors(settings map[string]any) bool {
	if m, _ := settings["mirrors"].(map[string]any); len(m) > 0 {
		return true
	}
	configs, _ := settings["configs"].(map[string]any)
	for _, c := range configs {
		if c, _ := c.(map[string]any); c["tls"] != nil {
			return true
		}
	}
	return false
}

func lookup(m map[string]any, keys []string) any {
	var v any = m
	for _, k := range keys {
		t, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = t[k]
	}
	return v
}

func set(m map[string]any, keys []string, value string) {
	for _, k := range keys {
		t, ok := m[k].(map[string]any)
		if !ok {
			t = map[string]any{}
			m[k] = t
		}
		m = t
	}
	m["config_path"] = value
}

var (
	headerRE = regexp.MustCompile(`^\s*\[([^\[\]]+)\]\s*(#.*)?$`)
	keyRE    = regexp.MustCompile(`"[^"]*"|'[^']*'|[A-Za-z0-9_-]+`)
	pathRE   = regexp.MustCompile(`^\s*config_path\s*=`)
)

// setConfigPath writes the setting into the table, which is added at the end
// where there is none.
func setConfigPath(text string, table []string, value string) string {
	lines := strings.SplitAfter(text, "\n")
	line := fmt.Sprintf("config_path = %q\n", value)
	for i, l := range lines {
		m := headerRE.FindStringSubmatch(strings.TrimRight(l, "\r\n"))
		if m == nil || !slices.Equal(tableName(m[1]), table) {
			continue
		}
		indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))] + "  "
		for j := i + 1; j < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[j]), "["); j++ {
			if pathRE.MatchString(lines[j]) {
				lines[j] = indent + line
				return strings.Join(lines, "")
			}
		}
		if !strings.HasSuffix(l, "\n") {
			lines[i] += "\n"
		}
		return strings.Join(slices.Insert(lines, i+1, indent+line), "")
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text + fmt.Sprintf("\n[%s.%q.%s]\n  %s", table[0], table[1], table[2], line)
}

// tableName splits the name of a table; quotes around its parts go.
func tableName(s string) []string {
	parts := keyRE.FindAllString(s, -1)
	for i, p := range parts {
		parts[i] = strings.Trim(p, `"'`)
	}
	return parts
}
