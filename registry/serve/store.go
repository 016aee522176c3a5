package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

// store is the blobs of all bundles together. A blob that several bundles hold
// is one blob with several sources: it is checked once, and a source that
// turns out damaged gives way to the next.
type store struct {
	bundles []Bundle
	hasher  hasher
	buffers sync.Pool // *[]byte of chunkSize

	mu     sync.Mutex
	states map[digest.Digest]*state
	// checks bounds how many whole blobs are read at once only to check them.
	checks chan struct{}

	onDamage func(bundle string, d digest.Digest, err error)
	damaged  atomic.Int64
	verified atomic.Int64
}

func newStore(bundles []Bundle, onDamage func(string, digest.Digest, error)) *store {
	s := &store{
		bundles:  bundles,
		hasher:   newHasher(),
		states:   map[digest.Digest]*state{},
		checks:   make(chan struct{}, runtime.GOMAXPROCS(0)),
		onDamage: onDamage,
	}
	s.buffers.New = func() any { b := make([]byte, chunkSize); return &b }
	return s
}

// size tells whether any bundle holds d.
func (s *store) size(d digest.Digest) (int64, bool) {
	for _, b := range s.bundles {
		if n, ok := b.Content.Size(d); ok {
			return n, true
		}
	}
	return 0, false
}

// read gives a whole checked blob of at most limit bytes.
func (s *store) read(d digest.Digest, limit int64) ([]byte, error) {
	var first error
	for _, b := range s.bundles {
		if _, ok := b.Content.Size(d); !ok {
			continue
		}
		raw, err := b.Content.ReadBlob(d, limit)
		if err == nil {
			return raw, nil
		}
		s.report(b.Name, d, err)
		if first == nil {
			first = fmt.Errorf("%s in %s: %w", d, b.Name, err)
		}
	}
	if first == nil {
		first = fmt.Errorf("%s is %w", d, ErrUnknown)
	}
	return nil, first
}

func (s *store) report(bundle string, d digest.Digest, err error) {
	s.damaged.Add(1)
	if s.onDamage != nil {
		s.onDamage(bundle, d, err)
	}
}

// emptyDigest is the SHA-256 of nothing.
const emptyDigest digest.Digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// state is what the server knows about the bytes of one blob.
type state struct {
	// sums are the keyed hashes of the chunks of a blob whose SHA-256 was
	// right; nil until then. 8 bytes per MiB.
	sums atomic.Pointer[[]uint64]
	// hashing is set while a reader makes the SHA-256 on its way.
	hashing atomic.Bool

	mu     sync.Mutex
	flight *flight
	bad    map[int]bool // sources that gave wrong bytes
}

type flight struct {
	done chan struct{}
	err  error
}

func (s *store) state(d digest.Digest) *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.states[d]
	if st == nil {
		st = &state{}
		s.states[d] = st
	}
	return st
}

// open gives a reader of the blob. The reader checks what it gives out; see
// [reader].
func (s *store) open(d digest.Digest) (*reader, error) {
	size, ok := s.size(d)
	if !ok {
		return nil, fmt.Errorf("%s is %w", d, ErrUnknown)
	}
	if size == 0 && d != emptyDigest {
		// There is no last chunk to hold back.
		return nil, fmt.Errorf("%s: %w: it is empty", d, ErrDamaged)
	}
	return &reader{s: s, d: d, size: size, st: s.state(d)}, nil
}

// source is a blob in one bundle.
type source struct {
	Blob
	bundle string
	index  int
}

// sources opens the blob in every bundle that has it, those with wrong bytes
// last.
func (s *store) sources(d digest.Digest, st *state, size int64) ([]source, error) {
	var good, bad []source
	var first error
	st.mu.Lock()
	defer st.mu.Unlock()
	for i, b := range s.bundles {
		if n, ok := b.Content.Size(d); !ok || n != size {
			continue
		}
		blob, err := b.Content.Open(d)
		if err == nil && blob.Size() != size {
			err = fmt.Errorf("%w: %d bytes instead of %d", ErrDamaged, blob.Size(), size)
		}
		if err != nil {
			if first == nil {
				first = fmt.Errorf("%s in %s: %w", d, b.Name, err)
			}
			continue
		}
		if src := (source{Blob: blob, bundle: b.Name, index: i}); st.bad[i] {
			bad = append(bad, src)
		} else {
			good = append(good, src)
		}
	}
	if all := append(good, bad...); len(all) > 0 {
		return all, nil
	}
	if first == nil {
		first = fmt.Errorf("%s is %w", d, ErrUnknown)
	}
	return nil, first
}

func (st *state) setBad(i int, bad bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !bad {
		delete(st.bad, i)
		return
	}
	if st.bad == nil {
		st.bad = map[int]bool{}
	}
	st.bad[i] = true
}

// checking tells whether the whole blob is being checked.
func (st *state) checking() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.flight != nil
}

// verify reads the whole blob and checks its SHA-256, unless that was done
// before. Callers that come while it is under way wait for the same answer.
func (s *store) verify(ctx context.Context, d digest.Digest) error {
	size, ok := s.size(d)
	if !ok {
		return fmt.Errorf("%s is %w", d, ErrUnknown)
	}
	st := s.state(d)
	if st.sums.Load() != nil {
		return nil
	}
	f := s.check(d, st, size)
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// check begins to check a whole blob, unless that is under way.
func (s *store) check(d digest.Digest, st *state, size int64) *flight {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.flight != nil {
		return st.flight
	}
	f := &flight{done: make(chan struct{})}
	st.flight = f
	// Not bound to any caller: others may be waiting for the answer, and the
	// next one will want it too.
	go func() {
		s.checks <- struct{}{}
		if st.sums.Load() == nil {
			f.err = s.verifySources(d, st, size)
		}
		<-s.checks
		st.mu.Lock()
		st.flight = nil
		st.mu.Unlock()
		close(f.done)
	}()
	return f
}

func (s *store) verifySources(d digest.Digest, st *state, size int64) error {
	all, err := s.sources(d, st, size)
	if err != nil {
		return err
	}
	var first error
	for _, src := range all {
		if err := s.verifySource(d, st, src); err == nil {
			return nil
		} else if first == nil {
			first = err
		}
	}
	return first
}

func (s *store) verifySource(d digest.Digest, st *state, src source) error {
	buf := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buf)
	sum := newSum(src.Size())
	for off := int64(0); off < src.Size(); off += chunkSize {
		b := (*buf)[:min(chunkSize, src.Size()-off)]
		if err := readFull(src, b, off); err != nil {
			return s.damage(d, st, src, err)
		}
		sum.add(s.hasher, b)
	}
	if !sum.matches(d) {
		return s.damage(d, st, src, fmt.Errorf("%w: its SHA-256 is %s", ErrDamaged, sum.digest()))
	}
	s.accept(st, src, sum.chunks)
	return nil
}

// accept remembers the chunk hashes of a blob whose SHA-256 was right.
func (s *store) accept(st *state, src source, chunks []uint64) {
	st.sums.Store(&chunks)
	st.setBad(src.index, false)
	s.verified.Add(1)
}

// damage remembers that src gave wrong bytes and gives the error to return.
func (s *store) damage(d digest.Digest, st *state, src source, err error) error {
	st.setBad(src.index, true)
	err = fmt.Errorf("%s in %s: %w", d, src.bundle, err)
	s.report(src.bundle, d, err)
	return err
}

// readFull fills b from off. A blob that ends early is damaged.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends after %d bytes", ErrDamaged, off+int64(n))
	}
	return err
}
