package chart

import (
	"regexp"
	"strconv"
	"strings"
)

// location finds "aecp/templates/deploy.yaml:12" in what the engine says.
var location = regexp.MustCompile(`([^\s():"<>]+/templates/[^\s():"<>]+):(\d+)(?::\d+)?`)

// renderError takes the place and the reason out of an error of the engine,
// which prints one block for each template on the way to the failing one.
func (c *Chart) renderError(err error) error {
	e := &Error{Class: ErrRender, Chart: c.Name}
	text := err.Error()
	places := location.FindAllStringSubmatch(text, -1)
	if len(places) > 0 {
		last := places[len(places)-1]
		e.Template = strings.TrimPrefix(last[1], c.Name+"/")
		e.Line, _ = strconv.Atoi(last[2])
		if first := places[0]; first[0] != last[0] && first[1]+first[2] != last[1]+last[2] {
			e.From = strings.TrimPrefix(first[1], c.Name+"/") + ":" + first[2]
		}
	}
	e.Reason = renderReason(text)
	return e
}

// executing is what text/template puts before the reason: the template, and
// in angle brackets the expression that failed.
var executing = regexp.MustCompile(`^(?:template: \S+: )?executing "[^"]*" at <(.*?)>: ?`)

func renderReason(text string) string {
	// The last line holds what the failing template says, the one before it
	// the expression.
	lines := strings.Split(strings.TrimSpace(text), "\n")
	s := strings.TrimSpace(lines[len(lines)-1])
	for _, prefix := range []string{"execution error at (", "parse error at (", "parse error in ("} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			if _, after, ok := strings.Cut(rest, "): "); ok {
				return after
			}
		}
	}
	if len(lines) > 1 {
		if m := executing.FindStringSubmatch(strings.TrimSpace(lines[len(lines)-2])); m != nil {
			return m[1] + ": " + s
		}
	}
	if m := executing.FindStringSubmatch(s); m != nil {
		return s[len(m[0]):]
	}
	return s
}
