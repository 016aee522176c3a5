package rootfs

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"bundle/manifest"
)

const (
	suffix  = ".tmpl"
	noValue = "<no value>"
)

// folders are those that templates are looked for in.
var folders = []string{"etc", "charts", "manifests"}

// templates renders everything that ends in .tmpl.
func (a *applier) templates(env map[string]string, app func(string) map[string]string) error {
	for _, dir := range folders {
		if err := a.renderDir(dir, env); err != nil {
			return err
		}
	}
	apps := a.tree.dir("application/apps")
	if app == nil || apps == nil {
		return nil
	}
	for _, name := range sortedNames(apps) {
		if err := a.renderDir(apps.children[name].Path, app(name)); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) renderDir(dir string, env map[string]string) error {
	root := a.tree.dir(dir)
	if root == nil {
		return nil
	}
	// What is rendered is no template again, even if it is called like one.
	var list []*node
	root.walk(func(n *node) {
		base := path.Base(n.Path)
		if strings.HasSuffix(base, suffix) && base != suffix && !isKubeadm(n.Path) {
			list = append(list, n)
		}
	})
	for _, n := range list {
		if err := a.render(n, env); err != nil {
			return err
		}
	}
	return nil
}

// isKubeadm tells whether a template is one of sealer 0.5 for kubeadm.
func isKubeadm(p string) bool {
	ok, _ := path.Match("etc/kubeadm-*.yaml"+suffix, p)
	return ok
}

func (a *applier) render(n *node, env map[string]string) error {
	at := manifest.Source(n.Path)
	from, file, err := a.tree.place(n.Path)
	if err != nil || file == nil || file.Type != typeFile {
		return nil // a link that leads nowhere, or to a folder
	}
	if file.Size > maxTemplateBytes {
		a.bad(at, "the template is larger than %d KiB", maxTemplateBytes>>10)
		return nil
	}
	to, old, err := a.tree.place(strings.TrimSuffix(n.Path, suffix))
	if err != nil || old != nil && old.Type != typeFile {
		a.bad(at, "what the template makes has no place: %s is no file", strings.TrimSuffix(n.Path, suffix))
		return nil
	}
	text, err := a.read(from, file)
	if err != nil {
		return err
	}
	if len(text) > maxTemplateBytes {
		a.bad(at, "the template is larger than %d KiB", maxTemplateBytes>>10)
		return nil
	}
	r, err := renderText(n.Path, string(text), env)
	if err != nil {
		a.problems = append(a.problems, err)
		return nil
	}
	a.warnings = append(a.warnings, r.warnings...)
	why := []manifest.Source{at}
	if f := a.changed[from]; f != nil {
		why = append(f.Why[:len(f.Why):len(f.Why)], at)
	}
	a.put(to, old, r.data, fileMode(file), why...)
	return nil
}

// b64dec gives the error's text instead of an error, as sealer does.
func b64dec(s string) string {
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// where finds file and line in an error of package template.
var where = regexp.MustCompile(`(?s)^template: (.*?):([0-9]+)(?::[0-9]+)?: (.*)$`)

// renderText fills in one template.
func renderText(name, text string, env map[string]string) (rendered, error) {
	g := &guard{}
	t, err := template.New(name).Funcs(g.funcs()).Parse(text)
	if err != nil {
		return rendered{}, templateError(name, err)
	}
	if err := g.watch(t); err != nil {
		return rendered{}, &Problem{manifest.FileLine(name, 1), err.Error()}
	}
	var out limited
	if err := t.Execute(&out, env); err != nil {
		return rendered{}, templateError(name, err)
	}
	r := rendered{data: out.buf.Bytes()}
	if n := bytes.Count(r.data, []byte(noValue)); n > strings.Count(text, noValue) {
		r.missing(name, t, env)
	}
	return r, nil
}

func templateError(name string, err error) error {
	p := &Problem{Source: manifest.FileLine(name, 1), Reason: err.Error()}
	if m := where.FindStringSubmatch(err.Error()); m != nil && m[1] == name {
		line, _ := strconv.Atoi(m[2])
		p.Source, p.Reason = manifest.FileLine(name, line), m[3]
	}
	switch {
	case errors.Is(err, errEndless):
		p.Reason = errEndless.Error()
	case errors.Is(err, errHuge):
		p.Reason = errHuge.Error()
	default:
		if _, reason, ok := strings.Cut(p.Reason, ">: "); ok && strings.HasPrefix(p.Reason, "executing ") {
			p.Reason = reason
		}
		p.Reason = fmt.Sprintf("the template cannot be rendered: %s", strings.Join(strings.Fields(p.Reason), " "))
	}
	return p
}

// limited keeps what a template prints, up to a bound.
type limited struct{ buf bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.buf.Len()+len(p) > maxOutputBytes {
		return 0, errHuge
	}
	return l.buf.Write(p)
}
