package secret

import (
	"bytes"
	"encoding/base64"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"bundle/manifest"
)

// Kind says what was found.
type Kind string

// The kinds.
const (
	PrivateKey Kind = "private key"
	Password   Kind = "password"
	Token      Kind = "access token"
	// Credentials are a user and a password in an address, or of a registry.
	Credentials Kind = "credentials"
)

// Finding is one secret. It does not hold the value.
type Finding struct {
	// Object names what holds it: a key such as spec.ssh.passwd is given by its
	// last part; empty where there is no name.
	Object string          `json:"object,omitempty"`
	Source manifest.Source `json:"source"`
	Kind   Kind            `json:"kind"`
	// Encoded: it stands behind base64.
	Encoded bool `json:"encoded,omitempty"`
}

// String is the finding in one line.
func (f Finding) String() string {
	s := string(f.Source) + ": a " + string(f.Kind)
	switch f.Kind {
	case Token:
		s = string(f.Source) + ": an " + string(f.Kind)
	case Credentials:
		s = string(f.Source) + ": " + string(f.Kind)
	}
	if f.Object != "" {
		s += " (" + f.Object + ")"
	}
	if f.Encoded {
		s += ", in base64"
	}
	return s
}

// Bounds.
const (
	// MaxFile is the largest file, in bytes, that is looked into: what people
	// write is smaller.
	MaxFile = 4 << 20
	// maxLine bounds a line; longer ones are data. Their beginning is looked at.
	maxLine = 64 << 10
	// maxFindings bounds the findings of one file.
	maxFindings = 100
	// maxDepth bounds base64 in base64.
	maxDepth = 2
	// maxNames bounds the names that a line gives values to.
	maxNames = 50
	// minEncoded is the least length of base64 that is taken for such.
	minEncoded = 16
)

var (
	privateKey = regexp.MustCompile(`-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----`)
	// assignment is NAME: VALUE, NAME=VALUE or "NAME": "VALUE".
	assignment = regexp.MustCompile(`(?:^|[\s{,;?&"'(-])["']?([A-Za-z][A-Za-z0-9_.-]{0,80})["']?\s{0,8}(?::=|[:=])\s{0,8}(.*)$`)
	secretName = regexp.MustCompile(`(?i)(?:^|[a-z0-9_.-])(?:password|passwd|passphrase|pwd)$|(?i)^(?:pass|secret|token|credential|credentials)$|(?i)(?:secret[_.-]?(?:access)?[_.-]?key|access[_.-]?key[_.-]?secret|client[_.-]?secret|app[_.-]?secret|api[_.-]?key|private[_.-]?key|(?:auth|access|api|bearer|refresh|bootstrap)[_.-]?token)$`)
	userInURL  = regexp.MustCompile(`[a-z][a-z0-9+.-]{1,20}://[^\s/:@"'<>{}$]{1,80}:([^\s/@"'<>]{1,200})@`)
	// tokens are those that cannot be anything else.
	tokens  = regexp.MustCompile(`\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}|LTAI[A-Za-z0-9]{12,24}|gh[pousr]_[A-Za-z0-9]{36,}|glpat-[A-Za-z0-9_-]{20,}|xox[abprs]-[A-Za-z0-9-]{20,})\b`)
	encoded = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}={0,2}`)
	// auth is what docker's config.json keeps of a login.
	auth = regexp.MustCompile(`"auth"\s{0,8}:\s{0,8}"([A-Za-z0-9+/]{4,}={0,2})"`)
)

// Find gives the secrets in one file, by line. What is no text has none.
func Find(file string, data []byte) []Finding {
	if len(data) > MaxFile || !isText(data) {
		return nil
	}
	f := finder{file: file}
	inSecret := false // of the kind Secret, whose values are base64
	for n, line := range bytes.Split(data, []byte{'\n'}) {
		text := strings.TrimRight(string(line[:min(len(line), maxLine)]), "\r")
		switch strings.TrimSpace(text) {
		case "---":
			inSecret = false
		case "kind: Secret":
			inSecret = true
		}
		f.line = n + 1
		f.look(text, inSecret, 0)
		if len(f.list) >= maxFindings {
			break
		}
	}
	return f.list
}

type finder struct {
	file string
	line int
	list []Finding
}

func (f *finder) add(object string, kind Kind, depth int) {
	found := Finding{Object: object, Source: manifest.FileLine(f.file, f.line), Kind: kind, Encoded: depth > 0}
	for _, have := range f.list {
		if have.Source == found.Source && (have.Kind == kind || kind == Password) {
			return // one is enough to send a person there
		}
	}
	f.list = append(f.list, found)
}

// look looks at one line; depth counts the layers of base64 it came out of.
func (f *finder) look(text string, inSecret bool, depth int) {
	if privateKey.MatchString(text) {
		f.add("", PrivateKey, depth)
	}
	if tokens.MatchString(text) {
		f.add("", Token, depth)
	}
	if m := userInURL.FindStringSubmatch(text); m != nil && !placeholder(m[1]) {
		f.add("", Credentials, depth)
	}
	if m := auth.FindStringSubmatch(text); m != nil {
		if p, ok := decode(m[1]); ok && bytes.IndexByte(p, ':') > 0 && isText(p) {
			f.add("auth", Credentials, depth)
		}
	}
	rest := text
	for range maxNames {
		m := assignment.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		f.assigned(rest[m[2]:m[3]], rest[m[4]:], inSecret, depth)
		rest = rest[m[4]:]
	}
	if depth >= maxDepth {
		return
	}
	for _, word := range encoded.FindAllString(text, 20) {
		if p, ok := decode(word); ok && isText(p) {
			for line := range strings.Lines(string(p)) {
				f.look(strings.TrimRight(line, "\r\n"), false, depth+1)
			}
		}
	}
}

// assigned judges the value of a name.
func (f *finder) assigned(name, value string, inSecret bool, depth int) {
	name = name[strings.LastIndexByte(name, '.')+1:]
	if !secretName.MatchString(name) {
		return
	}
	value = unquote(value)
	if inSecret {
		if p, ok := decode(value); ok && isText(p) {
			value, depth = strings.TrimSpace(string(p)), depth+1
		}
	}
	if placeholder(value) {
		return
	}
	f.add(name, Password, depth)
}

// unquote takes a scalar out of what stands behind a name.
func unquote(v string) string {
	v = strings.TrimSpace(v)
	if v == "" {
		return ""
	}
	if q := v[0]; q == '"' || q == '\'' {
		if end := strings.IndexByte(v[1:], q); end >= 0 {
			return v[1 : 1+end]
		}
		return v[1:]
	}
	if i := strings.Index(v, " #"); i >= 0 {
		v = v[:i]
	}
	return strings.TrimRight(strings.TrimSpace(v), ",;)}")
}

// words are values that nobody's lock opens to.
var words = map[string]bool{
	"": true, "null": true, "~": true, "nil": true, "none": true, "true": true, "false": true, "yes": true, "no": true, "|": true, ">": true, "|-": true, ">-": true,
	"changeme": true, "change-me": true, "change_me": true, "changeit": true, "replaceme": true, "replace-me": true, "placeholder": true, "redacted": true,
	"example": true, "dummy": true, "todo": true, "tbd": true, "string": true, "password": true, "passwd": true, "secret": true, "token": true,
	"your-password": true, "yourpassword": true, "your_password": true, "required": true, "optional": true, "file": true, "env": true,
}

// placeholder tells whether a value stands for one that comes later, or names
// where it is.
func placeholder(v string) bool {
	v = strings.TrimSpace(v)
	switch low := strings.ToLower(v); {
	case words[low], len(v) < 3:
		return true
	case strings.ContainsAny(v, "${<") && (strings.Contains(v, "{{") || strings.Contains(v, "${") || strings.Contains(v, "$(") || v[0] == '$' || v[0] == '<'):
		return true // templates and variables, also such as $VAR and <password>
	case strings.Trim(v, "*x.X-_#") == "":
		return true // xxxx, ****
	case v[0] == '{' || v[0] == '[' || v[0] == '&' || v[0] == '%' || v[0] == '!':
		return true // a structure, an anchor, a tag
	case v[0] == '/' || strings.HasPrefix(v, "./") || strings.HasPrefix(v, "file:") || strings.HasPrefix(v, "env:"):
		return true // where it is
	case strings.ContainsAny(v, " \t("):
		return true // prose, or code
	}
	return false
}

// decode reads base64 in any of its alphabets.
func decode(s string) ([]byte, bool) {
	s = strings.TrimRight(s, "=")
	if len(s) < minEncoded && len(s) < 4 {
		return nil, false
	}
	enc := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		enc = base64.RawURLEncoding
	}
	p, err := enc.DecodeString(s)
	return p, err == nil && len(p) > 0
}

// isText tells whether p is what a person could have written.
func isText(p []byte) bool {
	if !utf8.Valid(p[:len(p)-partial(p)]) {
		return false
	}
	for _, r := range string(p[:min(len(p), 4<<10)]) {
		if r == 0 || unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' && r != '\x1b' && r != '\f' {
			return false
		}
	}
	return true
}

// partial is the length of a rune that is cut off at the end.
func partial(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if c := p[len(p)-n]; utf8.RuneStart(c) {
			if !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}
