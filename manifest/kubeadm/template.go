package kubeadm

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
)

// Names of the templates that sealer before 0.7 takes from an image.
const (
	tmplBootstrap = "etc/kubeadm-bootstrap.yaml.tmpl"
	tmplInit      = "etc/kubeadm-init.yaml.tmpl"
	tmplCluster   = "etc/kubeadm-cluster-config.yaml.tmpl"
	tmplProxy     = "etc/kubeadm-kubeproxy-config.yaml.tmpl"
	tmplKubelet   = "etc/kubeadm-kubelet-config.yaml.tmpl"
	tmplJoin      = "etc/kubeadm-join-config.yaml.tmpl"
)

// templateKinds says what each template becomes. The bootstrap template is
// the first half of the join document.
var templateKinds = []struct{ name, kind string }{
	{tmplInit, kindInit},
	{tmplCluster, kindCluster},
	{tmplKubelet, kindKubelet},
	{tmplProxy, kindProxy},
	{tmplBootstrap, kindJoin},
	{tmplJoin, kindJoin},
}

// renderTemplate runs one template of the image over data and gives its text
// as sealer's kubeadm got to see it.
//
// sealer renders these with html/template, whose escaping of "+" and quotes
// in values is of no use in YAML and is not repeated here. A value that the
// data does not have is an error: sealer's text would not be what the author
// meant either.
func renderTemplate(name string, text []byte, data map[string]any) (string, error) {
	if len(text) > maxText {
		return "", fmt.Errorf("%s %w: it has %d bytes, at most %d are read", name, ErrInput, len(text), maxText)
	}
	t, err := template.New(name).Option("missingkey=error").Funcs(boundedFuncs).Parse(string(text))
	if err != nil {
		return "", fmt.Errorf("%s %w: %s", name, ErrInput, reason(err))
	}
	var out bounded
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("%s %w: %s", name, ErrInput, reason(err))
	}
	return out.String(), nil
}

var errTooLong = errors.New("its text grows too long")

// bounded is a text that does not grow without end.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxText {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

// boundedFuncs replace the functions of templates that can make a long text
// of a short one.
var boundedFuncs = template.FuncMap{
	"printf": func(format string, args ...any) (string, error) {
		if strings.Count(format, "%") > 16 || len(format) > 4096 {
			return "", errTooLong
		}
		return short(fmt.Sprintf(format, args...))
	},
	"print":    func(args ...any) (string, error) { return joined(fmt.Sprint, args) },
	"println":  func(args ...any) (string, error) { return joined(fmt.Sprintln, args) },
	"html":     func(args ...any) (string, error) { return joined(template.HTMLEscaper, args) },
	"js":       func(args ...any) (string, error) { return joined(template.JSEscaper, args) },
	"urlquery": func(args ...any) (string, error) { return joined(template.URLQueryEscaper, args) },
}

func joined(f func(...any) string, args []any) (string, error) {
	if len(args) > 16 {
		return "", errTooLong
	}
	return short(f(args...))
}

// maxValue bounds what a function of a template gives.
const maxValue = 64 << 10

func short(s string) (string, error) {
	if len(s) > maxValue {
		return "", errTooLong
	}
	return s, nil
}

// throughEcho gives what the shell makes of text in
//
//	echo "TEXT" > kubeadm-config.yaml
//
// which is how sealer wrote it: quotes disappear, and what they held becomes
// part of the line, so that '"10"' arrives as '10'. expands tells that the
// text holds something that the shell would have replaced by a value; it is
// left as it is.
func throughEcho(text string) (out string, expands bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"':
		case '\\':
			if i+1 < len(text) && strings.IndexByte("\\\"$`\n", text[i+1]) >= 0 {
				i++
				if text[i] != '\n' {
					b.WriteByte(text[i])
				}
				continue
			}
			b.WriteByte(c)
		case '$', '`':
			expands = true
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), expands
}

// parseTemplate renders one template and reads the document in it.
func parseTemplate(name string, text []byte, data map[string]any, warn func(string)) (doc, error) {
	rendered, err := renderTemplate(name, text, data)
	if err != nil {
		return nil, err
	}
	plain, expands := throughEcho(rendered)
	if expands {
		warn(name + " has $ or ` in it, which sealer's shell would have replaced; it is left as it is")
	}
	d, err := parseDocument(name, trimMarker(plain))
	if err != nil {
		// A value such as "*" is YAML only with its quotes.
		quoted, err2 := parseDocument(name, trimMarker(rendered))
		if err2 != nil {
			return nil, err
		}
		warn(name + " is YAML only with its quotes, which sealer's shell would have removed; they are kept")
		d = quoted
	}
	textArgs(d)
	return d, nil
}

// trimMarker drops the "---" that may stand around a single document.
func trimMarker(text string) []byte {
	text = strings.TrimSpace(strings.TrimPrefix(text, "\ufeff"))
	text = strings.TrimPrefix(text, "---")
	return []byte(strings.TrimSuffix(strings.TrimSpace(text), "\n---"))
}
