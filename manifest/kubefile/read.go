package kubefile

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"bundle/manifest"
)

const (
	// MaxSize is the largest Kubefile that is read, in bytes.
	MaxSize = 4 << 20
	// MaxLine is the longest line that is read, in bytes. Sealer 0.5 drops
	// the rest of the file, silently, from a line of this length on.
	MaxLine = 64 << 10
)

// Parse reads a Kubefile. name is the file's name as the user knows it and
// becomes part of every [manifest.Source].
//
// All problems are reported together: the error joins a [*Problem] for each
// and wraps [ErrKubefile]. An instruction that is right but cannot be carried
// out while packaging, such as RUN, is no error here: see [File.Unsupported].
func Parse(name string, r io.Reader, d Dialect) (*File, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	rep := &report{name: name}
	lines, p := splitLines(name, data)
	if p != nil {
		return nil, p
	}
	for n, line := range lines {
		if len(line) >= MaxLine {
			rep.bad(rep.at(n+1), "sealer 0.5 would drop everything from here on", "the line has %d bytes, %d are the limit", len(line), MaxLine-1)
		}
	}
	if len(rep.problems) > 0 {
		return nil, rep.err()
	}
	f := &File{Name: name, Dialect: d}
	if d == Auto {
		if f.Detection, err = detect(name, lines); err != nil {
			return nil, err
		}
		f.Dialect = f.Detection.Dialect
		if f.Detection.Ambiguous {
			rep.warn(manifest.Source(name), "read in the dialect of sealer %s: %s; say --dialect 0.5 or --dialect 0.9 to be sure", f.Dialect, f.Detection.Reason)
		}
	}
	switch f.Dialect {
	case D05:
		parse05(f, lines, rep)
	case D09:
		parse09(f, lines, rep)
	default:
		return nil, fmt.Errorf("%w: %d", ErrDialect, int(f.Dialect))
	}
	if err := rep.err(); err != nil {
		return nil, err
	}
	f.Warnings = rep.warnings
	return f, nil
}

// splitLines gives the physical lines without their line ends.
func splitLines(name string, data []byte) ([]string, *Problem) {
	whole := func(reason, hint string) *Problem {
		return &Problem{Source: manifest.Source(name), Reason: reason, Hint: hint}
	}
	if len(data) > MaxSize {
		return nil, whole(fmt.Sprintf("the file is larger than %d MiB", MaxSize>>20), "")
	}
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return nil, whole("the file is UTF-16", "save it as UTF-8")
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return nil, whole("the file is not UTF-8 text", "")
	}
	lines := strings.Split(string(data), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
	}
	return lines, nil
}
