package kubefile

import (
	"fmt"
	"path"
	"strings"
)

// Dialect is one of sealer's languages.
type Dialect int

const (
	// Auto finds the dialect by the instructions used; see [Detect].
	Auto Dialect = iota
	// D05 is the language of sealer 0.5 and 0.6: FROM, COPY, RUN and CMD, one
	// a line; COPY keeps the last component of its source and may leave the
	// context; the commands of the base run first.
	D05
	// D09 is the language of sealer 0.9 and later: Dockerfile's rules, with
	// APP, APPCMDS, LAUNCH, CMDS and others.
	D09
)

// String gives the name that --dialect takes.
func (d Dialect) String() string {
	switch d {
	case Auto:
		return "auto"
	case D05:
		return "0.5"
	case D09:
		return "0.9"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// ParseDialect reads the name of a dialect: "auto" or "", or a version of
// sealer such as "0.5", "v0.6.1" or "0.11". Errors wrap [ErrDialect].
func ParseDialect(s string) (Dialect, error) {
	v := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "v")
	if v == "auto" || v == "" {
		return Auto, nil
	}
	major, rest, _ := strings.Cut(v, ".")
	minor, _, _ := strings.Cut(rest, ".")
	if major == "0" {
		switch minor {
		case "5", "6":
			return D05, nil
		case "9", "10", "11":
			return D09, nil
		case "7", "8":
			return Auto, fmt.Errorf("%w %q: what sealer 0.7 and 0.8 made of COPY, CMD and ARG differs from both 0.5 and 0.9; see docs/kubefile.md for how to port the file", ErrDialect, s)
		}
	}
	return Auto, fmt.Errorf("%w %q: use auto, 0.5 or 0.9", ErrDialect, s)
}

// Detection is what a Kubefile says about its own dialect.
type Detection struct {
	Dialect Dialect
	// Reason is a phrase for a person: "line 3 uses APP".
	Reason string
	// Ambiguous is set where the file could be read in another dialect too
	// and would then mean something else.
	Ambiguous bool
}

// Detect finds the dialect of a Kubefile. The error wraps [ErrKubefile] and
// [ErrDialect] where the file is certainly of sealer 0.7 or 0.8.
func Detect(name string, data []byte) (Detection, error) {
	lines, p := splitLines(name, data)
	if p != nil {
		return Detection{}, p
	}
	return detect(name, lines)
}

// only09 are the instructions that no sealer before 0.9 knew.
var only09 = map[string]bool{
	"ADD": true, "APP": true, "APPCMDS": true, "APPENV": true, "CMDS": true, "CNI": true, "CSI": true,
	"ENV": true, "KUBEVERSION": true, "LABEL": true, "LAUNCH": true, "MAINTAINER": true,
}

// evidence is what the lines of a file say; each is the first line that said
// it, 0 where none did.
type evidence struct {
	new09, newer, parent, plugin, plugins, cmd, copy int
	new09Why, newerWhy                               string
	copies                                           [][2]string // src, dst
	words                                            []string    // of the commands
}

func detect(name string, lines []string) (Detection, error) {
	ev := gather(lines)
	switch {
	case ev.new09 > 0:
		return Detection{D09, fmt.Sprintf("line %d has %s", ev.new09, ev.new09Why), false}, nil
	case ev.newer > 0 && ev.parent > 0:
		return Detection{}, &Problem{
			Source: (&report{name: name}).at(ev.newer),
			Reason: fmt.Sprintf("%s and the COPY from outside the context in line %d together are the dialect of sealer 0.7 or 0.8, which is not read", ev.newerWhy, ev.parent),
			Hint:   "docs/kubefile.md says how to port the file; --dialect reads it as 0.5 or 0.9 all the same",
			class:  ErrDialect,
		}
	case ev.parent > 0:
		return Detection{D05, fmt.Sprintf("line %d copies from outside the context, which sealer 0.9 refuses", ev.parent), false}, nil
	case ev.newer > 0:
		return Detection{D09, fmt.Sprintf("line %d has %s, which came after sealer 0.6 (it could be 0.7 or 0.8, too)", ev.newer, ev.newerWhy), true}, nil
	case ev.plugins > 0 && ev.plugin == 0:
		return Detection{D09, fmt.Sprintf("line %d copies to the folder plugins, whose name in sealer 0.5 was plugin", ev.plugins), ev.cmd > 0}, nil
	}
	v05, v09 := ev.votes()
	switch {
	case ev.plugin > 0 && ev.plugins == 0 && v09 == 0:
		return Detection{D05, fmt.Sprintf("line %d copies to the folder plugin, whose name in sealer 0.9 is plugins", ev.plugin), false}, nil
	case v05 > v09:
		return Detection{D05, "the commands use paths that COPY makes in sealer 0.5", v09 > 0}, nil
	case v09 > v05:
		return Detection{D09, "the commands use paths that COPY makes in sealer 0.9", true}, nil
	case ev.cmd > 0:
		return Detection{D05, fmt.Sprintf("line %d has CMD and nothing in the file is newer than sealer 0.6", ev.cmd), ev.copy > 0}, nil
	case ev.copy > 0:
		return Detection{D09, fmt.Sprintf("nothing in the file tells the dialect, and COPY in line %d depends on it", ev.copy), true}, nil
	}
	return Detection{D09, "nothing in the file depends on the dialect", false}, nil
}

func gather(lines []string) evidence {
	var ev evidence
	first := func(at *int, line int) bool {
		if *at == 0 {
			*at = line
			return true
		}
		return false
	}
	new09 := func(line int, why string) {
		if first(&ev.new09, line) {
			ev.new09Why = why
		}
	}
	newer := func(line int, why string) {
		if first(&ev.newer, line) {
			ev.newerWhy = why
		}
	}
	if _, n := directive(lines, func(int, string, string) {}); n > 0 {
		new09(1, "a parser directive")
	}
	stmts, _ := lex09(lines, nil)
	for _, s := range stmts {
		key := strings.ToUpper(s.keyword)
		known := only09[key] || key == "FROM" || key == "COPY" || key == "RUN" || key == "CMD" || key == "ARG"
		if !known {
			continue
		}
		switch {
		case only09[key]:
			new09(s.line, "the instruction "+key)
		case key == "ARG":
			newer(s.line, "the instruction ARG")
		case s.keyword != key:
			newer(s.line, "an instruction in lower case")
		case s.tab:
			newer(s.line, "a tab after the instruction")
		case s.joined:
			newer(s.line, "a line continuation")
		}
		fl, rest := flags(s.rest)
		if len(fl) > 0 && (key == "FROM" || key == "COPY") {
			new09(s.line, "a flag of "+key)
		}
		switch key {
		case "CMD":
			first(&ev.cmd, s.line)
			ev.words = append(ev.words, pathWords(s.rest)...)
		case "COPY":
			ev.gatherCopy(s, rest, new09)
		}
	}
	return ev
}

func (ev *evidence) gatherCopy(s statement, rest string, new09 func(int, string)) {
	at := func(field *int) {
		if *field == 0 {
			*field = s.line
		}
	}
	at(&ev.copy)
	if strings.HasPrefix(rest, "[") {
		new09(s.line, "a COPY in JSON form")
		return
	}
	if strings.Contains(rest, "$ARCH") || strings.Contains(rest, "${ARCH}") {
		new09(s.line, "the variable ARCH")
	}
	w := strings.Fields(rest)
	if len(w) < 2 {
		return
	}
	if hasParent(w[0]) {
		at(&ev.parent)
	}
	dst := cleanRel(w[1])
	switch dst {
	case "plugin":
		at(&ev.plugin)
	case "plugins":
		at(&ev.plugins)
	}
	ev.copies = append(ev.copies, [2]string{w[0], dst})
}

// votes counts the words of the commands that are paths only in the one or
// the other dialect.
func (ev *evidence) votes() (v05, v09 int) {
	for _, w := range ev.words {
		in05, in09 := false, false
		for _, c := range ev.copies {
			result := path.Join(c[1], baseOf(c[0]))
			glob, _ := path.Match(w, result) // a bad pattern matches nothing
			in05 = in05 || glob || below(w, result)
			in09 = in09 || (c[1] != "." && below(w, c[1]))
		}
		switch {
		case in05:
			v05++
		case in09:
			v09++
		}
	}
	return v05, v09
}

// pathWords gives the words of a shell line that may be paths.
func pathWords(s string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" \t;&|\"'()=<>`", r) }) {
		if strings.Contains(w, "/") && !strings.HasPrefix(w, "/") {
			out = append(out, cleanRel(w))
		}
	}
	return out
}

func below(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }
