package imagelist

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
)

const (
	// MaxSize is the largest list that is read, in bytes.
	MaxSize = 8 << 20
	// MaxLine is the longest line that is read, in bytes. A reference has at
	// most 255 bytes of name, 128 of tag and 71 of digest.
	MaxLine = 4096
	// maxProblems bounds the report; a file with more bad lines than this is
	// no image list at all.
	maxProblems = 50
)

// ErrList is wrapped by every error of this package that the content of a
// list causes, as opposed to a failing reader.
var ErrList = errors.New("bad image list")

// Entry is one image that a list asks for.
type Entry struct {
	Ref manifest.Reference
	// Raw is the reference as the first line that named it wrote it.
	Raw string
	// Source is the first line that named the image.
	Source manifest.Source
	// Also are the further lines that named the same image, in file order.
	Also []manifest.Source
}

// Sources gives every line that named the image, in file order.
func (e Entry) Sources() []manifest.Source {
	return append([]manifest.Source{e.Source}, e.Also...)
}

// Problem is one line that could not be understood. It wraps [ErrList].
type Problem struct {
	Source manifest.Source
	// Reason says what is wrong with the line.
	Reason string
	// Hint says what to write instead; it may be empty.
	Hint string
}

// Error gives "file:line: reason; hint".
func (p *Problem) Error() string {
	s := string(p.Source) + ": " + p.Reason
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Unwrap gives [ErrList].
func (p *Problem) Unwrap() error { return ErrList }

// Warning is something the user should know that does not stop the build.
type Warning struct {
	Source manifest.Source
	Text   string
}

// Parse reads an imageList: one reference a line; blank lines and lines whose
// first visible character is '#' are skipped. Line ends may be LF or CRLF, a
// UTF-8 byte order mark is skipped and the last line needs no line end. An
// image named twice gives one entry with both sources; entries keep the order
// of their first line.
//
// name is the file's name as the user knows it. All bad lines are reported
// together: the error joins a [*Problem] for each and wraps [ErrList].
func Parse(name string, r io.Reader) ([]Entry, error) {
	data, err := readAll(name, r)
	if err != nil {
		return nil, err
	}
	c := collector{index: map[manifest.Reference]int{}}
	n := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		n++
		if len(line) > MaxLine {
			c.problem(manifest.FileLine(name, n), fmt.Sprintf("the line has %d bytes, more than the %d a list may have", len(line), MaxLine), "")
			continue
		}
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		src := manifest.FileLine(name, n)
		ref, p := parseLine(line)
		if p != nil {
			c.problem(src, p.Reason, p.Hint)
			continue
		}
		c.add(ref, line, src)
	}
	return c.entries, c.err()
}

// collector gathers entries and problems of one list.
type collector struct {
	entries  []Entry
	index    map[manifest.Reference]int
	problems []error
	more     int
}

func (c *collector) add(ref manifest.Reference, raw string, src manifest.Source) {
	if i, ok := c.index[ref]; ok {
		c.entries[i].Also = append(c.entries[i].Also, src)
		return
	}
	c.index[ref] = len(c.entries)
	c.entries = append(c.entries, Entry{Ref: ref, Raw: raw, Source: src})
}

func (c *collector) problem(src manifest.Source, reason, hint string) {
	if len(c.problems) == maxProblems {
		c.more++
		return
	}
	c.problems = append(c.problems, &Problem{Source: src, Reason: reason, Hint: hint})
}

func (c *collector) err() error {
	if c.more > 0 {
		c.problems = append(c.problems, fmt.Errorf("and %d more lines of this kind: %w", c.more, ErrList))
	}
	return errors.Join(c.problems...)
}

// readAll reads at most MaxSize bytes and refuses what is no UTF-8 text.
func readAll(name string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	whole := func(reason, hint string) error {
		return &Problem{Source: manifest.Source(name), Reason: reason, Hint: hint}
	}
	if len(data) > MaxSize {
		return nil, whole(fmt.Sprintf("the list is larger than %d MiB", MaxSize>>20), "")
	}
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return nil, whole("the list is UTF-16", "save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return nil, whole("this is not UTF-8 text", "an image list has one reference a line")
	}
	return data, nil
}

// parseLine reads one trimmed, non-empty line. The problem has no source yet.
func parseLine(line string) (manifest.Reference, *Problem) {
	if word, rest, more := cutBlank(line); more {
		p := &Problem{Reason: fmt.Sprintf("unexpected text %q after %q", rest, word)}
		switch {
		case strings.HasPrefix(rest, "#"):
			p.Hint = "write the comment on a line of its own"
		case word == "-" || strings.HasSuffix(word, ":"):
			p.Hint = fmt.Sprintf("this is a plain list, not YAML: write only %s", strings.Trim(rest, `"'`))
		default:
			p.Hint = "write one reference a line"
		}
		return manifest.Reference{}, p
	}
	ref, err := manifest.ParseReference(line)
	if err != nil {
		return manifest.Reference{}, &Problem{Reason: err.Error(), Hint: hintFor(line)}
	}
	if ref.Digest != "" && ref.Digest.Algorithm() != digest.SHA256 {
		return manifest.Reference{}, &Problem{
			Reason: fmt.Sprintf("%q has a %s digest", line, ref.Digest.Algorithm()),
			Hint:   "only sha256 digests are supported",
		}
	}
	return ref, nil
}

// cutBlank splits s at its first run of blanks.
func cutBlank(s string) (word, rest string, found bool) {
	fields := strings.Fields(s)
	if len(fields) < 2 {
		return s, "", false
	}
	return fields[0], strings.TrimSpace(s[len(fields[0]):]), true
}

// hintFor guesses what somebody meant by a line that is no reference.
func hintFor(line string) string {
	switch {
	case strings.Contains(line, "://"):
		_, rest, _ := strings.Cut(line, "://")
		return fmt.Sprintf("leave out the scheme: %s", rest)
	case strings.ContainsAny(line, `"'`):
		return "leave out the quotes"
	case strings.HasSuffix(line, ",") || strings.HasSuffix(line, ";"):
		return fmt.Sprintf("leave out the %q at the end", line[len(line)-1:])
	case strings.Contains(line, "{{"):
		return "a template cannot be looked up: write the name it becomes"
	case strings.Contains(line, "$"):
		return "variables are not replaced in a list: write the name itself"
	}
	return ""
}
