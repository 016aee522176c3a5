package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

const (
	partSuffix    = ".part"
	journalSuffix = ".part.journal"
	// defaultSync is how many bytes are written between two syncs.
	defaultSync = 64 << 20
)

// WriterOptions change how [Create] works. The zero value is right for most.
type WriterOptions struct {
	// Context stops the check of what an earlier run left behind; nil never
	// stops it.
	Context context.Context
	// Workers is how many goroutines check what an earlier run left behind;
	// 0 means one for each CPU.
	Workers int
	// Verified, if set, is told of every n bytes of an earlier run that were
	// checked. It is called from several goroutines.
	Verified func(n int)
	// SyncBytes is how much is written between two syncs to disk, and so how
	// much a loss of power may cost; 0 means 64 MiB.
	SyncBytes int64
	// Sparse leaves the file's blocks unallocated until they are written,
	// and skips the check for free space.
	Sparse bool
	// VolumeSize cuts the file into volumes of at most so many bytes, at
	// [VolumeName]; 0 makes one file at path.
	VolumeSize int64

	fs fsys // nil means the real one
}

// Writer fills the file of one [Plan]. Its methods may be called from
// several goroutines.
type Writer struct {
	path    string
	plan    *Plan
	o       WriterOptions
	fs      fsys
	part    file
	journal journal
	tools   tools
	packers packers

	resumed  int64
	written  atomic.Int64
	unsynced atomic.Int64
	syncing  atomic.Bool

	mu       sync.Mutex
	idle     *sync.Cond // signals that a blob is not busy any more
	done     []bool
	left     int           // blobs not done
	begun    map[int]*slot // raw blobs that are partly written
	busy     map[int]bool
	active   int // calls of WriteBlob and syncs under way
	closed   bool
	renamed  bool
	syncFail error // sticky: what was not synced cannot be trusted
}

// slot is how far a raw blob has got.
type slot struct {
	chunks int64     // that are in the file
	hash   hash.Hash // of the content in them
}

// Create begins, or goes on with, writing the bundle at path. The work is
// done in path+".part" with a journal in path+".part.journal"; path itself
// appears only with [Writer.Commit]. Room for the whole file is set aside at
// once. If an earlier run of the same plan was interrupted, its blobs are
// read back and checked, and need not be written again; the leftovers of
// another plan are thrown away. Errors wrap [ErrBusy] or [ErrNoSpace] where
// that is the reason.
func Create(path string, p *Plan, o WriterOptions) (*Writer, error) {
	if o.Context == nil {
		o.Context = context.Background()
	}
	if o.Workers < 1 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.SyncBytes < 1 {
		o.SyncBytes = defaultSync
	}
	if o.fs == nil {
		o.fs = osFS{}
	}
	if o.VolumeSize > 0 {
		v, err := planVolumes(p, o.VolumeSize)
		if err != nil {
			return nil, err
		}
		o.fs = &volumeFS{fsys: o.fs, path: path, v: v}
	}
	n := len(p.geo.blobs)
	w := &Writer{
		path: path, plan: p, o: o, fs: o.fs,
		done: make([]bool, n), left: n, begun: map[int]*slot{}, busy: map[int]bool{},
	}
	for i, pos := range p.geo.pos {
		if pos < 0 {
			w.done[i] = true
			w.left--
		}
	}
	w.idle = sync.NewCond(&w.mu)
	if err := w.open(); err != nil {
		return nil, err
	}
	if err := w.prepare(); err != nil {
		if errors.Is(err, ErrNoSpace) {
			w.removeEmpty()
		}
		w.closeFiles()
		return nil, err
	}
	return w, nil
}

// open opens and locks the .part file and opens its journal.
func (w *Writer) open() error {
	name := w.path + partSuffix
	for {
		part, err := w.fs.open(name, true)
		if err != nil {
			return err
		}
		if err := part.lock(); err != nil {
			_ = part.close()
			if errors.Is(err, ErrBusy) {
				return fmt.Errorf("%s is %w: another build writes the same bundle; wait for it, or give another name", name, ErrBusy)
			}
			return fmt.Errorf("%s cannot be locked: %w", name, err)
		}
		// Another run may have finished and renamed it before we had the lock.
		if w.fs.same(part, name) {
			w.part = part
			break
		}
		_ = part.close()
	}
	j, err := w.fs.open(w.path+journalSuffix, true)
	if err != nil {
		_ = w.part.close()
		return err
	}
	w.journal.f = j
	return nil
}

// removeEmpty takes away files that a build without room has made and put
// nothing into.
func (w *Writer) removeEmpty() {
	if have, _, err := w.part.size(); err != nil || have > 0 {
		return
	}
	_ = w.fs.remove(w.path + journalSuffix)
	_ = w.fs.remove(w.path + partSuffix)
}

func (w *Writer) closeFiles() {
	_ = w.journal.f.close()
	_ = w.part.close()
}

// prepare finds out what is left of an earlier run and sets room aside.
func (w *Writer) prepare() error {
	size := w.plan.Size()
	have, _, err := w.part.size()
	if err != nil {
		return err
	}
	length, _, err := w.journal.f.size()
	if err != nil {
		return err
	}
	head := journalHead(w.plan.indexDigest, size)
	l, good, known, err := readJournal(io.NewSectionReader(w.journal.f, 0, length), head, len(w.done))
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w", w.path+journalSuffix, err)
	}
	if !known || have < size {
		l = leftovers{}
		if err := w.part.truncate(0); err != nil {
			return err
		}
	}
	if err := w.reserve(size); err != nil {
		return err
	}
	if !known || have < size {
		if err := w.journal.begin(head); err != nil {
			return fmt.Errorf("%s cannot be written: %w", w.path+journalSuffix, err)
		}
		return w.fs.syncDir(w.path)
	}
	if err := w.journal.f.truncate(good); err != nil {
		return fmt.Errorf("%s cannot be written: %w", w.path+journalSuffix, err)
	}
	w.journal.off = good
	return w.resume(l)
}

// reserve makes sure that the whole file has room and gives it its length.
// The length comes last, so that a file that has it also has the room.
func (w *Writer) reserve(size int64) error {
	name := w.path + partSuffix
	if !w.o.Sparse {
		_, has, err := w.part.size()
		if err != nil {
			return err
		}
		free, err := w.fs.free(name)
		if err != nil {
			return fmt.Errorf("the free space for %s cannot be told: %w", name, err)
		}
		full := fmt.Errorf("%w for %s: %d bytes are needed, %d are available", ErrNoSpace, name, max(size-has, 0), free)
		if free >= 0 && free < size-has {
			return full
		}
		if err := w.part.allocate(size); noSpace(err) {
			return full
		} else if err != nil {
			return fmt.Errorf("room for %s cannot be set aside: %w", name, err)
		}
	}
	if err := w.part.truncate(size); err != nil {
		return fmt.Errorf("%s cannot be made %d bytes long: %w", name, size, err)
	}
	return nil
}

// Files are the paths of what Commit makes.
func (w *Writer) Files() []string {
	v, ok := w.fs.(*volumeFS)
	if !ok {
		return []string{w.path}
	}
	list := make([]string, len(v.v.list))
	for i := range list {
		list[i] = VolumeName(w.path, i+1)
	}
	return list
}

// Resumed is how many bytes of content an earlier run had left behind.
func (w *Writer) Resumed() int64 { return w.resumed }

// Done tells whether the blob is wholly written and checked.
func (w *Writer) Done(d digest.Digest) bool {
	if d == w.plan.geo.layout.digest {
		return true // Commit writes it
	}
	i, ok := w.plan.geo.find[d]
	if !ok {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.done[i]
}

// Written is how many bytes of content are in place so far, those of an
// earlier run included. It is cheap enough to be asked at any rate.
func (w *Writer) Written() int64 { return w.written.Load() }

// contentIn is how many bytes of content are in the first chunks of a raw
// member.
func (m *member) contentIn(chunks int64) int64 {
	return min(max(chunks*rawChunk-m.headLen(), 0), m.size)
}

// resume reads back what an earlier run left, in parallel.
func (w *Writer) resume(l leftovers) error {
	var todo []int
	for i := range w.done {
		if !w.done[i] && (l.done[i] || len(l.marks[i]) > 0) {
			todo = append(todo, i)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, w.o.Workers)
	for k := range errs {
		wg.Go(func() {
			for errs[k] == nil {
				j := int(next.Add(1)) - 1
				if j >= len(todo) {
					return
				}
				errs[k] = w.resumeBlob(todo[j], l.done[todo[j]], l.marks[todo[j]])
			}
		})
	}
	wg.Wait()
	w.resumed = w.written.Load()
	return errors.Join(errs...)
}

// resumeBlob reads one blob back. What is not there, or is wrong, is written
// again; only the end of the context and a broken disk are errors.
func (w *Writer) resumeBlob(i int, done bool, marks []mark) error {
	m := w.plan.geo.blob(i)
	if done {
		err := w.tools.verifyMember(w.o.Context, w.part, m, w.o.Verified)
		var e *Error
		switch {
		case err == nil:
			w.finish(i, m.size)
			return nil
		case !errors.As(err, &e):
			return err
		}
		return w.journal.append("reset %d", i)
	}
	if m.isPacked() {
		return nil
	}
	s, err := w.resumePrefix(m, marks)
	if err != nil || s == nil {
		return err
	}
	w.written.Add(m.contentIn(s.chunks))
	w.mu.Lock()
	w.begun[i] = s
	w.mu.Unlock()
	return nil
}

// resumePrefix hashes a raw blob up to the last mark that its bytes agree
// with; nil if they agree with none.
func (w *Writer) resumePrefix(m member, marks []mark) (*slot, error) {
	d := w.tools.decoder(newSourceAt(w.part, m.pos, m.encodedLen()), m).(*rawDecoder)
	defer d.release()
	var good *slot
	for k := int64(1); len(marks) > 0; k++ {
		if err := w.o.Context.Err(); err != nil {
			return nil, err
		}
		parts, err := d.next()
		var e *Error
		if errors.As(err, &e) || err == io.EOF {
			return good, nil
		}
		if err != nil {
			return nil, err
		}
		if w.o.Verified != nil {
			for _, p := range parts {
				w.o.Verified(len(p))
			}
		}
		if marks[0].chunks != k {
			continue
		}
		if string(d.hash.Sum(nil)) != marks[0].sum {
			return good, nil
		}
		c, err := d.hash.(hash.Cloner).Clone()
		if err != nil {
			return nil, err
		}
		good = &slot{chunks: k, hash: c}
		marks = marks[1:]
	}
	return good, nil
}

// finish marks a blob as done. added is the content that was not counted yet.
func (w *Writer) finish(i int, added int64) {
	w.written.Add(added)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done[i] = true
	w.left--
	delete(w.begun, i)
}

func newSlot() *slot { return &slot{hash: sha256.New()} }
