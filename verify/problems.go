package verify

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/verify/walk"
)

// problemList collects problems from several goroutines. Blobs are named only
// at the end, when it is known who needs them.
type problemList struct {
	mu   sync.Mutex
	list []Problem
	// unnamed are the positions of problems whose object is a blob.
	unnamed []int
	seen    map[problemKey]bool
	omitted int
}

type problemKey struct {
	kind   ProblemKind
	object string
	digest digest.Digest
	file   string
	offset int64
}

// maxKept bounds memory; what a report shows is sorted out of these.
const maxKept = 64 * maxProblems

func (l *problemList) add(p Problem) { l.put(p, false) }

// addBlob adds a problem of a blob, to be named later.
func (l *problemList) addBlob(kind ProblemKind, d digest.Digest, offset, length int64, reason string) {
	l.put(Problem{Kind: kind, Digest: d, Offset: offset, Length: length, Reason: reason}, true)
}

func (l *problemList) put(p Problem, unnamed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := problemKey{p.Kind, p.Object, p.Digest, p.File, p.Offset}
	if p.Digest != "" {
		// A blob is damaged or missing once, however it was found.
		key.offset = 0
	}
	if l.seen[key] {
		return
	}
	if len(l.list) >= maxKept {
		l.omitted++
		return
	}
	if l.seen == nil {
		l.seen = map[problemKey]bool{}
	}
	l.seen[key] = true
	if unnamed {
		l.unnamed = append(l.unnamed, len(l.list))
	}
	l.list = append(l.list, p)
}

// addError turns an error about the bundle into a problem and reports whether
// it was one. Errors that have no class, such as those of a bad disk, count
// as damage: what cannot be read is not there.
func (l *problemList) addError(err error, d digest.Digest) {
	var e *archive.Error
	if !errors.As(err, &e) {
		l.put(Problem{Kind: ProblemDamaged, Object: objectIf(d == "", "the file"), Digest: d, Reason: "it cannot be read: " + printable(err.Error())}, d != "")
		return
	}
	p := Problem{Kind: ProblemDamaged, Digest: e.Digest, File: e.File, Offset: e.Offset, Length: e.Length, Reason: printable(e.Reason)}
	if p.Digest == "" {
		p.Digest = d
	}
	switch e.Class {
	case archive.ErrMissing:
		p.Kind = ProblemMissing
	case archive.ErrUnexpected:
		p.Kind = ProblemUnexpected
	case archive.ErrDigest:
		p.Reason = cmp.Or(p.Reason, "its bytes do not hash to its digest")
	case archive.ErrFormat:
		p.Reason = cmp.Or(p.Reason, "this is not a bundle")
	}
	if p.Digest == "" {
		p.Object = memberName(e.Member)
	}
	l.put(p, p.Digest != "")
}

// damagedBlobs gives the blobs that are known to be damaged.
func (l *problemList) damagedBlobs() map[digest.Digest]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	damaged := map[digest.Digest]bool{}
	for _, i := range l.unnamed {
		if l.list[i].Kind == ProblemDamaged {
			damaged[l.list[i].Digest] = true
		}
	}
	return damaged
}

func objectIf(cond bool, name string) string {
	if cond {
		return name
	}
	return ""
}

// memberName gives the object of a member that is no listed blob.
func memberName(member string) string {
	if member == "" {
		return "the file"
	}
	if strings.HasPrefix(member, "blobs/") {
		return "layout"
	}
	return printable(member)
}

// finish names and sorts all problems.
func (l *problemList) finish(object func(digest.Digest) string, layout digest.Digest) (problems []Problem, omitted int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, i := range l.unnamed {
		p := &l.list[i]
		if p.Digest == layout {
			p.Object = "layout"
		} else {
			p.Object = object(p.Digest)
		}
	}
	// What concerns the whole comes first, what is missing last.
	rank := func(p Problem) int {
		switch {
		case p.Kind == ProblemMissing:
			return 3
		case p.Kind == ProblemUnexpected:
			return 2
		case p.Digest == "":
			return 0
		}
		return 1
	}
	problems = slices.Clone(l.list)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Digest, b.Digest))
	})
	if problems == nil {
		problems = []Problem{}
	}
	omitted = l.omitted
	if n := len(problems); n > maxProblems {
		problems, omitted = problems[:maxProblems], omitted+n-maxProblems
	}
	return problems, omitted
}

// status sums problems up.
func statusOf(problems []Problem) ContentStatus {
	status := ContentWhole
	for _, p := range problems {
		if p.Kind != ProblemMissing {
			return ContentDamaged
		}
		status = ContentIncomplete
	}
	return status
}

// reasonOf is the text of an error without the class that the problem's kind
// says already.
func reasonOf(err error) string {
	return printable(strings.TrimPrefix(err.Error(), walk.ErrMalformed.Error()+": "))
}
