package step

import (
	"strings"
	"time"
)

// flagType says what a flag takes.
type flagType int

const (
	flagBool flagType = iota
	flagString
)

// flagSet names the flags of a command that are understood, long and short.
type flagSet map[string]flagType

// parsed are the flags and the other words of a command.
type parsed struct {
	flags map[string][]string
	rest  []arg
}

// parseFlags reads words the way helm and kubectl do. It fails at the first
// flag that set does not name, and at every word with a wildcard but those in
// a flag that globs names.
func parseFlags(args []arg, set flagSet, globs map[string]bool) (parsed, bool) {
	p := parsed{flags: map[string][]string{}}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a.host || !strings.HasPrefix(a.text, "-") || a.text == "-" {
			p.rest = append(p.rest, a)
			continue
		}
		name, value, hasValue := "", "", false
		switch {
		case a.text == "--":
			return p, false
		case strings.HasPrefix(a.text, "--"):
			name, value, hasValue = strings.Cut(a.text[2:], "=")
		default:
			name = a.text[1:2]
			if len(a.text) > 2 {
				value, hasValue = strings.TrimPrefix(a.text[2:], "="), true
			}
		}
		typ, ok := set[name]
		if !ok {
			return p, false
		}
		word := a
		if typ == flagBool {
			switch {
			case !hasValue:
				value = "true"
			case !strings.HasPrefix(a.text, "--"), value != "true" && value != "false":
				return p, false
			}
		} else if !hasValue {
			i++
			if i == len(args) || args[i].host {
				return p, false
			}
			word = args[i]
			value = word.text
		}
		if word.glob && !globs[name] && !word.index {
			return p, false
		}
		p.flags[name] = append(p.flags[name], value)
	}
	return p, true
}

// all gives every value of a flag under any of its names.
func (p parsed) all(names ...string) []string {
	var out []string
	for _, n := range names {
		out = append(out, p.flags[n]...)
	}
	return out
}

// last gives the value of a flag that may be given once. Given twice with two
// values it is not understood.
func (p parsed) last(names ...string) (string, bool) {
	v := p.all(names...)
	for _, x := range v {
		if x != v[0] {
			return "", false
		}
	}
	if len(v) == 0 {
		return "", true
	}
	return v[0], true
}

// on tells whether a switch is on.
func (p parsed) on(names ...string) bool {
	v := p.all(names...)
	return len(v) > 0 && v[len(v)-1] == "true"
}

// has tells whether a flag was given.
func (p parsed) has(names ...string) bool { return len(p.all(names...)) > 0 }

// words gives the other words, if all are plain text.
func (p parsed) words() ([]string, bool) {
	var out []string
	for _, a := range p.rest {
		if a.special() || a.text == "" {
			return nil, false
		}
		out = append(out, a.text)
	}
	return out, true
}

// timeout gives --timeout in seconds, 0 where it is not given.
func (p parsed) timeout() (int, bool) {
	v, ok := p.last("timeout")
	if !ok || v == "" {
		return 0, ok
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		return 0, false
	}
	return seconds(d)
}
