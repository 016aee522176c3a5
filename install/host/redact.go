package host

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"bundle/manifest/cluster"
)

// redacted stands where a secret was.
const redacted = "[secret]"

// Shorter texts than these are left alone: replacing every "a" would hide
// nothing and spoil everything.
const (
	minSecret   = 3
	minEncoded  = 6
	minLine     = 8
	maxPatterns = 1 << 16
)

// Redactor replaces secrets in text: as they are, and in the forms that
// programs give them (base64 alone or inside something longer, URL, JSON and
// shell quoting, single lines of several). It is safe for concurrent use; a
// nil one replaces nothing.
type Redactor struct {
	mu sync.Mutex
	p  atomic.Pointer[patterns]
}

// NewRedactor knows the given secrets.
func NewRedactor(secrets ...cluster.Secret) *Redactor {
	r := &Redactor{}
	r.p.Store(&patterns{})
	r.Add(secrets...)
	return r
}

// Add makes further secrets known, also to writers that are in use.
func (r *Redactor) Add(secrets ...cluster.Secret) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.p.Load()
	var fresh []string
	for _, s := range secrets {
		for _, f := range forms(s.Reveal()) {
			if !known.all[f] {
				fresh = append(fresh, f)
			}
		}
	}
	if len(fresh) > 0 {
		r.p.Store(known.with(fresh))
	}
}

// AddCluster makes the secrets of a Clusterfile known.
func (r *Redactor) AddCluster(c *cluster.Cluster) {
	for _, h := range c.Hosts {
		r.Add(h.SSH.Password, h.SSH.KeyPassword)
	}
	r.Add(c.Registry.Password)
}

// String replaces the secrets in s.
func (r *Redactor) String(s string) string {
	if r == nil {
		return s
	}
	out, _ := (&scan{}).run(r.p.Load(), nil, []byte(s), true)
	return string(out)
}

// Writer passes on to w what is written to it, with secrets replaced, even
// those that come in several pieces. What could be the start of a secret is
// held back until more comes or Close, which does not close w.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser {
	return &redactWriter{r: r, w: w}
}

type redactWriter struct {
	r    *Redactor
	w    io.Writer
	s    scan
	held []byte
	out  []byte
}

func (w *redactWriter) Write(p []byte) (int, error) { return len(p), w.push(p, false) }

func (w *redactWriter) Close() error { return w.push(nil, true) }

func (w *redactWriter) push(p []byte, final bool) error {
	text := p
	if len(w.held) > 0 {
		text = append(w.held, p...)
	}
	known := &patterns{}
	if w.r != nil {
		known = w.r.p.Load()
	}
	var rest int
	w.out, rest = w.s.run(known, w.out[:0], text, final)
	// rest never reaches into out, and held may share text's memory.
	w.held = append(w.held[:0], text[len(text)-rest:]...)
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.w.Write(w.out)
	return err
}

// scan is where in a run of secrets the text so far ended.
type scan struct {
	covered int  // bytes to come that belong to a secret
	inside  bool // the placeholder of the run is out
}

// run appends to out the text without secrets and returns how many bytes at
// its end have to be looked at again together with what follows.
func (s *scan) run(p *patterns, out, text []byte, final bool) ([]byte, int) {
	for i := 0; i < len(text); i++ {
		for _, c := range p.first[text[i]] {
			switch {
			case len(c) <= len(text)-i:
				if string(text[i:i+len(c)]) == c {
					s.covered = max(s.covered, len(c))
				}
			case !final && strings.HasPrefix(c, string(text[i:])):
				return out, len(text) - i
			}
		}
		switch {
		case s.covered == 0:
			s.inside = false
			out = append(out, text[i])
		default:
			if !s.inside {
				out = append(out, redacted...)
			}
			s.inside = true
			s.covered--
		}
	}
	return out, 0
}

// patterns are the texts to replace, by their first byte.
type patterns struct {
	all   map[string]bool
	first [256][]string
}

func (p *patterns) with(fresh []string) *patterns {
	n := &patterns{all: map[string]bool{}}
	for f := range p.all {
		n.all[f] = true
	}
	for _, f := range fresh {
		if len(n.all) < maxPatterns {
			n.all[f] = true
		}
	}
	for f := range n.all {
		n.first[f[0]] = append(n.first[f[0]], f)
	}
	for _, list := range n.first {
		slices.SortFunc(list, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	}
	return n
}

// forms are the texts that give a secret away.
func forms(secret string) []string {
	if len(secret) < minSecret {
		return nil
	}
	list := []string{
		secret,
		url.QueryEscape(secret),
		url.PathEscape(secret),
		strings.ReplaceAll(secret, "'", `'\''`),
		backslashed(secret),
	}
	for _, escapeHTML := range []bool{true, false} {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(escapeHTML)
		if enc.Encode(secret) == nil {
			list = append(list, strings.Trim(strings.TrimSpace(b.String()), `"`))
		}
	}
	for _, f := range list[1:3] {
		list = append(list, lowerEscapes(f))
	}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		list = append(list, enc.EncodeToString([]byte(secret)))
		for shift := range 3 {
			if f := inner(enc, secret, shift); len(f) >= minEncoded {
				list = append(list, f)
			}
		}
	}
	if strings.Contains(secret, "\n") {
		for line := range strings.Lines(secret) {
			if line = strings.TrimSpace(line); len(line) >= minLine {
				list = append(list, forms(line)...)
			}
		}
	}
	return list
}

// inner is what base64 makes of secret when shift bytes (modulo 3) stand
// before it and anything behind: the characters that secret alone decides.
func inner(enc *base64.Encoding, secret string, shift int) string {
	text := enc.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
	from := [3]int{0, 2, 3}[shift]
	to := (shift + len(secret)) * 8 / 6
	return text[from:max(from, to)]
}

// backslashed quotes like bash's printf %q.
func backslashed(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		plain := c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
			strings.IndexByte("_-./:=+@%", c) >= 0
		if !plain {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// lowerEscapes turns %2F into %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}
