package plan

import (
	"fmt"
	"strings"
	"unicode"
)

// maxID bounds the part of an ID that comes from a free text.
const maxID = 60

// slug makes a free text a part of an ID: letters and digits of every script,
// and . _ - stay.
func slug(name string) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.TrimSpace(name) {
		if n == maxID {
			break
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r) {
			r = '-'
		}
		b.WriteRune(r)
		n++
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return "unnamed"
}

// ids hands out IDs that are not taken: the second "x" becomes "x_2".
type ids map[string]bool

func (u ids) unique(id string) string {
	out := id
	for n := 2; u[out]; n++ {
		out = fmt.Sprintf("%s_%d", id, n)
	}
	u[out] = true
	return out
}
