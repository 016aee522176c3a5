package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Type says what a record is about.
type Type string

// The types of records.
const (
	RunStarted  Type = "run.started"
	RunFinished Type = "run.finished"
	StepStarted Type = "step.started"
	StepDone    Type = "step.done"
	StepFailed  Type = "step.failed"
	// StepSkipped is a step that the user said not to run.
	StepSkipped Type = "step.skipped"
	// Cleaned ends everything before it: nothing of the install is left.
	Cleaned Type = "cleaned"
)

// Operations of a run.
const (
	Install = "install"
	Clean   = "clean"
)

// Record is one line of a journal.
type Record struct {
	// Seq counts from 1; Prev is the sum of the line before. Both are set by
	// [Journal.Append].
	Seq  int64     `json:"seq"`
	Prev string    `json:"prev,omitempty"`
	Time time.Time `json:"time"`
	Type Type      `json:"type"`
	// Begin comes with RunStarted, End with RunFinished, Step with the rest.
	Begin *Begin `json:"begin,omitempty"`
	Step  *Step  `json:"step,omitempty"`
	End   *End   `json:"end,omitempty"`
}

// Attempt names what a record started, for no other record has the same.
func (r Record) Attempt() string { return fmt.Sprintf("%d-%d", r.Seq, r.Time.UnixNano()) }

// Begin says what a run is going to do and who asked for it.
type Begin struct {
	Operation   string `json:"operation"`
	Cluster     string `json:"cluster"`
	Bundle      string `json:"bundle"`
	Version     string `json:"version"`
	IndexDigest string `json:"indexDigest,omitempty"`
	PlanDigest  string `json:"planDigest"`
	User        string `json:"user,omitempty"`
	Host        string `json:"host,omitempty"`
	PID         int    `json:"pid,omitempty"`
	Tool        string `json:"tool,omitempty"`
	// Restart forgets what is done, except for destructive steps.
	Restart bool   `json:"restart,omitempty"`
	From    string `json:"from,omitempty"`
	Until   string `json:"until,omitempty"`
	// Plan is every step, in order.
	Plan []PlanStep `json:"plan"`
}

// PlanStep is what a journal keeps of one step of a plan.
type PlanStep struct {
	ID          string   `json:"id"`
	Phase       string   `json:"phase,omitempty"`
	Digest      string   `json:"digest"`
	Hosts       []string `json:"hosts"`
	Destructive bool     `json:"destructive,omitempty"`
}

// Step is what happened to one step on one host.
type Step struct {
	ID   string `json:"id"`
	Host string `json:"host"`
	// Digest of the step's content; a step that changed is another step.
	Digest      string `json:"digest"`
	Destructive bool   `json:"destructive,omitempty"`
	Changed     bool   `json:"changed,omitempty"`
	Detail      string `json:"detail,omitempty"`
	Error       string `json:"error,omitempty"`
	// Untouched goes with StepFailed: it failed before it did anything.
	Untouched bool `json:"untouched,omitempty"`
	// Interrupted goes with StepFailed: it was stopped half way.
	Interrupted bool `json:"interrupted,omitempty"`
	// Millis is how long it took.
	Millis int64 `json:"millis,omitempty"`
}

// Outcomes of a run.
const (
	OK          = "ok"
	Failed      = "failed"
	Interrupted = "interrupted"
)

// End says how a run ended.
type End struct {
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
	// Complete is set where every step of the plan is done.
	Complete bool `json:"complete,omitempty"`
}

const (
	// maxLine bounds a line: the plan of a thousand steps on a thousand hosts
	// fits.
	maxLine = 32 << 20
	// maxSize bounds a journal.
	maxSize = 256 << 20
	// maxText bounds each free text of a record.
	maxText = 4 << 10
)

const (
	sumHead = `,"sum":"`
	sumTail = `"}`
	sumLen  = len(sumHead) + 2*sha256.Size + len(sumTail)
)

// encode gives the line of a record, without newline, and its sum.
func encode(r Record) (line []byte, sum string, err error) {
	r.Time = r.Time.UTC().Round(0)
	body, err := json.Marshal(r)
	if err != nil {
		return nil, "", err
	}
	sum = sumOf(body)
	line = append(body[:len(body)-1], sumHead+sum+sumTail...)
	if len(line) > maxLine {
		return nil, "", fmt.Errorf("a journal record has %d bytes; it may have %d", len(line), maxLine)
	}
	return line, sum, nil
}

// decode reads one line, without newline. A line that was not written by
// [encode] in every byte is refused.
func decode(line []byte) (r Record, sum string, err error) {
	if len(line) > maxLine {
		return r, "", fmt.Errorf("the line has %d bytes", len(line))
	}
	i := len(line) - sumLen
	if i < 1 || !bytes.HasPrefix(line[i:], []byte(sumHead)) || !bytes.HasSuffix(line, []byte(sumTail)) {
		return r, "", fmt.Errorf("the line does not end with its sum")
	}
	sum = string(line[i+len(sumHead) : len(line)-len(sumTail)])
	body := append(bytes.Clone(line[:i]), '}')
	if sumOf(body) != sum {
		return r, "", fmt.Errorf("the line is not what its sum says")
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, "", fmt.Errorf("the line is no record: %w", err)
	}
	return r, sum, nil
}

func sumOf(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}

// clean redacts and bounds every free text of a record. It changes no part
// that the caller holds.
func (r Record) clean(redact func(string) string) Record {
	text := func(s string) string {
		if redact != nil {
			s = redact(s)
		}
		return bound(s)
	}
	if r.Step != nil {
		s := *r.Step
		s.Detail, s.Error = text(s.Detail), text(s.Error)
		r.Step = &s
	}
	if r.End != nil {
		e := *r.End
		e.Error = text(e.Error)
		r.End = &e
	}
	if r.Begin != nil {
		b := *r.Begin
		b.User, b.Host, b.Tool = text(b.User), text(b.Host), text(b.Tool)
		r.Begin = &b
	}
	return r
}

// bound cuts a text that is too long, between two characters.
func bound(s string) string {
	if len(s) <= maxText {
		return s
	}
	i := maxText
	for i > 0 && !utf8.RuneStart(s[i]) {
		i--
	}
	return s[:i] + "…"
}
