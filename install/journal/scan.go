package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

var (
	// ErrDamaged is wrapped where a journal is not what was written.
	ErrDamaged = errors.New("the journal is damaged")
	// ErrDiverged is wrapped where two journals of one cluster tell different
	// stories.
	ErrDiverged = errors.New("the journals differ")
	// ErrBusy is wrapped where another process works on the cluster.
	ErrBusy = errors.New("another run is going on")
)

// failure is an error for people, with what to do about it.
type failure struct {
	text, hint string
	kind       error
}

func (e *failure) Error() string { return e.text }
func (e *failure) Unwrap() error { return e.kind }

// Hint says what to do next.
func (e *failure) Hint() string { return e.hint }

// content is a journal as it was read.
type content struct {
	records []Record
	// good is the length of all whole lines; what is behind was cut short.
	good int
	// sum of the last line.
	sum string
}

// scan reads a whole journal. name is what messages call it.
func scan(name string, data []byte) (content, error) {
	var c content
	if len(data) > maxSize {
		return c, damaged(name, 0, fmt.Errorf("it has %d bytes, more than the %d that a journal may have", len(data), maxSize))
	}
	for c.good < len(data) {
		rest := data[c.good:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break // the last line was cut short
		}
		r, sum, err := decode(rest[:end])
		if err != nil && torn(rest, end) {
			break
		}
		seq := int64(len(c.records) + 1)
		switch {
		case err != nil:
		case r.Seq != seq:
			err = fmt.Errorf("record %d stands where record %d should", r.Seq, seq)
		case r.Prev != c.sum:
			err = errors.New("it does not follow the line before")
		default:
			err = r.check()
		}
		if err != nil {
			return c, damaged(name, int(seq), err)
		}
		c.records, c.sum = append(c.records, r), sum
		c.good += end + 1
	}
	return c, nil
}

// torn tells whether a bad line is one that power loss left: the last one, and
// not a text at all. A last line that is whole JSON with a wrong sum was
// changed by somebody.
func torn(rest []byte, end int) bool {
	return end == len(rest)-1 && !json.Valid(rest[:end])
}

func damaged(name string, line int, err error) error {
	where := name
	if line > 0 {
		where = fmt.Sprintf("%s line %d", name, line)
	}
	return &failure{
		text: fmt.Sprintf("the journal %s is damaged: %v", where, err),
		hint: "look at the file; to do without it, move it away and use --from to say where to go on",
		kind: ErrDamaged,
	}
}

// check tells whether a record has the parts that its type needs.
func (r *Record) check() error {
	ok := true
	switch r.Type {
	case RunStarted:
		ok = r.Begin != nil
	case RunFinished:
		ok = r.End != nil
	case StepStarted, StepDone, StepFailed, StepSkipped:
		ok = r.Step != nil && r.Step.ID != ""
	case Cleaned:
	case "":
		ok = false
	default:
		// A newer tool's; its absence from the state may repeat a step but
		// never lose one.
	}
	if !ok {
		return fmt.Errorf("the record of type %q is not whole", r.Type)
	}
	return nil
}
