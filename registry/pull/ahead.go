package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"bundle/registry/wire"
)

// Ahead puts connections to use that would stand idle: they fetch what the
// blobs that are still being read need further on, by HTTP ranges. So the last
// and largest blobs of a job do not have to come through one connection each.
// What came early waits in memory, at most 64 MiB of all blobs together.
//
// The zero value is ready, and does nothing until connections are lent to it.
type Ahead struct {
	mu    sync.Mutex
	idle  int // connections
	used  int // segments in memory
	spare [][]byte
}

const (
	// segmentMost and segmentLeast bound what one request asks for: less is
	// mostly waiting, more makes the blob wait for its slowest part.
	segmentMost  = 8 << 20
	segmentLeast = 1 << 20
	// maxSegments bounds those that are in memory.
	maxSegments = 8
)

// Lend says that n connections have nothing else to do from now on.
func (a *Ahead) Lend(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.idle += n
}

// take makes a segment of something of which left bytes are not spoken for.
func (a *Ahead) take(from, left int64) *segment {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.share(left)
	if a.idle < 1 || a.used >= maxSegments || left < n {
		return nil
	}
	a.idle--
	a.used++
	var buf []byte
	if k := len(a.spare); k > 0 {
		buf, a.spare = a.spare[k-1], a.spare[:k-1]
	} else {
		buf = make([]byte, segmentMost)
	}
	return &segment{from: from, buf: buf[:n], done: make(chan struct{})}
}

// share is how long a segment should be so that all end at the same time.
func (a *Ahead) share(left int64) int64 {
	return min(max(left/int64(max(a.idle, 0)+1), segmentLeast), segmentMost)
}

func (a *Ahead) shareOf(left int64) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.share(left)
}

func (a *Ahead) free(s *segment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.used--
	a.spare = append(a.spare, s.buf[:segmentMost])
}

// segment is a piece of a blob that is fetched before its turn.
type segment struct {
	from int64
	buf  []byte
	done chan struct{}
	err  error // when done
}

func (s *segment) end() int64 { return s.from + int64(len(s.buf)) }

// aheadReader reads a blob from one connection until it comes to what others
// fetched meanwhile. If they fail, that one connection goes on, with all its
// patience; it alone decides what is an error.
type aheadReader struct {
	stream *blobReader
	ahead  *Ahead
	ctx    context.Context // of the segments
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ended  chan struct{} // some segment is done

	segments []*segment // side by side, in order
	alone    bool       // the others failed
	lent     bool       // the stream has no connection now, and lent it
}

func newAheadReader(stream *blobReader, a *Ahead) *aheadReader {
	r := &aheadReader{stream: stream, ahead: a, ended: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(stream.ctx)
	return r
}

func (r *aheadReader) Read(p []byte) (int, error) {
	if r.stream.err != nil || len(p) == 0 {
		return r.stream.Read(p)
	}
	r.more()
	for len(r.segments) > 0 {
		s := r.segments[0]
		if left := s.from - r.stream.pos; left > 0 {
			return r.stream.Read(p[:min(int64(len(p)), left)])
		}
		select {
		case <-s.done:
		case <-r.ended:
			r.more() // there may be a connection again
			continue
		case <-r.ctx.Done():
			return r.stream.Read(p)
		}
		if s.err != nil {
			r.giveUp()
			break
		}
		r.stream.leave()
		if !r.lent {
			r.lent = true
			r.ahead.Lend(1)
		}
		n := copy(p, s.buf[r.stream.pos-s.from:])
		r.stream.pos += int64(n)
		if r.stream.pos == s.end() {
			r.segments = r.segments[1:]
			r.ahead.free(s)
		}
		return n, nil
	}
	if r.lent && r.stream.pos < r.stream.size {
		r.lent = false
		r.ahead.Lend(-1)
	}
	return r.stream.Read(p)
}

// more begins as many segments as there are connections for.
func (r *aheadReader) more() {
	for !r.alone && !r.stream.noRange {
		from := r.stream.pos
		if k := len(r.segments); k > 0 {
			from = r.segments[k-1].end()
		} else if !r.lent {
			// The stream brings what comes first.
			from += r.ahead.shareOf(r.stream.size - from)
		}
		s := r.ahead.take(from, r.stream.size-from)
		if s == nil {
			return
		}
		r.segments = append(r.segments, s)
		r.wg.Go(func() {
			s.err = r.stream.part(r.ctx, s.from, s.buf)
			r.ahead.Lend(1)
			close(s.done)
			select {
			case r.ended <- struct{}{}:
			default:
			}
		})
	}
}

// giveUp ends and forgets all segments.
func (r *aheadReader) giveUp() {
	r.alone = true
	r.cancel()
	r.wg.Wait()
	for _, s := range r.segments {
		r.ahead.free(s)
	}
	r.segments = nil
}

func (r *aheadReader) Close() error {
	r.giveUp()
	if r.lent {
		r.lent = false
		r.ahead.Lend(-1)
	}
	return r.stream.Close()
}

// leave drops the connection, as what follows came by others.
func (b *blobReader) leave() {
	if b.body != nil {
		_ = b.body.Close()
		b.body = nil
	}
	b.gained, b.tries = 0, 0
}

var errNoPart = errors.New("the part that was asked for is not what came")

// part fills p with what stands at from, in one request. It does not try
// again: what fails here comes by the stream.
func (b *blobReader) part(ctx context.Context, from int64, p []byte) error {
	last := from + int64(len(p)) - 1
	resp, err := b.client.Do(ctx, b.target, wire.Request{
		Method: http.MethodGet,
		Path:   "blobs/" + string(b.digest),
		Query:  b.query,
		Header: http.Header{"Accept-Encoding": {"identity"}, "Range": {fmt.Sprintf("bytes=%d-%d", from, last)}},
		Accept: []int{http.StatusOK, http.StatusPartialContent},
	})
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // nothing was written to it
	want := []string{fmt.Sprintf("bytes %d-%d/%d", from, last, b.size), fmt.Sprintf("bytes %d-%d/*", from, last)}
	if resp.StatusCode != http.StatusPartialContent || !slices.Contains(want, resp.Header.Get("Content-Range")) {
		return errNoPart
	}
	_, err = io.ReadFull(resp.Body, p)
	return err
}
