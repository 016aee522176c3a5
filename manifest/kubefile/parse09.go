package kubefile

import (
	"regexp"
	"strings"

	"bundle/manifest"
)

// parser09 reads the dialect of sealer 0.9 and later.
type parser09 struct {
	*report
	f      *File
	escape byte
	apps   map[string]bool
	args   map[string]bool
	// last is the LAUNCH or CMDS that must be the last instruction.
	last     string
	lastPos  manifest.Source
	raw      bool // a CMD was seen
	fromSeen bool
}

func parse09(f *File, lines []string, rep *report) {
	stmts, escape := lex09(lines, func(line int, reason, hint string) {
		rep.bad(rep.at(line), hint, "%s", reason)
	})
	if len(stmts) == 0 {
		rep.bad(manifest.Source(f.Name), "begin with FROM", "the file has no instruction")
		return
	}
	p := &parser09{report: rep, f: f, escape: escape, apps: map[string]bool{}, args: map[string]bool{}}
	for _, s := range stmts {
		p.statement(s)
	}
	if !p.fromSeen {
		rep.bad(manifest.Source(f.Name), "begin with FROM and a base, or FROM scratch", "the file has no FROM")
	}
	p.checkCommands()
}

func (p *parser09) statement(s statement) {
	key := strings.ToUpper(s.keyword)
	pos := Pos{Source: p.at(s.line), Raw: s.raw}
	parse, ok := map[string]func(statement, Pos){
		"FROM": p.from, "COPY": p.copy, "ADD": p.add, "RUN": p.run, "CMD": p.cmd, "CMDS": p.cmds,
		"ENV": p.env, "ARG": p.arg, "LABEL": p.label, "MAINTAINER": p.maintainer,
		"APP": p.app, "CNI": p.app, "CSI": p.app, "APPCMDS": p.appCmds, "APPENV": p.appEnv,
		"LAUNCH": p.launch, "KUBEVERSION": p.kubeVersion,
	}[key]
	switch {
	case !ok:
		p.bad(pos.Source, "", "%.40q is not an instruction of a Kubefile", s.keyword)
		return
	case s.rest == "":
		p.bad(pos.Source, "", "%s has no value", key)
		return
	case !p.fromSeen && key != "FROM" && key != "ARG":
		p.bad(pos.Source, "write FROM and a base, or FROM scratch, before it", "the first instruction is %s, not FROM", key)
		p.fromSeen = true // said once
	case p.last != "":
		p.bad(pos.Source, "move "+p.last+" to the end", "%s follows %s in %s, which must be the last instruction", key, p.last, p.lastPos)
		p.last = "" // said once
	}
	parse(s, pos)
}

func (p *parser09) push(in Instruction) { p.f.Instructions = append(p.f.Instructions, in) }

func (p *parser09) from(s statement, pos Pos) {
	if p.f.Base != "" {
		p.bad(pos.Source, "a cluster image has one base", "FROM is used twice")
		return
	}
	p.fromSeen = true
	fl, rest := flags(s.rest)
	platform := ""
	for _, v := range fl {
		if v.Name != "platform" {
			p.bad(pos.Source, "", "FROM has no flag --%s", v.Name)
			return
		}
		platform = v.Value
	}
	w := strings.Fields(rest)
	if len(w) != 1 {
		hint := "stages (AS) are not part of a Kubefile"
		if len(w) > 1 && strings.HasPrefix(w[1], "#") {
			hint = "put the comment on a line of its own"
		}
		p.bad(pos.Source, hint, "FROM takes one name")
		return
	}
	setBase(p.f, w[0], platform, pos, p.report)
}

func (p *parser09) copy(s statement, pos Pos) {
	if src, dst, ok := p.srcDst("COPY", s, pos); ok {
		p.push(Copy{pos, src, dst})
	}
}

func (p *parser09) add(s statement, pos Pos) {
	if src, dst, ok := p.srcDst("ADD", s, pos); ok {
		p.push(Add{pos, src, dst})
	}
}

// srcDst reads what COPY and ADD have in common.
func (p *parser09) srcDst(key string, s statement, pos Pos) (src, dst string, ok bool) {
	fl, rest := flags(s.rest)
	for _, v := range fl {
		switch v.Name {
		case "chown", "chmod":
			p.warn(pos.Source, "--%s is ignored, as sealer does", v.Name)
		case "from":
			p.bad(pos.Source, "copy from the context", "%s --from takes files of another image, which a Kubefile has not", key)
			return "", "", false
		default:
			p.bad(pos.Source, "", "%s has no flag --%s", key, v.Name)
			return "", "", false
		}
	}
	items, isJSON, err := list(rest)
	switch {
	case err != nil:
		p.bad(pos.Source, "", "%s: %v", key, err)
		return "", "", false
	case strings.HasPrefix(rest, "<<"):
		p.bad(pos.Source, "put the text into a file", "a Kubefile has no here-documents")
		return "", "", false
	case !isJSON && strings.ContainsAny(rest, `"'`):
		p.bad(pos.Source, `write the JSON form: `+key+` ["source", "destination"]`, "quotes do not hold the words of %s together", key)
		return "", "", false
	case len(items) < 2:
		p.bad(pos.Source, "write "+key+" source destination", "%s has no destination", key)
		return "", "", false
	case len(items) > 2:
		p.bad(pos.Source, "write one "+key+" for each source", "sealer takes the first two words only and would silently ignore %q", items[2])
		return "", "", false
	}
	src, dst = items[0], items[1]
	if src == "" || dst == "" {
		p.bad(pos.Source, "", "%s has an empty name", key)
		return "", "", false
	}
	if leaves(cleanRel(src)) && !isURL(src) {
		p.bad(pos.Source, "move the files into the context, or use --dialect 0.5 if the file is for sealer 0.5", "the source %q lies outside the context, which sealer 0.9 refuses", src)
		return "", "", false
	}
	return src, dst, goodDst(dst, pos, p.report)
}

func (p *parser09) run(s statement, pos Pos) { p.push(Run{pos, s.rest}) }

func (p *parser09) cmd(s statement, pos Pos) {
	in, ok := cmd(s, pos, p.report)
	if !ok {
		return
	}
	if !p.raw {
		p.warn(pos.Source, "CMD is deprecated since sealer 0.9: use CMDS [\"…\"]")
	}
	p.raw = true
	if strings.Contains(s.rest, "CMD ") {
		p.warn(pos.Source, "sealer 0.9 drops everything from the second \"CMD \" in the line on; here the line is kept whole")
	}
	p.push(in)
}

func (p *parser09) cmds(s statement, pos Pos) {
	items, isJSON, err := list(s.rest)
	switch {
	case err != nil:
		p.bad(pos.Source, "", "CMDS: %v", err)
		return
	case !isJSON && len(items) > 1:
		p.bad(pos.Source, `write CMDS ["`+"first line"+`", "second line"]`, "without brackets sealer makes every word a command of its own")
		return
	case len(items) == 0:
		p.bad(pos.Source, "", "CMDS has an empty list")
		return
	}
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
		if !goodCommand(items[i], "CMDS", pos, p.report) {
			return
		}
	}
	p.last, p.lastPos = "CMDS", pos.Source
	p.push(Cmds{pos, items})
}

func (p *parser09) launch(s statement, pos Pos) {
	apps, _, err := list(s.rest)
	if err != nil || len(apps) == 0 {
		p.bad(pos.Source, `write LAUNCH app … or LAUNCH ["app", …]`, "LAUNCH names no application")
		return
	}
	for _, a := range apps {
		switch {
		case p.apps[a]:
		case p.f.Base == Scratch:
			p.bad(pos.Source, "declare it with APP, CNI or CSI before", "LAUNCH names the application %q, which is not declared", a)
		default:
			p.warn(pos.Source, "the application %q is not declared here and must come with %s", a, p.f.Base)
		}
	}
	p.last, p.lastPos = "LAUNCH", pos.Source
	p.push(Launch{pos, apps})
}

// assignments reads NAME=value words of ENV, APPENV and LABEL.
func (p *parser09) assignments(key, s string, pos Pos) ([]Var, bool) {
	w, quoted, err := words(s, p.escape)
	if err != nil {
		p.bad(pos.Source, "", "%s: %v", key, err)
		return nil, false
	}
	var out []Var
	for _, word := range w {
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			p.bad(pos.Source, "write "+key+" NAME=value", "%s has the word %.40q without a name and =, which sealer silently ignores", key, word)
			return nil, false
		}
		if key != "LABEL" && !envName.MatchString(name) {
			p.bad(pos.Source, "a name has letters, digits and _", "%s sets %.40q, which no shell can read", key, name)
			return nil, false
		}
		out = append(out, Var{name, value})
	}
	if quoted && key != "LABEL" {
		p.warn(pos.Source, "the quotes of %s are taken away, as Dockerfile does; sealer 0.9 keeps them in the value and splits it at blanks", key)
	}
	return out, true
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func (p *parser09) env(s statement, pos Pos) {
	if v, ok := p.assignments("ENV", s.rest, pos); ok {
		p.push(Env{pos, v})
	}
}

func (p *parser09) label(s statement, pos Pos) {
	if v, ok := p.assignments("LABEL", s.rest, pos); ok {
		p.push(Label{pos, v})
	}
}

// argComma finds a second assignment behind a comma.
var argComma = regexp.MustCompile(`,\s*[A-Za-z0-9]+=`)

func (p *parser09) arg(s statement, pos Pos) {
	if argComma.MatchString(s.rest) && !strings.ContainsAny(s.rest, `"'`) {
		p.bad(pos.Source, `write one ARG for each, or quote the value: ARG a="b,c=d"`, "sealer 0.7 and 0.8 read this as several arguments, 0.9 as one")
		return
	}
	w, _, err := words(s.rest, p.escape)
	if err != nil {
		p.bad(pos.Source, "", "ARG: %v", err)
		return
	}
	for _, word := range w {
		name, value, has := strings.Cut(word, "=")
		if !argName.MatchString(name) {
			p.bad(pos.Source, "", "ARG has the name %.40q; a name has letters, digits and _", name)
			return
		}
		p.args[name] = true
		p.push(Arg{pos, name, value, has})
	}
}

var argName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (p *parser09) maintainer(s statement, pos Pos) { p.push(Maintainer{pos, s.rest}) }

func (p *parser09) kubeVersion(s statement, pos Pos) {
	p.push(KubeVersion{pos, strings.Trim(s.rest, `"'`)})
}

// checkCommands looks at what only the whole file tells: commands that use
// build arguments, and commands beside LAUNCH.
func (p *parser09) checkCommands() {
	launch := ""
	var launchAt manifest.Source
	for _, in := range p.f.Instructions {
		switch in := in.(type) {
		case Launch:
			launch, launchAt = "LAUNCH", in.Source
		case Cmds:
			launch, launchAt = "CMDS", in.Source
			p.checkArgs("CMDS", in.Commands, in.Pos)
		case Cmd:
			p.checkArgs("CMD", in.Commands, in.Pos)
		case AppCmds:
			p.checkArgs("APPCMDS", []string{in.Command}, in.Pos)
		}
	}
	if p.raw && launch == "LAUNCH" {
		p.bad(launchAt, "use one of them", "a Kubefile has CMD or LAUNCH, not both")
	}
}

// checkArgs refuses commands that name a build argument: 0.7 and 0.8 put its
// value in, 0.9 leaves it to the shell, which has none.
func (p *parser09) checkArgs(key string, commands []string, pos Pos) {
	for _, c := range commands {
		for _, m := range variable.FindAllStringSubmatch(c, -1) {
			if name := m[1] + m[2]; p.args[name] {
				p.bad(pos.Source, "write the value, or set it where the line runs", "%s uses the build argument %s: sealer 0.7 and 0.8 put its value in, 0.9 leaves it empty", key, name)
				break
			}
		}
	}
}

var variable = regexp.MustCompile(`\$(?:\{([A-Za-z_][A-Za-z0-9_]*)|([A-Za-z_][A-Za-z0-9_]*))`)
