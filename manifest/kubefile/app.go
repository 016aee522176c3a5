package kubefile

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// AppDir is the folder of an application in the root file system.
func AppDir(app string) string { return "application/apps/" + app }

// appName is what sealer's tools accept in paths and labels.
var appName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// app reads APP, CNI and CSI.
func (p *parser09) app(s statement, pos Pos) {
	key := strings.ToUpper(s.keyword)
	items, _, err := list(s.rest)
	if err != nil {
		p.bad(pos.Source, "", "%s: %v", key, err)
		return
	}
	if len(items) < 2 {
		p.bad(pos.Source, "write "+key+" name local://path", "%s needs a name and at least one file", key)
		return
	}
	a := App{Pos: pos, Role: Role(strings.ToLower(key)), Name: items[0]}
	if !p.goodAppName(key, a.Name, pos) {
		return
	}
	if p.apps[a.Name] {
		p.bad(pos.Source, "name all its files in one line, or choose another name", "the application %q is declared twice", a.Name)
		return
	}
	for _, item := range items[1:] {
		scheme, rest, ok := strings.Cut(item, "://")
		switch {
		case ok && (scheme == "http" || scheme == "https"):
			a.Files = append(a.Files, AppFile{Scheme: scheme, Path: item})
		case !ok || scheme != "local":
			p.bad(pos.Source, "write local://path, http://… or https://…", "%s has the file %.80q without a known scheme", key, item)
			return
		case rest == "" || leaves(cleanRel(rest)):
			p.bad(pos.Source, "move the files into the context", "%s has the file %.80q outside the context", key, item)
			return
		default:
			a.Files = append(a.Files, AppFile{Scheme: scheme, Path: cleanRel(rest)})
		}
	}
	p.apps[a.Name] = true
	p.push(a)
}

func (p *parser09) goodAppName(key, name string, pos Pos) bool {
	if appName.MatchString(name) {
		return true
	}
	p.bad(pos.Source, "use letters, digits, dots and dashes", "%s has the name %.40q, which cannot be a folder", key, name)
	return false
}

// declared warns about an application that only the base can bring.
func (p *parser09) declared(key, name string, pos Pos) bool {
	if !p.goodAppName(key, name, pos) {
		return false
	}
	if !p.apps[name] {
		p.bad(pos.Source, "declare it with APP, CNI or CSI before", "%s names the application %q, which is not declared", key, name)
		return false
	}
	return true
}

func (p *parser09) appCmds(s statement, pos Pos) {
	name, rest, _ := cutWord(s.rest)
	if !p.declared("APPCMDS", name, pos) {
		return
	}
	items, isJSON, err := list(rest)
	switch {
	case err != nil:
		p.bad(pos.Source, "", "APPCMDS: %v", err)
		return
	case !isJSON || len(items) == 0:
		p.bad(pos.Source, `write APPCMDS `+name+` ["shell line"]`, "APPCMDS needs a JSON list")
		return
	case len(items) > 1:
		p.warn(pos.Source, "sealer joins the %s of APPCMDS by blanks into one line: %.120q; write && between them where they are several commands", plural(len(items), "element"), strings.Join(items, " "))
	}
	in := AppCmds{Pos: pos, App: name, Elements: items, Command: strings.TrimSpace(strings.Join(items, " "))}
	if goodCommand(in.Command, "APPCMDS", pos, p.report) {
		p.push(in)
	}
}

func (p *parser09) appEnv(s statement, pos Pos) {
	name, rest, _ := cutWord(s.rest)
	if !p.declared("APPENV", name, pos) {
		return
	}
	if rest == "" {
		p.bad(pos.Source, "write APPENV "+name+" NAME=value", "APPENV sets nothing")
		return
	}
	if v, ok := p.assignments("APPENV", rest, pos); ok {
		p.push(AppEnv{pos, name, v})
	}
}

// cutWord splits s at its first run of blanks.
func cutWord(s string) (word, rest string, found bool) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:]), true
	}
	return s, "", false
}

// AppKind is what sealer takes an application for, by its files.
type AppKind string

// Kinds of an application.
const (
	KindHelm    AppKind = "helm"
	KindKube    AppKind = "kube"
	KindShell   AppKind = "shell"
	KindUnknown AppKind = ""
)

// KindOf tells what sealer 0.9 takes an application for. files are the paths
// of its regular files below [AppDir], with slashes.
func KindOf(files []string) AppKind {
	var chart, values, templates bool
	yaml, shell := len(files) > 0, len(files) > 0
	for _, f := range files {
		f = path.Clean(f)
		switch {
		case f == "Chart.yaml":
			chart = true
		case f == "values.yaml":
			values = true
		case strings.HasPrefix(f, "templates/"):
			templates = true
		}
		ext := path.Ext(f)
		yaml = yaml && (ext == ".yaml" || ext == ".yml")
		shell = shell && ext == ".sh"
	}
	switch {
	case chart && values && templates:
		return KindHelm
	case shell:
		return KindShell
	case yaml:
		return KindKube
	}
	return KindUnknown
}

// LaunchLine gives the shell line that launches an application which has no
// APPCMDS, run in the root file system. files are as for [KindOf]. An
// application that is neither chart, manifests nor scripts gives an error
// that wraps [ErrKubefile].
func LaunchLine(app string, files []string) (string, error) {
	dir := AppDir(app)
	var lines []string
	each := func(command string) error {
		sorted := slices.Clone(files)
		slices.Sort(sorted)
		for _, f := range sorted {
			q, err := syntax.Quote(path.Join(dir, f), syntax.LangBash)
			if err != nil {
				return fmt.Errorf("%w: the application %s has the file name %q, which no shell line can hold: %w", ErrKubefile, app, f, err)
			}
			lines = append(lines, command+" "+q)
		}
		return nil
	}
	var err error
	switch KindOf(files) {
	case KindHelm:
		return "helm install " + app + " " + dir, nil
	case KindKube:
		err = each("kubectl apply -f")
	case KindShell:
		err = each("bash")
	default:
		err = fmt.Errorf("%w: the application %s is neither a chart nor only manifests nor only scripts; say how to launch it with APPCMDS", ErrKubefile, app)
	}
	return strings.Join(lines, " && "), err
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
