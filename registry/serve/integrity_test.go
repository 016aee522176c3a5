package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// oneLayer serves an image quay.io/a/one:1 with one layer of content.
func oneLayer(t testing.TB, content []byte) (*fake, digest.Digest) {
	t.Helper()
	f := newFake("one.tar.zst")
	f.entry(t, archive.KindImage, "quay.io/a/one:1", ocispec.MediaTypeImageManifest, f.image(content))
	return f, digest.FromBytes(content)
}

func TestRanges(t *testing.T) {
	const size = 3*chunkSize + 17
	content := bulk(1, size)
	f, d := oneLayer(t, content)
	for _, c := range []struct {
		name, header string
		status       int
		from, to     int // of the body, where the answer has one
	}{
		{"none", "", 200, 0, size},
		{"whole", "bytes=0-", 206, 0, size},
		{"first byte", "bytes=0-0", 206, 0, 1},
		{"last byte", "bytes=-1", 206, size - 1, size},
		{"suffix", "bytes=-20", 206, size - 20, size},
		{"suffix beyond", fmt.Sprintf("bytes=-%d", size+5), 206, 0, size},
		{"end beyond", fmt.Sprintf("bytes=10-%d", size+5), 206, 10, size},
		{"within a chunk", "bytes=100-199", 206, 100, 200},
		{"across chunks", fmt.Sprintf("bytes=%d-%d", chunkSize-1, 2*chunkSize), 206, chunkSize - 1, 2*chunkSize + 1},
		{"a chunk", fmt.Sprintf("bytes=%d-%d", chunkSize, 2*chunkSize-1), 206, chunkSize, 2 * chunkSize},
		{"resume", fmt.Sprintf("bytes=%d-", 2*chunkSize+5), 206, 2*chunkSize + 5, size},
		{"several", "bytes=0-1,4-5", 200, 0, size},
		{"beyond", fmt.Sprintf("bytes=%d-", size), 416, 0, 0},
		{"backwards", "bytes=5-4", 416, 0, 0},
		{"nonsense", "bytes=x-y", 416, 0, 0},
		{"other unit", "chunks=0-1", 200, 0, size},
	} {
		for _, state := range []string{"unread", "read before"} {
			t.Run(c.name+", "+state, func(t *testing.T) {
				s, hs := start(t, Options{}, f)
				if state == "read before" {
					if err := s.store.verify(t.Context(), d); err != nil {
						t.Fatal(err)
					}
				}
				var header []string
				if c.header != "" {
					header = []string{"Range", c.header}
				}
				resp, body := get(t, hs, "GET", "/v2/a/one/blobs/"+d.String(), header...)
				if resp.StatusCode != c.status {
					t.Fatalf("status %d, want %d", resp.StatusCode, c.status)
				}
				if c.status == 416 {
					return
				}
				if !bytes.Equal(body, content[c.from:c.to]) {
					t.Errorf("%d bytes, not those from %d to %d", len(body), c.from, c.to)
				}
				if c.status == 206 {
					if got, want := resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, size); got != want {
						t.Errorf("Content-Range %q, want %q", got, want)
					}
				}
				if resp.Header.Get("Accept-Ranges") != "bytes" || resp.Header.Get("Docker-Content-Digest") != d.String() {
					t.Errorf("headers: %v", resp.Header)
				}
			})
		}
	}
}

func TestBlobConditions(t *testing.T) {
	content := bulk(2, 1000)
	f, d := oneLayer(t, content)
	_, hs := start(t, Options{}, f)
	url := "/v2/a/one/blobs/" + d.String()
	tag := `"` + d.String() + `"`
	if resp, body := get(t, hs, "HEAD", url); resp.StatusCode != 200 || resp.ContentLength != 1000 || len(body) != 0 || resp.Header.Get("Etag") != tag {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, body := get(t, hs, "GET", url, "If-None-Match", tag); resp.StatusCode != 304 || len(body) != 0 {
		t.Errorf("If-None-Match: %d", resp.StatusCode)
	}
	if resp, body := get(t, hs, "GET", url, "If-None-Match", `"other"`); resp.StatusCode != 200 || len(body) != 1000 {
		t.Errorf("If-None-Match of another: %d", resp.StatusCode)
	}
	if resp, body := get(t, hs, "GET", url, "If-Range", tag, "Range", "bytes=5-9"); resp.StatusCode != 206 || !bytes.Equal(body, content[5:10]) {
		t.Errorf("If-Range: %d", resp.StatusCode)
	}
	if resp, body := get(t, hs, "GET", url, "If-Range", `"other"`, "Range", "bytes=5-9"); resp.StatusCode != 200 || !bytes.Equal(body, content) {
		t.Errorf("If-Range of another: %d", resp.StatusCode)
	}
}

// fetch reads a blob without failing the test, and tells whether the client
// believes to have all of it.
func fetch(url string, header ...string) (body []byte, status int, whole bool) {
	req, err := http.NewRequestWithContext(context.Background(), "GET", url, nil)
	if err != nil {
		return nil, 0, false
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	return body, resp.StatusCode, err == nil && resp.StatusCode < 300
}

func TestDamagedBlobIsNeverDeliveredWhole(t *testing.T) {
	for _, size := range []int{1, 1000, chunkSize, chunkSize + 1, 5*chunkSize + 3} {
		for _, at := range []int{0, size / 2, size - 1} {
			t.Run(fmt.Sprintf("byte %d of %d", at, size), func(t *testing.T) {
				content := bulk(3, size)
				f, d := oneLayer(t, content)
				f.spoil(d, at)
				var mu sync.Mutex
				told := 0
				_, hs := start(t, Options{OnDamage: func(b string, got digest.Digest, err error) {
					mu.Lock()
					defer mu.Unlock()
					told++
					if b != "one.tar.zst" || got != d || !errors.Is(err, ErrDamaged) {
						t.Errorf("told of %s in %s: %v", got, b, err)
					}
				}}, f)
				url := hs.URL + "/v2/a/one/blobs/" + d.String()
				for range 2 { // the second time from what the first left behind
					if body, status, whole := fetch(url); whole {
						t.Errorf("status %d and %d bytes, as if all was well", status, len(body))
					}
					if body, status, whole := fetch(url, "Range", "bytes=0-0"); whole {
						t.Errorf("a range: status %d and %d bytes, as if all was well", status, len(body))
					}
				}
				mu.Lock()
				defer mu.Unlock()
				if told == 0 {
					t.Error("nobody was told")
				}
			})
		}
	}
}

func TestFileThatChangesAfterItWasCheckedIsCaught(t *testing.T) {
	const size = 4*chunkSize + 100
	content := bulk(4, size)
	for _, at := range []int{0, chunkSize + 5, size - 1} {
		f, d := oneLayer(t, content)
		_, hs := start(t, Options{}, f)
		url := hs.URL + "/v2/a/one/blobs/" + d.String()
		if body, _, whole := fetch(url); !whole || !bytes.Equal(body, content) {
			t.Fatal("the good blob did not come")
		}
		f.spoil(d, at)
		if _, _, whole := fetch(url, "Range", fmt.Sprintf("bytes=%d-%d", at, at)); whole {
			t.Errorf("byte %d was given out after it changed", at)
		}
		if _, _, whole := fetch(url); whole {
			t.Errorf("the blob was given out after byte %d changed", at)
		}
		f.set(d, content) // the medium was put back
		if body, _, whole := fetch(url); !whole || !bytes.Equal(body, content) {
			t.Errorf("the mended blob does not come")
		}
	}
}

func TestTruncatedBlobIsCaught(t *testing.T) {
	content := bulk(5, 2*chunkSize)
	f, d := oneLayer(t, content)
	s := newServer(t, Options{}, f)
	r, err := s.store.open(d)
	if err != nil {
		t.Fatal(err)
	}
	f.set(d, content[:chunkSize+1])
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrUnknown) {
		t.Errorf("err = %v", err)
	}
	f.set(d, nil)
	if _, err := s.store.open(d); !errors.Is(err, ErrDamaged) {
		t.Errorf("an emptied blob: %v", err)
	}
}

func TestDamagedManifestIsNotServed(t *testing.T) {
	f := newFake("b")
	bad := f.tagged(t, "quay.io/a/one:bad", "bad")
	f.tagged(t, "quay.io/a/one:good", "good")
	f.spoil(bad.Digest, 10)
	_, hs := start(t, Options{}, f)
	if resp, _ := get(t, hs, "GET", "/v2/a/one/manifests/bad", "Accept", acceptAll); resp.StatusCode < 400 {
		t.Errorf("the damaged manifest: %d", resp.StatusCode)
	}
	// It must not take its neighbours along.
	if err := pull(t, hs.URL, "a/one:good"); err != nil {
		t.Error(err)
	}
}

func pull(t testing.TB, url, ref string) error {
	t.Helper()
	repo, tag, _ := strings.Cut(ref, ":")
	body, status, whole := fetch(url+"/v2/"+repo+"/manifests/"+tag, "Accept", acceptAll)
	if !whole {
		return fmt.Errorf("manifest of %s: %d", ref, status)
	}
	for _, l := range digestsIn(body) {
		if b, status, whole := fetch(url + "/v2/" + repo + "/blobs/" + l); !whole || digest.FromBytes(b).String() != l {
			return fmt.Errorf("blob %s of %s: %d", l, ref, status)
		}
	}
	return nil
}

func digestsIn(b []byte) []string {
	var all []string
	for _, f := range strings.Split(string(b), `"`) {
		if strings.HasPrefix(f, "sha256:") {
			all = append(all, f)
		}
	}
	return all
}

func TestRangeReadsOfAnUncheckedBlobCheckItOnce(t *testing.T) {
	const size = 8 * chunkSize
	content := bulk(6, size)
	f, d := oneLayer(t, content)
	s, hs := start(t, Options{}, f)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			from := i * chunkSize
			body, _, whole := fetch(hs.URL+"/v2/a/one/blobs/"+d.String(), "Range", fmt.Sprintf("bytes=%d-%d", from, from+9))
			if !whole || !bytes.Equal(body, content[from:from+10]) {
				t.Errorf("range from %d is wrong", from)
			}
		})
	}
	wg.Wait()
	if n := s.store.verified.Load(); n != 1 {
		t.Errorf("the blob was hashed %d times", n)
	}
	if n := f.bytes.Load(); n > size+8*chunkSize {
		t.Errorf("%d bytes read for eight ranges of a blob of %d", n, size)
	}
}

func TestConcurrentFirstReads(t *testing.T) {
	content := bulk(7, 6*chunkSize+1)
	f, d := oneLayer(t, content)
	_, hs := start(t, Options{}, f)
	want := sha256.Sum256(content)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if body, _, whole := fetch(hs.URL + "/v2/a/one/blobs/" + d.String()); !whole || sha256.Sum256(body) != want {
				t.Error("a concurrent read is wrong")
			}
		})
	}
	wg.Wait()
}

// Nodes of a cluster pull the same at the same time: the server hashes it for
// the first and once for all others, and none of them gets the end of a blob
// whose bytes are wrong.
func TestReadersAtTheSameTimeShareTheCheck(t *testing.T) {
	content := bulk(7, 6*chunkSize+1)
	readers := func(f *fake, d digest.Digest) (*Server, []*reader) {
		s := newServer(t, Options{}, f)
		all := make([]*reader, 8)
		one := make([]byte, 1)
		for i := range all {
			r, err := s.store.open(d)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			if _, err := r.Read(one); err != nil || one[0] != content[0] {
				t.Fatalf("reader %d: %v", i, err)
			}
			all[i] = r
		}
		return s, all
	}
	f, d := oneLayer(t, content)
	s, all := readers(f, d)
	// The first goes away in the middle: the others do without.
	_ = all[0].Close()
	for i, r := range all[1:] {
		if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, content[1:]) {
			t.Errorf("reader %d: %d bytes, %v", i+1, len(rest), err)
		}
	}
	if n := s.store.verified.Load(); n != 1 {
		t.Errorf("the blob was hashed %d times", n)
	}
	if s.store.state(d).hashing.Load() {
		t.Error("somebody is still taken to be hashing")
	}

	f, d = oneLayer(t, content)
	f.spoil(d, 3*chunkSize)
	_, all = readers(f, d)
	for i, r := range all {
		if rest, err := io.ReadAll(r); !errors.Is(err, ErrDamaged) || len(rest) >= len(content)-1 {
			t.Errorf("reader %d of a damaged blob: %d bytes, %v", i, len(rest), err)
		}
	}
}

func TestSecondBundleStandsInForADamagedOne(t *testing.T) {
	content := bulk(8, 3*chunkSize)
	a, d := oneLayer(t, content)
	b, _ := oneLayer(t, content)
	b.name = "two.tar.zst"
	s, hs := start(t, Options{}, a, b)
	if err := s.store.verify(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	a.spoil(d, chunkSize+1)
	url := hs.URL + "/v2/a/one/blobs/" + d.String()
	if body, _, whole := fetch(url); !whole || !bytes.Equal(body, content) {
		t.Error("the good copy was not used in the middle of the read")
	}

	// Damaged before anybody read it: the first try may be cut, the next not.
	s, hs = start(t, Options{}, a, b)
	url = hs.URL + "/v2/a/one/blobs/" + d.String()
	_, _, _ = fetch(url)
	if body, _, whole := fetch(url); !whole || !bytes.Equal(body, content) {
		t.Error("the good copy was not used after the damaged one was noticed")
	}
	if s.store.damaged.Load() == 0 {
		t.Error("the damage was not counted")
	}
}

func TestDriverReaderChecksToo(t *testing.T) {
	content := bulk(9, 2*chunkSize+9)
	f, d := oneLayer(t, content)
	s := newServer(t, Options{}, f)
	p := node{kind: nodeBlobData, digest: d}.path()
	for _, off := range []int64{0, 1, chunkSize, int64(len(content)) - 1, int64(len(content)), int64(len(content)) + 1} {
		rc, err := s.driver.Reader(t.Context(), p, off)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(rc)
		if err != nil || !bytes.Equal(b, content[min(off, int64(len(content))):]) {
			t.Errorf("from %d: %d bytes, %v", off, len(b), err)
		}
		if err := rc.Close(); err != nil {
			t.Error(err)
		}
		if _, err := rc.Read(make([]byte, 1)); err == nil && off < int64(len(content)) {
			t.Error("a closed reader reads")
		}
	}
	f.spoil(d, len(content)-1)
	for _, off := range []int64{0, chunkSize} {
		rc, err := s.driver.Reader(t.Context(), p, off)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(rc); !errors.Is(err, ErrDamaged) || len(b) == len(content)-int(off) {
			t.Errorf("from %d of the damaged blob: %d bytes, %v", off, len(b), err)
		}
	}
}

func TestReaderStopsWhenItsClientIsGone(t *testing.T) {
	f, d := oneLayer(t, bulk(10, 3*chunkSize))
	s := newServer(t, Options{}, f)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.store.open(d)
	if err != nil {
		t.Fatal(err)
	}
	r.ctx = ctx
	if _, err := r.Read(make([]byte, chunkSize)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, r); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("a seek to before the start worked")
	}
}
