package rehearse

import (
	"fmt"
	"io"
	"strings"

	"bundle/manifest"
	"bundle/verify"
)

// Kind says what a problem is.
type Kind string

// The kinds of problems.
const (
	// Missing: an image, one of its platforms or blobs, a chart or a file is
	// not in the bundle.
	Missing Kind = "missing"
	// Damaged: the registry gives out something else, or breaks off.
	Damaged Kind = "damaged"
	// Unusable: a chart does not render, a manifest is no YAML.
	Unusable Kind = "unusable"
)

// Problem is one thing that would make the install fail.
type Problem struct {
	Kind Kind `json:"kind"`
	// Object is the image, chart or file.
	Object string `json:"object"`
	// Sources are the places that ask for it.
	Sources []manifest.Source `json:"sources"`
	Reason  string            `json:"reason"`
	Hint    string            `json:"hint,omitempty"`
}

// String is the problem in one line.
func (p Problem) String() string {
	s := p.Object
	switch len(p.Sources) {
	case 0:
	case 1:
		s += " (" + string(p.Sources[0]) + ")"
	default:
		s += fmt.Sprintf(" (%s and %d more)", p.Sources[0], len(p.Sources)-1)
	}
	return s + " " + p.Reason
}

// Note is something that a person should know and that stops nothing.
type Note struct {
	Object  string            `json:"object"`
	Sources []manifest.Source `json:"sources,omitempty"`
	Text    string            `json:"text"`
}

// Image is one reference that was pulled.
type Image struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	// Platforms that were pulled.
	Platforms []string `json:"platforms"`
	// Bytes of manifests, configs and layers.
	Bytes    int64             `json:"bytes"`
	NeededBy []manifest.Source `json:"neededBy"`
}

// Report is the outcome of a rehearsal.
type Report struct {
	OK     bool    `json:"ok"`
	Images []Image `json:"images"`
	// Problems in the order in which the install would meet them.
	Problems []Problem `json:"problems"`
	Notes    []Note    `json:"notes"`
	// Charts and Manifests that were rendered and read.
	Charts    int `json:"charts"`
	Manifests int `json:"manifests"`
	// NodePorts that services ask for by number.
	NodePorts []int `json:"nodePorts"`
	// Platforms that were pulled for.
	Platforms []string `json:"platforms"`
	// Full tells that every byte was read, BytesRead how many were.
	Full      bool  `json:"full"`
	BytesRead int64 `json:"bytesRead"`
}

// Err is nil where nothing is wrong, else an error that says what is, a line
// each. It wraps [ErrDamaged], [ErrIncomplete] and [ErrUnusable] as they
// apply, and package verify's errors of the same meaning.
func (r *Report) Err() error {
	if r.OK {
		return nil
	}
	return &failed{r.Problems}
}

type failed struct{ problems []Problem }

// Error gives the only problem, or a line for each of the first ones.
func (e *failed) Error() string {
	const most = 20
	if len(e.problems) == 1 {
		return e.problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the rehearsal found %d things that would make the install fail", len(e.problems))
	for i, p := range e.problems {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(e.problems)-most)
			break
		}
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Unwrap gives the classes of the problems.
func (e *failed) Unwrap() []error {
	var classes []error
	for _, p := range e.problems {
		switch p.Kind {
		case Damaged:
			classes = append(classes, ErrDamaged, verify.ErrDamaged)
		case Missing:
			classes = append(classes, ErrIncomplete, verify.ErrIncomplete)
		default:
			classes = append(classes, ErrUnusable)
		}
	}
	return classes
}

// Hint is that of the first problem that has one.
func (e *failed) Hint() string {
	for _, p := range e.problems {
		if p.Hint != "" {
			return p.Hint
		}
	}
	return ""
}

// Object names what the first problem is about.
func (e *failed) Object() string { return e.problems[0].Object }

// Text writes the report for people. verbose lists every image and note.
func (r *Report) Text(w io.Writer, verbose bool) error {
	var b strings.Builder
	if verbose {
		for _, i := range r.Images {
			fmt.Fprintf(&b, "pulled    %s  %s  %s\n", i.Name, i.Digest, strings.Join(i.Platforms, ","))
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "%-9s %s %s\n", p.Kind, p.Object, p.Reason)
		for _, s := range p.Sources {
			fmt.Fprintf(&b, "          asked for by %s\n", s)
		}
		if p.Hint != "" {
			fmt.Fprintf(&b, "          hint: %s\n", p.Hint)
		}
	}
	for i, n := range r.Notes {
		const most = 10
		if i == most && !verbose {
			fmt.Fprintf(&b, "note      and %d more\n", len(r.Notes)-most)
			break
		}
		fmt.Fprintf(&b, "note      %s %s", n.Object, n.Text)
		if len(n.Sources) > 0 {
			fmt.Fprintf(&b, " (%s)", n.Sources[0])
		}
		b.WriteByte('\n')
	}
	fmt.Fprintln(&b, r.Summary())
	_, err := io.WriteString(w, b.String())
	return err
}

// Summary is the report in one line.
func (r *Report) Summary() string {
	how := "the first bytes of their layers"
	if r.Full {
		how = "every byte of their layers"
	}
	verdict := "everything is there"
	if !r.OK {
		verdict = count(len(r.Problems), "problem")
	}
	return fmt.Sprintf("%s: %s pulled for %s with %s, %s rendered, %s read", verdict,
		count(len(r.Images), "image"), strings.Join(r.Platforms, " and "), how, count(r.Charts, "chart"), count(r.Manifests, "manifest"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
