package support

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"bundle/manifest/secret"
)

// mask stands where a secret was.
const mask = "******"

// minSecret is the least length, in bytes, of a value that is looked for.
const minSecret = 4

var (
	keyBegin = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY`)
	keyEnd   = regexp.MustCompile(`-----END [A-Z0-9 ]*PRIVATE KEY`)
	// joinToken is kubeadm's, which lets a machine into the cluster.
	joinToken = regexp.MustCompile(`\b[a-z0-9]{6}\.[a-z0-9]{16}\b`)
	header    = regexp.MustCompile(`(?i)\b(authorization|proxy-authorization|cookie|set-cookie)(["']?\s*[:=]\s*["']?)[^"'\r\n]+`)
	argument  = regexp.MustCompile(`(?i)(--?(?:[a-z-]*(?:password|passwd|token|secret|certificate-key))[= ])\S+`)
)

type redactor struct{ secrets []string }

func newRedactor(secrets []string) redactor {
	r := redactor{}
	for _, s := range secrets {
		if len(s) >= minSecret {
			r.secrets = append(r.secrets, s)
		}
	}
	// The longest first: one may be a part of another.
	slices.SortFunc(r.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return r
}

// text gives data without secrets, and how many lines are not what they were.
func (r redactor) text(name string, data []byte) ([]byte, int) {
	// Looked at as a whole, a Secret's values are known for such; looked at line
	// by line, none is missed because there were many before it.
	found := map[int]secret.Kind{}
	for _, f := range secret.Find(name, data) {
		if n, ok := lineOf(string(f.Source)); ok {
			found[n] = f.Kind
		}
	}
	var out bytes.Buffer
	changed, inKey := 0, false
	for n, line := range bytes.Split(data, []byte{'\n'}) {
		if n > 0 && !inKey {
			out.WriteByte('\n')
		}
		text := string(line)
		switch {
		case inKey:
			changed++
			inKey = !keyEnd.MatchString(text)
			if !inKey {
				out.WriteByte('\n')
			}
			continue
		case keyBegin.MatchString(text):
			changed++
			inKey = !keyEnd.MatchString(text)
			out.WriteString("(a private key was left out here)")
			continue
		}
		// Known values first: a line that held nothing else stays readable.
		clean := text
		for _, s := range r.secrets {
			clean = strings.ReplaceAll(clean, s, mask)
		}
		clean = joinToken.ReplaceAllString(clean, mask)
		clean = header.ReplaceAllString(clean, "${1}${2}"+mask)
		clean = argument.ReplaceAllString(clean, "${1}"+mask)
		kind, whole := found[n+1]
		if alone := secret.Find(name, []byte(clean)); len(alone) > 0 {
			clean = fmt.Sprintf("(a line was left out here: %s)", alone[0].Kind)
		} else if whole && clean == text {
			clean = fmt.Sprintf("(a line was left out here: %s)", kind)
		}
		if clean != text {
			changed++
		}
		out.WriteString(clean)
	}
	return out.Bytes(), changed
}

// lineOf reads the line out of FILE:LINE.
func lineOf(source string) (n int, ok bool) {
	_, line, found := strings.Cut(source[strings.LastIndex(source, "/")+1:], ":")
	if !found {
		return 0, false
	}
	_, err := fmt.Sscanf(line, "%d", &n)
	return n, err == nil
}
