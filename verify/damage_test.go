package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bundle/archive"
)

// small makes a signed bundle of a few kilobytes that has a part of every
// kind the format knows: raw and packed blobs, with and without padding,
// manifest.json and two signatures.
func small(t testing.TB) ([]byte, Policy) {
	b := newBuilder(t)
	b.image(pause, b.manifest(b.config("amd64"), "layer"), "linux/amd64")
	b.files(map[string]string{"etc/config": strings.Repeat("key: value\n", 50)})
	b.docker = []byte(`[]`)
	one, two := signer(t), signer(t)
	data, err := os.ReadFile(b.write(one, two))
	if err != nil {
		t.Fatal(err)
	}
	return data, Keys(one.Public())
}

// inMemory does what Path does, without a file.
func inMemory(data []byte, o Options) (*Report, error) {
	r, err := archive.NewReader(bytes.NewReader(data), int64(len(data)))
	var damage *archive.Error
	if errors.As(err, &damage) {
		return salvage(context.Background(), bytes.NewReader(data), damage, o)
	}
	if err != nil {
		return nil, err
	}
	return File(context.Background(), r, o)
}

func asStream(data []byte, o Options) (*Report, error) {
	return Stream(context.Background(), bytes.NewReader(data), o)
}

// eachCase runs check for n cases on all CPUs and stops early if they fail.
// Under the race detector and with -short it takes only some of them.
func eachCase(t *testing.T, n int, check func(i int) error) {
	t.Helper()
	// Each case allocates buffers of a megabyte and lets go of them at once.
	defer debug.SetGCPercent(debug.SetGCPercent(1000))
	step := exhaustiveStep
	if testing.Short() {
		step *= 7
	}
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for failed.Load() < 20 {
				i := int(next.Add(1)-1) * step
				if i >= n {
					return
				}
				if err := check(i); err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// refused says whether a changed bundle was refused the way it must be.
func refused(what string, rep *Report, err error) error {
	if class := ExitClass(err); class != exitDamaged && class != exitUntrusted && class != exitIncomplete {
		return fmt.Errorf("%s: exit %d (%v)", what, class, err)
	}
	if rep == nil || rep.OK {
		return fmt.Errorf("%s: report %+v", what, rep)
	}
	if rep.Content.Status != ContentUnchecked && len(rep.Content.Problems) == 0 {
		return fmt.Errorf("%s: refused, and nothing says why", what)
	}
	return nil
}

// No bit of a bundle may change unseen. This is the promise of the format.
func TestEveryByteCounts(t *testing.T) {
	data, policy := small(t)
	o := Options{Policy: policy, Jobs: 1}
	if _, err := inMemory(data, o); err != nil {
		t.Fatal(err)
	}
	if _, err := asStream(data, o); err != nil {
		t.Fatal(err)
	}
	masks := []byte{0x01, 0x80, 0xff}
	t.Logf("%d bytes, %d masks", len(data), len(masks))
	eachCase(t, len(data), func(at int) error {
		changed := bytes.Clone(data)
		for _, mask := range masks {
			changed[at] = data[at] ^ mask
			rep, err := inMemory(changed, o)
			if err := refused(fmt.Sprintf("file, byte %d xor %#x", at, mask), rep, err); err != nil {
				return err
			}
			srep, err := asStream(changed, o)
			if err := refused(fmt.Sprintf("stream, byte %d xor %#x", at, mask), srep, err); err != nil {
				return err
			}
		}
		// Without asking for a signature, too.
		rep, err := inMemory(changed, Options{SkipSignature: true, Jobs: 1})
		return refused(fmt.Sprintf("unsigned, byte %d", at), rep, err)
	})
}

func TestEveryTruncation(t *testing.T) {
	data, policy := small(t)
	o := Options{Policy: policy, Jobs: 1}
	eachCase(t, len(data), func(n int) error {
		rep, err := inMemory(data[:n], o)
		if err := refused(fmt.Sprintf("file of %d bytes", n), rep, err); err != nil {
			return err
		}
		rep, err = asStream(data[:n], o)
		return refused(fmt.Sprintf("stream of %d bytes", n), rep, err)
	})
}

func TestAppendedBytes(t *testing.T) {
	data, policy := small(t)
	o := Options{Policy: policy, Jobs: 1}
	tails := [][]byte{data, {0x5e, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, bytes.Repeat([]byte{0}, 1024)}
	for b := range 256 {
		tails = append(tails, []byte{byte(b)})
	}
	eachCase(t, len(tails), func(i int) error {
		changed := append(bytes.Clone(data), tails[i]...)
		rep, err := inMemory(changed, o)
		if err := refused(fmt.Sprintf("file with tail %d", i), rep, err); err != nil {
			return err
		}
		rep, err = asStream(changed, o)
		return refused(fmt.Sprintf("stream with tail %d", i), rep, err)
	})
}

// Damage must come out with the name of what it hits.
func TestDamageIsNamed(t *testing.T) {
	s := signer(t)
	path := standard(t).write(s)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Policy: Keys(s.Public())}
	at := func(content string) int {
		i := bytes.Index(data, []byte(content))
		if i < 0 {
			t.Fatalf("the bundle has no %q", content)
		}
		return i
	}
	r, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	var m struct {
		Layers []archive.Blob `json:"layers"`
	}
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] == archive.KindBundle {
			raw, err := r.ReadBlob(d.Digest, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			unmarshal(t, raw, &m)
		}
	}
	rootfs, length := r.Extent(m.Layers[0].Digest)
	for name, c := range map[string]struct {
		at     int
		object string
	}{
		"layer":       {at("pause layer"), "image " + pause + " (layer 2 of 3)"},
		"shared":      {at("base layer"), "image " + pause + " (layer 1 of 3), image " + nginx + " (linux/amd64, layer 1 of 2)"},
		"platform":    {at("nginx for arm64"), "image " + nginx + " (linux/arm64, layer 1 of 1)"},
		"chart":       {at("chart aecp"), "chart aecp-1.0.0"},
		"config":      {at(`"arm64","os":"linux"}`), "image " + nginx + " (linux/arm64, config)"},
		"attachment":  {at(`{"critical":`), "attachment registry.k8s.io/pause:" + strings.Replace(string(b0(t)), ":", "-", 1) + ".sig (layer 1 of 1)"},
		"files":       {int(rootfs + length/2), "root file system layer 1 of 2"},
		"inventory":   {at(`{"schemaVersion":1`), "inventory"},
		"layout":      {at(`{"version":1,"blobs":[`), "layout"},
		"index":       {at(`vnd.bundle.min-reader`), "index.json"},
		"oci-layout":  {at(`imageLayoutVersion`), "oci-layout"},
		"docker list": {at(`[{"Config":"x"}]`), "manifest.json"},
		"signature":   {at(`messageSignature`), "signatures/1.sigstore.json"},
		"seek table":  {len(data) - 100, "seek table"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := bytes.Clone(data)
			changed[c.at] ^= 0x04
			for how, check := range map[string]func([]byte, Options) (*Report, error){"file": inMemory, "stream": asStream} {
				rep, err := check(changed, o)
				if !errors.Is(err, ErrDamaged) {
					t.Errorf("%s: error %v", how, err)
					continue
				}
				p := rep.Content.Problems[0]
				if p.Object != c.object || p.Kind != ProblemDamaged || p.Offset == 0 && c.at > 1024 {
					t.Errorf("%s: problem %v, want %s", how, p, c.object)
				}
				if p.Length > 0 && (int64(c.at) < p.Offset || int64(c.at) >= p.Offset+p.Length) {
					t.Errorf("%s: problem %v, and byte %d was changed", how, p, c.at)
				}
			}
		})
	}
}

// badDisk cannot read some bytes.
type badDisk struct {
	io.ReaderAt
	from, to int64
}

func (d badDisk) ReadAt(p []byte, off int64) (int, error) {
	if off < d.to && off+int64(len(p)) > d.from {
		return 0, syscall.EIO
	}
	return d.ReaderAt.ReadAt(p, off)
}

// A stick with a bad sector must not end the search: the image on it is
// named, and whatever else is damaged too.
func TestBadSector(t *testing.T) {
	data, err := os.ReadFile(standard(t).write())
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("coredns layer"))] ^= 1
	at := int64(bytes.Index(data, []byte("pause layer")))
	r, err := archive.NewReader(badDisk{bytes.NewReader(data), at, at + 1}, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	rep, err := File(t.Context(), r, Options{SkipSignature: true})
	if !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	got := lines(rep.Content.Problems)
	if !strings.Contains(got, "damaged image "+pause+" (layer 2 of 3): it cannot be read: ") || !strings.Contains(got, "input/output error") ||
		!strings.Contains(got, "damaged image "+coredns+" (layer 1 of 1): ") || len(rep.Content.Problems) != 2 {
		t.Errorf("problems:\n%s", got)
	}
}

// A stick that was pulled out too early: what is lost must be named, and what
// is not must not.
func TestCutOffIsNamed(t *testing.T) {
	s := signer(t)
	data, err := os.ReadFile(standard(t).write(s))
	if err != nil {
		t.Fatal(err)
	}
	cut := data[:bytes.Index(data, []byte("coredns layer"))]
	path := filepath.Join(t.TempDir(), "cut.tar.zst")
	if err := os.WriteFile(path, cut, 0o644); err != nil {
		t.Fatal(err)
	}
	rep, err := Path(context.Background(), path, Options{Policy: Keys(s.Public())})
	if !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	got := lines(rep.Content.Problems)
	for _, want := range []string{"damaged image " + coredns + " (layer 1 of 1)", "damaged chart aecp-1.0.0: the file is cut off before its end", "damaged seek table"} {
		if !strings.Contains(got, want) {
			t.Errorf("problems:\n%s\nwant %q", got, want)
		}
	}
	for _, innocent := range []string{pause + " (layer", nginx} {
		if strings.Contains(got, innocent) {
			t.Errorf("problems:\n%s\nand %s is whole", got, innocent)
		}
	}
	if rep.Signature.Status == StatusVerified {
		t.Error("signatures that are cut off were verified")
	}
}

// FuzzVerify changes a bundle in ways nobody listed: it must never pass, and
// nothing may panic.
func FuzzVerify(f *testing.F) {
	b := newBuilder(f)
	b.image(pause, b.manifest(b.config("amd64"), "layer"), "linux/amd64")
	s := signer(f)
	data, err := os.ReadFile(b.write(s))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, len(data), []byte("x"))
	f.Add(len(data)/2, 0, []byte("inserted"))
	f.Add(1200, 40, []byte{})
	f.Fuzz(func(t *testing.T, at, drop int, put []byte) {
		at = min(max(at, 0), len(data))
		drop = min(max(drop, 0), len(data)-at)
		changed := append(append(bytes.Clone(data[:at]), put...), data[at+drop:]...)
		same := bytes.Equal(changed, data)
		for _, check := range []func([]byte, Options) (*Report, error){inMemory, asStream} {
			_, err := check(changed, Options{Policy: Keys(s.Public()), Jobs: 1})
			if same != (err == nil) {
				t.Fatalf("same bytes: %v, error: %v", same, err)
			}
		}
	})
}

// Damage to the root file system must come out with the files it hits, in
// every way that layers are compressed, and with no other.
func TestDamagedFilesAreNamed(t *testing.T) {
	rest := strings.Repeat("other content ", 200)
	for name, c := range map[string]struct {
		mediaType string
		wrap      func([]byte) []byte
	}{
		"tar":  {"application/vnd.oci.image.layer.v1.tar", func(b []byte) []byte { return b }},
		"gzip": {"application/vnd.oci.image.layer.v1.tar+gzip", stored},
		"zstd": {"application/vnd.oci.image.layer.v1.tar+zstd", storedZstd},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder(t)
			b.image(pause, b.manifest(b.config("amd64"), "x"), "linux/amd64")
			b.layer(c.mediaType, c.wrap, map[string]string{"a/first": "first content", "a/hit": "the content of hit", "old": "old version"})
			b.layer(c.mediaType, c.wrap, map[string]string{"old": "new version", "z": rest})
			data, err := os.ReadFile(b.write())
			if err != nil {
				t.Fatal(err)
			}
			at := bytes.Index(data, []byte("content of hit"))
			if at < 0 {
				t.Fatal("the content is not stored as it is")
			}
			data[at] ^= 1
			rep, err := inMemory(data, Options{SkipSignature: true})
			if !errors.Is(err, ErrDamaged) || len(rep.Content.Problems) != 1 {
				t.Fatalf("error %v, report %+v", err, rep)
			}
			got := strings.Replace(rep.Content.Problems[0].Object, " and what follows", "", 1)
			if got != "file a/hit (root file system layer 1 of 2)" {
				t.Errorf("object %q", rep.Content.Problems[0].Object)
			}
			if rep, err = asStream(data, Options{SkipSignature: true}); !errors.Is(err, ErrDamaged) || rep.Content.Problems[0].Object != "root file system layer 1 of 2" {
				t.Errorf("stream: error %v, report %+v", err, rep)
			}
		})
	}
}

func TestFileList(t *testing.T) {
	if got := fileList(nil, true); got != "" {
		t.Error(got)
	}
	if got := fileList([]string{"a", "b\n"}, true); got != "files a, b? and what follows" {
		t.Error(got)
	}
	if got := fileList(make([]string, 22), false); !strings.HasSuffix(got, ", and 2 more") && !strings.HasSuffix(got, " and 2 more") {
		t.Error(got)
	}
}
