package discover

import (
	"errors"
	"strings"
	"unicode"

	"bundle/manifest"
)

// Errors of this package, for errors.Is.
var (
	// ErrSyntax: the text is not YAML.
	ErrSyntax = errors.New("not YAML")
	// ErrLimit: the text is larger, deeper or longer than the package reads.
	ErrLimit = errors.New("out of bounds")
)

// Class says how sure it is that something is an image the cluster pulls.
type Class int

// The classes; see the package documentation.
const (
	Required Class = iota
	Candidate
)

// String gives "required" or "candidate".
func (c Class) String() string {
	if c == Required {
		return "required"
	}
	return "candidate"
}

// Found is one image that was asked for in one place.
type Found struct {
	// Ref is the zero Reference where Raw, in the place of a required image,
	// is none: an unresolved template, for instance.
	Ref manifest.Reference
	// Raw is what the input has, cut to a few hundred bytes.
	Raw   string
	Class Class
	// Source is a place a person can go to: "chart aecp
	// templates/deploy.yaml: Deployment web container app",
	// "manifests/x.yaml:12: Deployment web container app".
	Source manifest.Source
}

// Malformed tells whether Raw stands where an image must and is none.
func (f Found) Malformed() bool { return f.Ref == manifest.Reference{} }

// Origin says where a text comes from.
type Origin struct {
	// Name begins every Source: "manifests/x.yaml", "chart aecp
	// templates/deploy.yaml".
	Name string
	// Lines adds line numbers to Name. Rendered text should go without, as
	// its lines are not those of any file.
	Lines bool
}

const (
	maxRaw    = 512
	maxSource = 300
)

// plain makes text from an input fit for one line of a report.
func plain(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && s[cut]&0xc0 == 0x80 {
		cut--
	}
	return s[:cut] + "…"
}
