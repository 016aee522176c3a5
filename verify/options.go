package verify

import (
	"sync/atomic"

	"bundle/archive"
)

// Options say what to check and how.
type Options struct {
	// Policy judges the signatures. It must be set unless SkipSignature is:
	// no policy trusts nothing.
	Policy Policy
	// SkipSignature checks the content only. A bundle that passes is then
	// what somebody built, and nobody knows who.
	SkipSignature bool
	// Detached are signatures that lie beside the bundle. They may be in any
	// spelling.
	Detached []Evidence
	// Jobs bounds how many blobs are hashed at once; 0 means one for each
	// CPU. Stream hashes one at a time.
	Jobs int
	// Progress, if set, is kept up to date while the content is read.
	Progress *Progress
	// Beside are open files that [Stream] takes from what the stream, a
	// delta, leaves out. They need not be loaded or trusted.
	Beside []*archive.Reader
	// Bundle is the name in the report; empty means the path, or "-".
	Bundle string

	// keep replaces maxKeptBytes in tests.
	keep int64
}

// Progress counts bytes of content. Its methods may be called from any
// goroutine at any time.
type Progress struct {
	done, total atomic.Int64
	item        atomic.Pointer[string]
}

// Done is how many bytes were read.
func (p *Progress) Done() int64 { return p.done.Load() }

// Total is how many bytes there are; 0 until that is known.
func (p *Progress) Total() int64 { return p.total.Load() }

// Item names the object that was begun last.
func (p *Progress) Item() string {
	if s := p.item.Load(); s != nil {
		return *s
	}
	return ""
}

func (p *Progress) start(item string) {
	if p != nil {
		p.item.Store(&item)
	}
}

func (p *Progress) expect(n int64) {
	if p != nil {
		p.total.Add(n)
	}
}

// add has the signature of archive's hook.
func (p *Progress) add(n int) {
	if p != nil {
		p.done.Add(int64(n))
	}
}
