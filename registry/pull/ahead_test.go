package pull

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// rangeServer serves one blob, ranges included.
type rangeServer struct {
	blob []byte
	// part, if set, may answer a request for a closed range itself.
	part func(w http.ResponseWriter, r *http.Request) bool
	// whole, if set, is called before bytes from pos on go out to a request
	// for all that follows some byte.
	whole func(pos int)

	mu    sync.Mutex
	parts []string
}

func (s *rangeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/blobs/") {
		return
	}
	h := r.Header.Get("Range")
	if h != "" && !strings.HasSuffix(h, "-") {
		s.mu.Lock()
		s.parts = append(s.parts, h)
		s.mu.Unlock()
		if s.part != nil && s.part(w, r) {
			return
		}
	} else if s.whole != nil {
		from := 0
		if h != "" {
			_, _ = fmt.Sscanf(h, "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.blob)-1, len(s.blob)))
			w.WriteHeader(http.StatusPartialContent)
		}
		for ; from < len(s.blob); from += 64 << 10 {
			s.whole(from)
			if _, err := w.Write(s.blob[from:min(from+64<<10, len(s.blob))]); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.blob))
}

func (s *rangeServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.parts)
}

// readAhead reads a blob with the help of n idle connections, and makes sure
// that all of them, and all memory, are given back.
func readAhead(t *testing.T, s *rangeServer, n int, offset int64) ([]byte, error) {
	t.Helper()
	var a Ahead
	a.Lend(n)
	r := newTestRemote(t, RemoteOptions{Ahead: &a})
	body, err := r.Blob(t.Context(), mustRef(t, serve(t, s)+"/app/web:1"), blobDesc(s.blob), offset)
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(iotest.HalfReader(body))
	if cerr := body.Close(); err == nil {
		err = cerr
	}
	if a.idle != n || a.used != 0 {
		t.Errorf("%d of %d connections came back, %d segments are kept", a.idle, n, a.used)
	}
	return got, err
}

// The connection that reads the blob is held up until another has brought
// what comes later.
func TestIdleConnectionsBringWhatComesLater(t *testing.T) {
	brought := make(chan struct{})
	var once sync.Once
	s := &rangeServer{blob: noise(7, 20<<20)}
	s.part = func(w http.ResponseWriter, r *http.Request) bool {
		once.Do(func() { close(brought) })
		return false
	}
	s.whole = func(pos int) {
		if pos > 0 {
			<-brought
		}
	}
	got, err := readAhead(t, s, 3, 0)
	if err != nil || !bytes.Equal(got, s.blob) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if s.asked() < 3 {
		t.Errorf("only %q were asked for", s.parts)
	}
}

func TestAheadGivesTheBlobWhateverTheServerDoes(t *testing.T) {
	blob := noise(8, 12<<20)
	fail := func(status int) func(w http.ResponseWriter, r *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			return true
		}
	}
	var n atomic.Int64
	for name, part := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"as it should": nil,
		"no ranges": func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = w.Write(blob)
			return true
		},
		"another range": func(w http.ResponseWriter, r *http.Request) bool {
			r.Header.Set("Range", "bytes=0-99")
			return false
		},
		"another length": func(w http.ResponseWriter, r *http.Request) bool {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(append(blob[:len(blob):len(blob)], 1)))
			return true
		},
		"it ends early": func(w http.ResponseWriter, r *http.Request) bool {
			var from, to int
			_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, len(blob)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(blob[from : from+100])
			panic(http.ErrAbortHandler)
		},
		"only the third": func(w http.ResponseWriter, r *http.Request) bool {
			return n.Add(1) == 3 && fail(http.StatusNotFound)(w, r)
		},
		"denied": fail(http.StatusForbidden),
	} {
		t.Run(name, func(t *testing.T) {
			for _, idle := range []int{0, 1, 7} {
				s := &rangeServer{blob: blob, part: part}
				offset := int64(idle * 1000)
				got, err := readAhead(t, s, idle, offset)
				if err != nil || !bytes.Equal(got, blob[offset:]) {
					t.Fatalf("%d idle: %d bytes, %v", idle, len(got), err)
				}
				if asked := s.asked(); (asked > 0) != (idle > 0) || part != nil && asked > 16 {
					t.Errorf("%d idle: %d ranges were asked for", idle, asked)
				}
			}
		})
	}
}

// Wrong bytes in a part are as wrong as any: the reader hands them on, and who
// hashes them finds out. A reader that is closed early leaves nothing behind.
func TestAheadIsClosedEarly(t *testing.T) {
	hold := make(chan struct{})
	s := &rangeServer{blob: noise(9, 8<<20)}
	s.part = func(w http.ResponseWriter, r *http.Request) bool {
		<-hold
		return false
	}
	var a Ahead
	a.Lend(4)
	r := newTestRemote(t, RemoteOptions{Ahead: &a})
	addr := serve(t, s)
	defer close(hold)
	body, err := r.Blob(t.Context(), mustRef(t, addr+"/app/web:1"), blobDesc(s.blob), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
	if a.idle != 4 || a.used != 0 {
		t.Errorf("%d connections came back, %d segments are kept", a.idle, a.used)
	}
	if _, err := body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed blob can be read")
	}
}

// Several blobs at once share connections and memory.
func TestAheadIsShared(t *testing.T) {
	var a Ahead
	r := newTestRemote(t, RemoteOptions{Ahead: &a})
	var wg sync.WaitGroup
	for i := range 4 {
		s := &rangeServer{blob: noise(uint64(i), 9<<20)}
		addr := serve(t, s)
		wg.Go(func() {
			got, err := fetch(t, r, addr, s.blob, 0)
			if err != nil || !bytes.Equal(got, s.blob) {
				t.Errorf("blob %d: %d bytes, %v", i, len(got), err)
			}
			a.Lend(1)
		})
	}
	wg.Wait()
	if a.idle != 4 || a.used != 0 || len(a.spare) > maxSegments {
		t.Errorf("%d connections, %d segments in use, %d spare", a.idle, a.used, len(a.spare))
	}
}
