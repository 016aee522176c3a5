package kubefile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Args are what a build gives for the variables of a D09 file.
type Args struct {
	// Build holds the build arguments. Each must be declared by ARG.
	Build map[string]string
	// Arch is the architecture that is built for ("amd64", "arm64"); it is
	// the variable ARCH. Empty leaves ARCH undefined.
	Arch string
}

// Resolve gives a copy of f whose base and copy sources hold no variables any
// more. FROM sees the ARGs before it; COPY, ADD and APP see those after it,
// the ENVs, and ARCH. $NAME, ${NAME}, ${NAME:-default} and ${NAME:+other} are
// understood; a variable without a value is an error rather than empty.
//
// A D05 file has no variables: it comes back as it is, and build arguments for
// it are an error. Errors wrap [ErrKubefile].
func (f *File) Resolve(a Args) (*File, error) {
	if f.Dialect == D05 {
		if len(a.Build) > 0 {
			return nil, fmt.Errorf("%w: %s is in the dialect of sealer 0.5, which has no build arguments", ErrKubefile, f.Name)
		}
		return f, nil
	}
	r := &resolver{report: &report{name: f.Name}, args: a, vars: map[string]string{}, declared: map[string]bool{}}
	out := *f
	out.Instructions = slices.Clone(f.Instructions)
	for i, in := range out.Instructions {
		out.Instructions[i] = r.instruction(in, &out)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Build)) {
		if !r.declared[name] {
			r.bad(f.BaseSource, "declare it with ARG "+name, "the build argument %s is not declared", name)
		}
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return &out, nil
}

type resolver struct {
	*report
	args     Args
	vars     map[string]string
	declared map[string]bool
	global   map[string]string // ARGs before FROM
}

func (r *resolver) instruction(in Instruction, f *File) Instruction {
	switch in := in.(type) {
	case Arg:
		r.declared[in.Name] = true
		if v, ok := r.args.Build[in.Name]; ok {
			r.vars[in.Name] = v
		} else if in.HasDefault {
			r.vars[in.Name] = r.expand(in.Default, in.Pos)
		} else if v, ok := r.global[in.Name]; ok {
			r.vars[in.Name] = v
		}
	case From:
		in.Image = r.expand(in.Image, in.Pos)
		setBase(&File{}, in.Image, in.Platform, in.Pos, r.report)
		f.Base = in.Image
		// Arguments before FROM end here, as Dockerfile has it.
		r.global, r.vars = r.vars, map[string]string{}
		if r.args.Arch != "" {
			r.vars["ARCH"] = r.args.Arch
		}
		return in
	case Env:
		for _, v := range in.Vars {
			r.vars[v.Name] = v.Value
		}
	case Copy:
		in.Src, in.Dst = r.paths(in.Src, in.Dst, in.Pos)
		return in
	case Add:
		in.Src, in.Dst = r.paths(in.Src, in.Dst, in.Pos)
		return in
	case App:
		in.Files = slices.Clone(in.Files)
		for i, file := range in.Files {
			in.Files[i].Path, _ = r.paths(file.Path, ".", in.Pos)
		}
		return in
	}
	return in
}

// paths expands a source and a destination and checks again what only the
// values tell.
func (r *resolver) paths(src, dst string, pos Pos) (string, string) {
	src, dst = r.expand(src, pos), r.expand(dst, pos)
	if leaves(cleanRel(src)) && !isURL(src) {
		r.bad(pos.Source, "", "the source becomes %q, which lies outside the context", src)
	}
	goodDst(dst, pos, r.report)
	return src, dst
}

// expand replaces the variables of s.
func (r *resolver) expand(s string, pos Pos) string {
	out, err := expand(s, r.vars)
	if err != nil {
		r.bad(pos.Source, "", "%v", err)
		return s
	}
	return out
}

// ExpandArch replaces $ARCH and ${ARCH} in s, and nothing else.
func ExpandArch(s, arch string) string {
	s = strings.ReplaceAll(s, "${ARCH}", arch)
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, "$ARCH")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if after != "" && isNameByte(after[0]) {
			b.WriteString("$ARCH")
		} else {
			b.WriteString(arch)
		}
		s = after
	}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// expand replaces the variables of a Dockerfile word.
func expand(s string, vars map[string]string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "$")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		value, n, err := variableAt(rest, vars)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		s = rest[n:]
	}
}

// variableAt reads what follows a dollar sign; n is how many bytes that was.
func variableAt(s string, vars map[string]string) (value string, n int, err error) {
	inner := s
	if strings.HasPrefix(s, "{") {
		end := strings.IndexByte(s, '}')
		if end < 0 {
			return "", 0, fmt.Errorf("%.40q has no closing brace", "$"+s)
		}
		inner, n = s[1:end], end+1
	} else {
		for n < len(s) && isNameByte(s[n]) {
			n++
		}
		inner = s[:n]
	}
	name, op, word := inner, "", ""
	if i := strings.IndexByte(inner, ':'); i >= 0 && i+1 < len(inner) {
		name, op, word = inner[:i], inner[i:i+2], inner[i+2:]
	}
	if !argName.MatchString(name) {
		return "", 0, fmt.Errorf("%.40q is not a variable that can be replaced here", "$"+s)
	}
	v, ok := vars[name]
	switch op {
	case ":-":
		if v == "" {
			v = word
		}
		return v, n, nil
	case ":+":
		if v != "" {
			v = word
		}
		return v, n, nil
	case "":
	default:
		return "", 0, fmt.Errorf("%.40q is not a variable that can be replaced here", "$"+s)
	}
	if !ok {
		return "", 0, fmt.Errorf("the variable %s has no value here; declare it with ARG after FROM, or give it as a build argument", name)
	}
	return v, n, nil
}
