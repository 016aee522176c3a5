package verify

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/verify/sign"
)

// opened gives a reader that was not loaded.
func opened(t testing.TB, path string) *archive.Reader {
	t.Helper()
	r, err := archive.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// writeDelta finishes the bundle as a delta on the base in the given file.
func (b *builder) writeDelta(base string, signers ...*sign.Signer) string {
	b.t.Helper()
	b.finish()
	r := opened(b.t, base)
	if err := r.Load(); err != nil {
		b.t.Fatal(err)
	}
	whole := b.plan()
	a := r.Index().Annotations
	d := archive.Delta{Bases: []archive.Base{{Index: r.IndexDigest(), Name: a[archive.AnnotationName], Version: a[archive.AnnotationVersion]}}}
	for _, blob := range whole.Blobs() {
		if slices.ContainsFunc(r.Blobs(), func(x archive.Blob) bool { return x.Digest == blob.Digest }) {
			d.Absent = append(d.Absent, blob.Digest)
		}
	}
	p, err := archive.NewDeltaPlan(b.index, whole.Blobs(), b.docker, d)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.writePlan(p, signers...)
}

// newer is standard with another coredns, one chart and one file more.
func newer(t testing.TB) *builder {
	b := standard(t)
	b.index.Annotations[archive.AnnotationVersion] = "1.2.0"
	b.contents.Version = "1.2.0"
	b.chart("shop", "2.0.0")
	b.files(map[string]string{"etc/new": "new"})
	b.image("registry.k8s.io/coredns/coredns:v1.11.3", b.manifest(b.config("amd64"), "coredns layer", "and one more"), "linux/amd64")
	return b
}

func TestDeltaWithItsBase(t *testing.T) {
	s := signer(t)
	base := standard(t).write(s)
	delta := newer(t).writeDelta(base, s)
	o := Options{Policy: Keys(s.Public())}
	trust := func(r *archive.Reader) error { _, err := Trust(t.Context(), r, o); return err }

	for name, order := range map[string][]string{"base first": {base, delta}, "delta first": {delta, base}} {
		var readers []*archive.Reader
		for _, p := range order {
			readers = append(readers, opened(t, p))
		}
		g := Gather(readers, trust)
		if err := g.Err(); err != nil || len(g.Bundles) != 1 || g.Bundles[0].Path() != delta {
			t.Fatalf("%s: %v, %d bundles", name, err, len(g.Bundles))
		}
		if err := Complete(t.Context(), g.Bundles[0]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		rep, err := File(t.Context(), g.Bundles[0], o)
		if err != nil || !rep.OK || rep.Version != "1.2.0" || len(rep.With) != 1 || rep.With[0] != base {
			t.Errorf("%s: %v, %+v", name, err, rep)
		}
	}

	// Without its base, and with a bundle that is not it, everything that is
	// hit has its name.
	other := newBuilder(t)
	other.image(pause, other.manifest(other.config("amd64"), "another"), "linux/amd64")
	for name, files := range map[string][]string{"alone": {delta}, "wrong base": {other.write(s), delta}} {
		var readers []*archive.Reader
		for _, p := range files {
			readers = append(readers, opened(t, p))
		}
		g := Gather(readers, trust)
		if len(g.Bundles) != len(files) {
			t.Fatalf("%s: %d bundles", name, len(g.Bundles))
		}
		r := g.Bundles[len(files)-1]
		err := Complete(t.Context(), r)
		if !errors.Is(err, ErrIncomplete) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range []string{"cnstack-ce 1.1.0", "\n  image " + pause, "\n  image " + nginx, "\n  image " + coredns, "\n  chart aecp-1.0.0", "root file system (4 files)", "v1.11.3"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "shop") {
			t.Errorf("%s: chart shop is whole, and yet %q", name, err)
		}
		rep, err := File(t.Context(), r, o)
		if !errors.Is(err, ErrIncomplete) || rep.Content.Status != ContentIncomplete || !strings.Contains(lines(rep.Content.Problems), "missing image "+pause+" (manifest): it is in its base cnstack-ce 1.1.0") {
			t.Errorf("%s: %v\n%s", name, err, lines(rep.Content.Problems))
		}
		data, err := os.ReadFile(delta)
		if err != nil {
			t.Fatal(err)
		}
		srep, err := asStream(data, o)
		if !errors.Is(err, ErrIncomplete) || name == "alone" && lines(srep.Content.Problems) != lines(rep.Content.Problems) {
			t.Errorf("stream: %v\n%s", err, lines(srep.Content.Problems))
		}
	}
}

// A delta that comes from a pipe is verified with its base, which is a file
// and needs no trust of its own.
func TestStreamedDeltaWithItsBase(t *testing.T) {
	s, old := signer(t), signer(t)
	base := standard(t).write(old)
	delta := newer(t).writeDelta(base, s)
	third := newer(t)
	third.image("docker.io/library/x:1", third.manifest(third.config("amd64"), "x"), "linux/amd64")
	chain := third.writeDelta(delta, s)
	o := Options{Policy: Keys(s.Public())}
	stream := func(path string, beside ...string) (*Report, error) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o := o
		for _, p := range beside {
			o.Beside = append(o.Beside, opened(t, p))
		}
		return asStream(data, o)
	}
	rep, err := stream(delta, base)
	if err != nil || !rep.OK || !slices.Equal(rep.With, []string{base}) {
		t.Errorf("delta: %v, %+v", err, rep)
	}
	// The file itself says the same of the same content.
	g := Gather([]*archive.Reader{opened(t, base), opened(t, delta)}, nil)
	file, err := File(t.Context(), g.Bundles[0], o)
	if err != nil || file.Content.Blobs != rep.Content.Blobs || file.Content.Bytes != rep.Content.Bytes {
		t.Errorf("%v, %+v, the stream says %+v", err, file.Content, rep.Content)
	}
	if rep, err = stream(chain, delta, base); err != nil || !rep.OK || !slices.Contains(rep.With, delta) {
		t.Errorf("chain: %v, %+v", err, rep)
	}
	if rep, err = stream(delta); !errors.Is(err, ErrIncomplete) || rep.With != nil {
		t.Errorf("without its base: %v, %+v", err, rep)
	}
	data, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	r := opened(t, base)
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	last := r.Blobs()[len(r.Blobs())-1]
	offset, length := r.Extent(last.Digest)
	data[offset+length/2] ^= 1
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep, err = stream(delta, broken); !errors.Is(err, ErrDamaged) || rep.Content.Problems[0].File != broken {
		t.Errorf("with a damaged base: %v\n%s", err, lines(rep.Content.Problems))
	}
	o.Policy = Keys(signer(t).Public())
	if rep, err = stream(delta, base); !errors.Is(err, ErrUntrusted) || rep.With != nil || rep.Name != "" {
		t.Errorf("of somebody else: %v, %+v", err, rep)
	}
}

// A base needs no signature of its own: the delta's pins it. A file that
// nobody names does.
func TestBaseIsTrustedThroughItsDelta(t *testing.T) {
	s, old := signer(t), signer(t)
	base := standard(t).write(old)
	delta := newer(t).writeDelta(base, s)
	third := newer(t)
	third.blob("x", []byte("x"))
	third.image("docker.io/library/x:1", third.manifest(third.config("amd64"), "x"), "linux/amd64")
	chain := third.writeDelta(base, s)
	o := Options{Policy: Keys(s.Public())}
	trust := func(r *archive.Reader) error { _, err := Trust(t.Context(), r, o); return err }
	g := Gather([]*archive.Reader{opened(t, base), opened(t, delta), opened(t, chain)}, trust)
	if err := g.Err(); err != nil || len(g.Bundles) != 2 {
		t.Errorf("%v, %d bundles", err, len(g.Bundles))
	}
	g = Gather([]*archive.Reader{opened(t, base)}, trust)
	if err := g.Err(); !errors.Is(err, ErrUntrusted) || g.Bundles[0].Index() != nil {
		t.Errorf("a base alone: %v, parsed: %v", err, g.Bundles[0].Index() != nil)
	}
}

// No byte of a delta and none of its base may change unseen.
func TestEveryByteOfDeltaAndBaseCounts(t *testing.T) {
	s := signer(t)
	b := newBuilder(t)
	b.image(pause, b.manifest(b.config("amd64"), "base layer"), "linux/amd64")
	b.files(map[string]string{"old": strings.Repeat("text ", 100)})
	basePath := b.write(s)
	n := newBuilder(t)
	n.image(pause, n.manifest(n.config("amd64"), "base layer"), "linux/amd64")
	n.image(nginx, n.manifest(n.config("amd64"), "base layer", "new layer"), "linux/amd64")
	n.files(map[string]string{"old": strings.Repeat("text ", 100)})
	deltaPath := n.writeDelta(basePath, s)
	var data [2][]byte
	for i, p := range []string{basePath, deltaPath} {
		var err error
		if data[i], err = os.ReadFile(p); err != nil {
			t.Fatal(err)
		}
	}
	o := Options{Policy: Keys(s.Public()), Jobs: 1}
	check := func(base, delta []byte) (*Report, error) {
		var readers []*archive.Reader
		for _, p := range [][]byte{base, delta} {
			r, err := archive.NewReader(bytes.NewReader(p), int64(len(p)))
			if err != nil {
				return inMemory(p, o)
			}
			readers = append(readers, r)
		}
		g := Gather(readers, func(r *archive.Reader) error { _, err := Trust(context.Background(), r, o); return err })
		var worst error
		var last *Report
		for _, r := range g.Bundles {
			rep, err := File(context.Background(), r, o)
			if err != nil || last == nil {
				last = rep
			}
			worst = cmp.Or(worst, err)
		}
		return last, worst
	}
	if _, err := check(data[0], data[1]); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"base", "delta"} {
		eachCase(t, len(data[i]), func(at int) error {
			changed := bytes.Clone(data[i])
			for _, mask := range []byte{0x01, 0x80, 0xff} {
				changed[at] = data[i][at] ^ mask
				both := data
				both[i] = changed
				rep, err := check(both[0], both[1])
				if err := refused(fmt.Sprintf("%s, byte %d xor %#x", name, at, mask), rep, err); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// Damage in the base comes out with what it hits and in which file.
func TestDamageInTheBaseIsNamed(t *testing.T) {
	base := standard(t).write()
	delta := newer(t).writeDelta(base)
	data, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte("nginx for amd64"))
	data[at] ^= 1
	if err := os.WriteFile(base, data, 0o644); err != nil {
		t.Fatal(err)
	}
	g := Gather([]*archive.Reader{opened(t, base), opened(t, delta)}, nil)
	rep, err := File(t.Context(), g.Bundles[0], Options{SkipSignature: true})
	if !errors.Is(err, ErrDamaged) || len(rep.Content.Problems) != 1 {
		t.Fatalf("%v, %+v", err, rep)
	}
	p := rep.Content.Problems[0]
	if p.File != base || p.Object != "image "+nginx+" (linux/amd64, layer 2 of 2)" || p.Digest != digest.FromString("nginx for amd64") || p.Offset > int64(at) || p.Offset+p.Length <= int64(at) {
		t.Errorf("%+v", p)
	}
}

// writeVolumes finishes the bundle and cuts it.
func (b *builder) writeVolumes(size int64, s *sign.Signer) []string {
	b.t.Helper()
	b.finish()
	p := b.plan()
	w, err := archive.Create(filepath.Join(b.t.TempDir(), "bundle.tar.zst"), p, archive.WriterOptions{VolumeSize: size})
	if err != nil {
		b.t.Fatal(err)
	}
	defer w.Close()
	for _, blob := range p.Blobs() {
		if err := w.WriteBlob(context.Background(), blob.Digest, func(_ context.Context, off int64) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.blobs[blob.Digest][off:])), nil
		}); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := w.Commit(signIndex(b.t, s, p.IndexBytes())); err != nil {
		b.t.Fatal(err)
	}
	return w.Files()
}

// Volumes give the verdict of the file that they are; a missing one has the
// names of what it takes away, and damage the name of its volume.
func TestVolumes(t *testing.T) {
	s := signer(t)
	paths := standard(t).writeVolumes(92<<10, s)
	if len(paths) < 3 {
		t.Fatalf("%d volumes", len(paths))
	}
	o := Options{Policy: Keys(s.Public()), Jobs: 1}
	check := func(paths ...string) (*Report, error) {
		readers, errs := archive.OpenAll(paths)
		defer func() {
			for _, r := range readers {
				_ = r.Close()
			}
		}()
		for i, err := range errs {
			if err != nil {
				return Path(t.Context(), paths[i], o)
			}
		}
		g := Gather(readers, func(r *archive.Reader) error { _, err := Trust(t.Context(), r, o); return err })
		if len(g.Bundles) != 1 {
			t.Fatalf("%d bundles", len(g.Bundles))
		}
		if err := Complete(t.Context(), g.Bundles[0]); err != nil && !errors.Is(err, ErrIncomplete) {
			t.Error(err)
		}
		return File(t.Context(), g.Bundles[0], o)
	}
	if rep, err := check(paths...); err != nil || !rep.OK || rep.Signature.Status != StatusVerified {
		t.Fatalf("%v, %+v", err, rep)
	}
	for i := range paths {
		rest := slices.Delete(slices.Clone(paths), i, i+1)
		rep, err := check(rest...)
		want := fmt.Sprintf("it is in volume %d of %d, which was not given", i+1, len(paths))
		if !errors.Is(err, ErrIncomplete) || !strings.Contains(lines(rep.Content.Problems), want) || rep.Signature.Status != StatusVerified {
			t.Errorf("without volume %d: %v\n%s", i+1, err, lines(rep.Content.Problems))
		}
		if rep, err := check(paths[i]); !errors.Is(err, ErrIncomplete) || rep.Content.Status != ContentIncomplete {
			t.Errorf("volume %d alone: %v", i+1, err)
		}
	}
	for i, p := range paths {
		good := mustRead(t, p)
		for at := 0; at < len(good); at += 211 {
			bad := bytes.Clone(good)
			bad[at] ^= 0x40
			if err := os.WriteFile(p, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			for name, set := range map[string][]string{"alone": {p}, "all": paths} {
				rep, err := check(set...)
				if !errors.Is(err, ErrDamaged) {
					t.Fatalf("volume %d %s, byte %d: %v %+v", i+1, name, at, err, rep)
				}
			}
		}
		if err := os.WriteFile(p, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
