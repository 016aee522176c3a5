package cluster

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// maxPlaceholders bounds those of one text.
const maxPlaceholders = 10_000

// place says what a text is for, and so what counts as a placeholder in it.
type place int

const (
	inField   place = iota // a field of a document
	inSecret               // a password
	inScript               // shell text
	inContent              // the content of a file
)

var (
	// placeholder finds what may be one.
	placeholder = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)|#([A-Za-z_][A-Za-z0-9_]*)#`)
	// byHand are the names that published Clusterfiles want a person to
	// replace.
	byHand = regexp.MustCompile(`^(?:(?:MASTER|WORKER|NODE)_IP_?[0-9]+|PASSWD)$`)
	// wholeSecret is a password that is nothing but a placeholder.
	wholeSecret = regexp.MustCompile(`^(?:\$\{?[A-Z][A-Z0-9_]*\}?|#[A-Za-z_][A-Za-z0-9_]*#)$`)
	// shellSafe are values that are one word wherever they stand in a script.
	shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./\x{80}-\x{10ffff}-]*$`)
	// commentOnly is a placeholder that YAML takes for a comment, so that the
	// field is empty.
	commentOnly = regexp.MustCompile(`[:-][ \t]+#([A-Za-z_][A-Za-z0-9_]*)#[ \t]*$`)
)

// found is one placeholder in a text.
type found struct {
	start, end int
	name       string
	hash       bool
}

// find gives the placeholders of a text, whether they have a value or not.
func find(text string, p place) []found {
	if p == inSecret && !wholeSecret.MatchString(text) {
		return nil
	}
	var list []found
	lineEnd, comment := -1, false
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		f := found{start: m[0], end: m[1]}
		for g := 2; g < 8; g += 2 {
			if m[g] >= 0 {
				f.name, f.hash = text[m[g]:m[g+1]], g == 6
			}
		}
		if p == inField || p == inSecret {
			if !f.hash || at(text, f.start-1) != '#' && at(text, f.end) != '#' {
				list = append(list, f)
			}
			continue
		}
		if f.start >= lineEnd {
			lineEnd, comment = lineAt(text, lineEnd, f.start)
		}
		if comment || f.hash && !standsAlone(text, f, p) || !f.hash && escaped(text, f.start) {
			continue
		}
		list = append(list, f)
	}
	return list
}

// lineAt gives the end of the line that a place is on, and whether the line
// begins with #, as comments of shells, YAML and most else do. It looks from
// the end of an earlier line on.
func lineAt(text string, from, place int) (end int, comment bool) {
	from = max(from, 0)
	start := from + strings.LastIndexByte(text[from:place], '\n') + 1
	end = len(text)
	if k := strings.IndexByte(text[place:], '\n'); k >= 0 {
		end = place + k
	}
	return end, strings.HasPrefix(strings.TrimLeft(text[start:end], " \t"), "#")
}

// at gives a byte of the text, and a line break outside it.
func at(text string, i int) byte {
	if i < 0 || i >= len(text) {
		return '\n'
	}
	return text[i]
}

// escaped tells whether an odd number of backslashes stands before a place.
func escaped(text string, i int) bool {
	n := 0
	for at(text, i-1-n) == '\\' {
		n++
	}
	return n%2 == 1
}

// standsAlone tells whether #NAME# is a word or a part of one. Shells take
// " #NAME#" for a comment and sed "s#NAME#…" for an expression.
func standsAlone(text string, f found, p place) bool {
	before, after := at(text, f.start-1), at(text, f.end)
	if !strings.ContainsRune("=\"':,/@ \t\n", rune(before)) || !strings.ContainsRune("\"':,;/&|) \t\n", rune(after)) {
		return false
	}
	if before == after && strings.ContainsRune(":,/", rune(before)) {
		return false // two delimiters
	}
	return p != inScript || before != ' ' && before != '\t' && before != '\n'
}

var (
	assignment = regexp.MustCompile("(?:^|[\\s;&|(){`\"'])([A-Za-z_][A-Za-z0-9_]*)(?:\\+?=|:=)")
	// naming are the commands that give a value to the names behind them.
	naming = regexp.MustCompile(`\b(?:read|for|mapfile|readarray|getopts|printf)\b([^;&|\n]*)`)
)

// assigned gives the names that shell text gives values itself.
func assigned(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range assignment.FindAllStringSubmatch(text, -1) {
		names[m[1]] = true
	}
	for _, m := range naming.FindAllStringSubmatch(text, -1) {
		for w := range strings.FieldsSeq(m[1]) {
			names[w] = true
		}
	}
	return names
}

// binder puts values in and remembers what has none.
type binder struct {
	*report
	set  map[string]string
	used map[string]bool
	left []leftover
	// lenient passes over what has no value.
	lenient bool
}

// leftover is a placeholder without a value.
type leftover struct {
	name, text string
	at         manifest.Source
	place      place
	// path is where in the document it stands.
	path string
}

// bind goes through the texts of a document, given what each is for.
func (b *binder) bind(d *document, what func(path string) place) {
	b.walk(d, d.root, "", what)
}

func (b *binder) walk(d *document, n *yaml.Node, path string, what func(string) place) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			b.walk(d, n.Content[i+1], path+"."+n.Content[i].Value, what)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			b.walk(d, c, path+"[]", what)
		}
	case yaml.ScalarNode:
		b.scalar(d, n, path, what(path))
	}
}

func (b *binder) scalar(d *document, n *yaml.Node, path string, p place) {
	if n.Value == "" && n.Style == 0 && null(n) {
		if m := commentOnly.FindStringSubmatch(d.line(n.Line)); m != nil {
			n.Value, n.Tag, n.Style = "#"+m[1]+"#", "!!str", yaml.DoubleQuotedStyle
		}
	}
	list := find(n.Value, p)
	if len(list) == 0 {
		return
	}
	if len(list) > maxPlaceholders {
		b.bad(d.at(n), "", "the text holds more than %d placeholders", maxPlaceholders)
		return
	}
	var own map[string]bool
	if p == inScript {
		own = assigned(n.Value)
	}
	line := n.Line
	span := strings.Count(n.Value, "\n") + 8
	fill := list[:0]
	for _, f := range list {
		raw := n.Value[f.start:f.end]
		line = lineOf(d, line, span, raw)
		source := manifest.FileLine(d.file, line)
		hand := f.hash || byHand.MatchString(f.name)
		value, ok := b.set[f.name]
		switch {
		case !ok:
			if p == inField || p == inSecret || hand && (f.hash || !own[f.name]) {
				b.left = append(b.left, leftover{f.name, raw, source, p, path})
			}
		case !f.hash && own[f.name]:
		case p == inScript && !shellSafe.MatchString(value):
			b.used[f.name] = true
			b.bad(source, "write it into the file yourself", "the value of --set %s would be more than a word to the shell", f.name)
		default:
			b.used[f.name] = true
			fill = append(fill, f)
		}
	}
	if len(fill) == 0 {
		return
	}
	filled := replace(n.Value, fill, func(name string) string { return b.set[name] })
	if p == inContent && !b.fits(n.Value, filled, fill) {
		b.bad(d.at(n), "put quotes around the placeholder, or write the value into the file yourself",
			"a value of --set would change the structure of the text, not fill it in")
		return
	}
	whole := n.Style == 0 && len(fill) == 1 && fill[0].start == 0 && fill[0].end == len(n.Value)
	n.Value, d.filled = filled, true
	retag(n, whole)
}

// replace puts values in.
func replace(text string, fill []found, value func(name string) string) string {
	var out strings.Builder
	last := 0
	for _, f := range fill {
		out.WriteString(text[last:f.start])
		out.WriteString(value(f.name))
		last = f.end
	}
	out.WriteString(text[last:])
	return out.String()
}

// retag makes a filled-in node a text, or a number where it was nothing but
// an unquoted placeholder.
func retag(n *yaml.Node, whole bool) {
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case whole && plainNumber.MatchString(n.Value):
		n.Tag = "!!int"
	case whole && (n.Value == "true" || n.Value == "false"):
		n.Tag = "!!bool"
	default:
		n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	}
}

var plainNumber = regexp.MustCompile(`^(?:0|[1-9][0-9]{0,17})$`)

// lineOf gives the first of some lines that holds the text, or the first one.
func lineOf(d *document, from, span int, text string) int {
	for i := from; i < from+span; i++ {
		if strings.Contains(d.line(i), text) {
			return i
		}
	}
	return from
}

// mark stands for a value where nothing but its place matters.
func mark(name string) string { return "placeholder-" + name + "-" }

// fits tells whether a filled-in text that is YAML differs from the old one
// only inside its scalars, and there by the values alone. A text that is no
// YAML has no structure to break.
func (b *binder) fits(old, filled string, fill []found) bool {
	swap := make([]string, 0, 2*len(fill))
	seen := map[string]bool{}
	for _, f := range fill {
		if !seen[f.name] {
			seen[f.name] = true
			swap = append(swap, mark(f.name), b.set[f.name])
		}
	}
	values := strings.NewReplacer(swap...)
	want := yaml.NewDecoder(strings.NewReader(replace(old, fill, mark)))
	got := yaml.NewDecoder(strings.NewReader(filled))
	for {
		var w, g yaml.Node
		errW, errG := want.Decode(&w), got.Decode(&g)
		switch {
		case errors.Is(errW, io.EOF):
			return errors.Is(errG, io.EOF)
		case errW != nil:
			return true
		case errG != nil || !alike(&w, &g, values):
			return false
		}
	}
}

func alike(want, got *yaml.Node, values *strings.Replacer) bool {
	if want.Kind != got.Kind || want.Anchor != got.Anchor || values.Replace(want.Value) != got.Value {
		return false
	}
	return slices.EqualFunc(want.Content, got.Content, func(w, g *yaml.Node) bool { return alike(w, g, values) })
}

// refuse reports what is left, each name once. env are the variables that the
// installer exports; password tells that spec.ssh.passwd does not matter.
func (b *binder) refuse(env map[string]bool, password bool) {
	if b.lenient {
		return
	}
	lines := map[manifest.Source]bool{}
	first := map[string]bool{}
	var list []leftover
	for _, l := range b.left {
		if l.place == inScript && env[l.name] && l.text[0] == '$' || password && l.path == ".spec.ssh.passwd" {
			continue
		}
		lines[l.at] = true
		if !first[l.text] {
			first[l.text] = true
			list = append(list, l)
		}
	}
	// What else is wrong with such a line is not worth a word.
	b.problems = slices.DeleteFunc(b.problems, func(err error) bool {
		p, ok := errors.AsType[*Problem](err)
		return ok && lines[p.Source]
	})
	for _, l := range list {
		fix := "say --set " + l.name + "=VALUE"
		if l.path == ".spec.ssh.passwd" {
			fix += ", or give the password on the command line"
		}
		b.bad(l.at, fix, "%s is not filled in", l.text)
	}
}
