package verify

import (
	"errors"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// The words that people and scripts see.
func TestProblemString(t *testing.T) {
	p := Problem{Kind: ProblemDamaged, Object: "image x", Reason: "why", Offset: 5, Length: 3}
	if got := p.String(); got != "image x: damaged, why (bytes 5 to 7 of the file)" {
		t.Error(got)
	}
	if got := (Problem{Kind: ProblemMissing, Object: "chart x"}).String(); got != "chart x: missing" {
		t.Error(got)
	}
}

func TestVerdicts(t *testing.T) {
	problems := []Problem{{Kind: ProblemMissing, Object: "image x", Reason: "gone"}, {}}
	for _, c := range []struct {
		r            Report
		class        error
		exit         int
		text, object string
	}{
		{Report{OK: true}, nil, 0, "", ""},
		{Report{Bundle: "b", Signature: Signature{Status: StatusUnsigned}}, ErrUnsigned, 4, "b is not signed", ""},
		{Report{Signature: Signature{Status: StatusUntrusted, Reasons: []string{"one", "two"}}}, ErrUntrusted, 4, "the bundle is not trusted: one; two", ""},
		{Report{Bundle: "-", Signature: Signature{Status: StatusUntrusted}, Content: Content{Status: ContentDamaged}}, ErrDamaged, 3, "the bundle is damaged", ""},
		{Report{Bundle: "b", Signature: Signature{Status: StatusVerified}, Content: Content{Status: ContentIncomplete, Problems: problems, Omitted: 3}}, ErrIncomplete, 5, "b is incomplete: image x is missing, gone; and 4 more problems", "image x"},
		{Report{Bundle: "b", Signature: Signature{Status: StatusSkipped}, Content: Content{Status: ContentDamaged, Problems: problems[:1]}}, ErrDamaged, 3, "b is damaged: image x is missing, gone", "image x"},
	} {
		err := c.r.Err()
		if !errors.Is(err, c.class) || ExitClass(fmt.Errorf("around: %w", err)) != c.exit && err != nil || ExitClass(err) != c.exit {
			t.Errorf("%+v: %v", c.r, err)
		}
		var v *Verdict
		if errors.As(err, &v) && (v.Error() != c.text || v.Object() != c.object) {
			t.Errorf("text %q, object %q", v.Error(), v.Object())
		}
	}
	if ExitClass(errors.New("disk")) != exitFailed {
		t.Error("a fault of the machine is told as one of the bundle")
	}
}

// A report must stay readable when everything is wrong.
func TestProblemListBounds(t *testing.T) {
	var l problemList
	for i := range maxKept + 5 {
		l.addBlob(ProblemDamaged, digest.FromString(fmt.Sprint(i)), int64(i), 1, "")
	}
	l.addBlob(ProblemDamaged, digest.FromString("0"), 7, 1, "again")
	problems, omitted := l.finish(func(d digest.Digest) string { return string(d) }, "")
	if len(problems) != maxProblems || omitted != maxKept+5-maxProblems {
		t.Errorf("%d problems, %d omitted", len(problems), omitted)
	}
}

// Every class of package archive must come out as what it is.
func TestProblemOfError(t *testing.T) {
	layout := digest.FromString("layout")
	for _, c := range []struct {
		err    error
		d      digest.Digest
		kind   ProblemKind
		object string
	}{
		{&archive.Error{Class: archive.ErrDamaged, Member: "index.json"}, "", ProblemDamaged, "index.json"},
		{&archive.Error{Class: archive.ErrFormat}, "", ProblemDamaged, "the file"},
		{&archive.Error{Class: archive.ErrUnexpected, Member: "evil\n"}, "", ProblemUnexpected, "evil?"},
		{&archive.Error{Class: archive.ErrMissing, Digest: "sha256:x"}, "", ProblemMissing, "named sha256:x"},
		{&archive.Error{Class: archive.ErrDigest, Digest: layout, Member: "blobs/sha256/x"}, "", ProblemDamaged, "layout"},
		{&archive.Error{Class: archive.ErrDamaged, Member: "blobs/sha256/x"}, "", ProblemDamaged, "layout"},
		{errors.New("io"), "", ProblemDamaged, "the file"},
		{errors.New("io"), "sha256:y", ProblemDamaged, "named sha256:y"},
	} {
		var l problemList
		l.addError(c.err, c.d)
		problems, _ := l.finish(func(d digest.Digest) string { return "named " + string(d) }, layout)
		if len(problems) != 1 || problems[0].Kind != c.kind || problems[0].Object != c.object {
			t.Errorf("%v: %+v", c.err, problems)
		}
	}
}
