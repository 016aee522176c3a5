package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"strings"
	"time"
)

//go:embed frame.html
var frame string

//go:embed style.css
var style string

// MaxSize bounds a page, so that it can be sent by mail.
const MaxSize = 480 << 10

// Options say what a page needs besides its words.
type Options struct {
	// Script runs in the page; without it the page has to say the same.
	Script string
	// Forms may be sent to the server that gave the page.
	Forms bool
	// Funcs are more functions for the template.
	Funcs template.FuncMap
}

// Template is a page in every language.
type Template struct {
	byLang map[Lang]*template.Template
	source string
	zh     map[string]string
	policy string
}

// New reads a template that defines "title" and "main", and may define
// "script". zh has the Chinese for each {{t "English"}} in it. It panics on a
// template that cannot be parsed, for it is part of the program.
func New(source string, zh map[string]string, o Options) *Template {
	t := &Template{byLang: map[Lang]*template.Template{}, source: source, zh: zh, policy: policy(o)}
	for _, lang := range Langs {
		funcs := template.FuncMap{
			"t":    func(s string) string { return t.Word(lang, s) },
			"lang": lang.Tag,
			"css":  func() template.CSS { return template.CSS(style) },
			"js":   func() template.JS { return template.JS(o.Script) },
			"csp":  func() string { return t.policy },
			"size": Size, "dash": dash, "time": clock, "took": Took, "short": Short,
			"join": func(list []string) string { return strings.Join(list, ", ") },
			"inc":  func(n int) int { return n + 1 },
		}
		p := template.New("frame").Funcs(funcs).Funcs(o.Funcs)
		template.Must(p.Parse(frame))
		t.byLang[lang] = template.Must(p.Parse(source))
	}
	return t
}

// Policy is the page's content security policy. A server sends it as a header
// too.
func (t *Template) Policy() string { return t.policy }

func policy(o Options) string {
	p := "default-src 'none'; base-uri 'none'; img-src data:; style-src " + source(style)
	if o.Script != "" {
		p += "; script-src " + source(o.Script)
	}
	if o.Forms {
		return p + "; form-action 'self'"
	}
	return p + "; form-action 'none'"
}

func source(content string) string {
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Word gives s in a language; what has no translation stays English.
func (t *Template) Word(lang Lang, s string) string {
	if lang == Chinese {
		for _, words := range []map[string]string{t.zh, common} {
			if zh, ok := words[s]; ok {
				return zh
			}
		}
	}
	return s
}

var wordCall = regexp.MustCompile(`\bt "([^"]+)"`)

// Untranslated lists the words of the template that have no Chinese, for its
// test.
func (t *Template) Untranslated() []string {
	var missing []string
	for _, m := range wordCall.FindAllStringSubmatch(frame+t.source, -1) {
		if t.Word(Chinese, m[1]) == m[1] {
			missing = append(missing, m[1])
		}
	}
	return missing
}

// Write makes the page.
func (t *Template) Write(w io.Writer, lang Lang, data any) error {
	if t.byLang[lang] == nil {
		lang = English
	}
	return t.byLang[lang].Execute(w, data)
}

// Fit makes the page with as many lines as there is room for: data gives it
// with at most limit lines of each list, and is asked for less until the page
// is no larger than [MaxSize].
func (t *Template) Fit(w io.Writer, lang Lang, limit int, data func(limit int) any) error {
	var b bytes.Buffer
	for limit = max(limit, 1); ; limit = max(limit/2, 1) {
		b.Reset()
		if err := t.Write(&b, lang, data(limit)); err != nil {
			return err
		}
		if b.Len() <= MaxSize || limit == 1 {
			_, err := b.WriteTo(w)
			return err
		}
	}
}

// Some gives at most limit of a list, and how many more there are.
func Some[T any](list []T, limit int) (shown []T, more int) {
	n := min(len(list), limit)
	return list[:n], len(list) - n
}

// Size prints bytes for a person, with powers of 1000.
func Size(n int64) string {
	const step = 1000
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), ""
	for _, u := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v, unit = v/step, u
		if v < step-0.5 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// Took prints how long something took.
func Took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %02d min", d/time.Hour, d%time.Hour/time.Minute)
}

// Short keeps as much of a digest as a person compares.
func Short(d string) string {
	const keep = len("sha256:") + 12
	if len(d) > keep {
		return d[:keep]
	}
	return d
}

func dash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.Format("2006-01-02 15:04:05 MST")
}
