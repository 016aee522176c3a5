package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// writeVolumes makes the volumes of a sample and gives their paths.
func (s *sample) writeVolumes(t testing.TB, size int64, signatures ...[]byte) []string {
	t.Helper()
	w, err := Create(filepath.Join(t.TempDir(), "sample.tar.zst"), s.plan, WriterOptions{VolumeSize: size})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s.fill(t, w)
	if err := w.Commit(signatures...); err != nil {
		t.Fatal(err)
	}
	return w.Files()
}

// inMemory makes a Reader of volumes in memory.
func inMemory(list ...[]byte) (*Reader, error) {
	var set []*volume
	for i, p := range list {
		v, err := readVolume(bytes.NewReader(p), int64(len(p)), fmt.Sprint("volume ", i))
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, errors.New("no volume")
		}
		set = append(set, v)
	}
	return joinVolumes(set)
}

// verifyVolumes checks every byte of volumes and gives how many blobs were
// there.
func verifyVolumes(list ...[]byte) (blobs int, err error) {
	r, err := inMemory(list...)
	if err != nil {
		return 0, err
	}
	if err := r.Load(); err != nil {
		return 0, err
	}
	ctx := context.Background()
	if err := r.VerifyFraming(ctx); err != nil {
		return 0, err
	}
	for _, b := range r.Blobs() {
		if err := r.VerifyBlob(ctx, b.Digest, nil); err != nil {
			return 0, err
		}
	}
	return len(r.Blobs()), nil
}

// smallVolumes are volumes with blobs cut and whole, raw and packed.
func smallVolumes(t testing.TB) (*sample, [][]byte) {
	s := newSample(t, []byte(`[{"Config":"x"}]`), []byte("tiny blob"), text("packed", 1024), noise("cut", 5000), []byte{}, noise("raw", 700), noise("cut too", 2000), text("packed with padding", 3000))
	var list [][]byte
	for _, p := range s.writeVolumes(t, 83<<10, []byte("signature")) {
		list = append(list, readFile(t, p))
	}
	if len(list) < 3 {
		t.Fatalf("there are %d volumes", len(list))
	}
	return s, list
}

// The volumes of a bundle are the bundle: read through them it is the file
// that would have been made without, byte for byte.
func TestVolumesAreTheBundle(t *testing.T) {
	s := killSample(t)
	want := readFile(t, s.write(t, []byte("signature")))
	const size = 3 << 20
	paths := s.writeVolumes(t, size, []byte("signature"))
	if len(paths) < 6 {
		t.Fatalf("%d volumes", len(paths))
	}
	for i, p := range paths {
		fi, err := os.Stat(p)
		if err != nil || fi.Size() > size || i < len(paths)-1 && fi.Size() < size-signatureRoom-rawBlock {
			t.Errorf("%s has %d bytes, and %d are allowed: %v", p, fi.Size(), size, err)
		}
	}
	// In any order, and one twice.
	order := append([]string{paths[1]}, paths...)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	readers, errs := OpenAll(order)
	if err := errors.Join(errs...); err != nil || len(readers) != 1 {
		t.Fatalf("%d readers: %v", len(readers), err)
	}
	r := readers[0]
	defer r.Close()
	if err := r.Load(); err != nil {
		t.Fatal(err)
	}
	if len(r.Files()) != len(paths) || r.Plain() || r.MissingVolumes() != "" || r.Size() != int64(len(want)) || len(r.Signatures()) != 1 {
		t.Errorf("files %v, missing %q, %d bytes", r.Files(), r.MissingVolumes(), r.Size())
	}
	whole, err := r.Whole()
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(whole)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes are not the %d of the file: %v", len(got), len(want), err)
	}
	if err := r.VerifyFraming(t.Context()); err != nil {
		t.Error(err)
	}
	for _, b := range r.Blobs() {
		if err := r.VerifyBlob(t.Context(), b.Digest, nil); err != nil {
			t.Error(err)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		off := rnd.Int64N(int64(len(want)))
		p := make([]byte, rnd.Int64N(300<<10))
		n, err := whole.ReadAt(p, off)
		if err != nil && err != io.EOF || !bytes.Equal(p[:n], want[off:off+int64(n)]) {
			t.Fatalf("%d bytes at %d differ: %v", len(p), off, err)
		}
	}
	// Stock tools put it together as well.
	if _, err := exec.LookPath("zstd"); err == nil {
		var b bytes.Buffer
		for _, part := range []struct {
			member string
			of     []string
		}{{"head", paths[:1]}, {"data", paths}, {"tail", paths[:1]}} {
			for _, p := range part.of {
				cmd := exec.Command("tar", "--zstd", "-xOf", p, part.member)
				cmd.Stdout = &b
				if err := cmd.Run(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Error("tar puts another file together")
		}
	}
}

// Each volume is checked by itself, and what the missing ones take away is
// known.
func TestVolumesAlone(t *testing.T) {
	s, list := smallVolumes(t)
	all, err := verifyVolumes(list...)
	if err != nil || all != len(s.plan.Blobs()) {
		t.Fatalf("%d blobs: %v", all, err)
	}
	for i := range list {
		if _, err := verifyVolumes(list[i]); err != nil {
			t.Errorf("volume %d alone: %v", i+1, err)
		}
		r, err := inMemory(append(append([][]byte{}, list[:i]...), list[i+1:]...)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Load(); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("volume %d of %d", i+1, len(list)); r.MissingVolumes() != want {
			t.Errorf("missing: %q, not %q", r.MissingVolumes(), want)
		}
		if len(r.Absent()) == 0 || len(r.Absent())+len(r.Blobs()) != all {
			t.Errorf("without volume %d, %d blobs are absent and %d there", i+1, len(r.Absent()), len(r.Blobs()))
		}
		if _, err := r.Open(r.Absent()[0].Digest); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "volume") {
			t.Errorf("a blob that is not there: %v", err)
		}
		if _, err := r.Whole(); !errors.Is(err, ErrAbsent) {
			t.Errorf("whole without volume %d: %v", i+1, err)
		}
		for _, b := range r.Blobs() {
			if err := r.VerifyBlob(t.Context(), b.Digest, nil); err != nil {
				t.Errorf("without volume %d: %v", i+1, err)
			}
		}
	}
}

// No byte of any volume can change unseen, whether the others are there or
// not, and a volume cannot be cut off unseen.
func TestEveryFlipOfAVolumeIsRefused(t *testing.T) {
	_, list := smallVolumes(t)
	masks := []byte{0x01, 0xFF}
	if testing.Short() {
		masks = masks[:1]
	}
	for k := range list {
		eachVariant(t, list[k], len(list[k])*len(masks), func(p []byte, i int) error {
			at, mask := i/len(masks), masks[i%len(masks)]
			p[at] ^= mask
			defer func() { p[at] ^= mask }()
			_, err := verifyVolumes(p)
			if err := refused(err); err != nil {
				return fmt.Errorf("volume %d alone, byte %d xor %#x: %w", k+1, at, mask, err)
			}
			if mask != masks[0] {
				return nil
			}
			both := append([][]byte{}, list...)
			both[k] = p
			_, err = verifyVolumes(both...)
			if err := refused(err); err != nil {
				return fmt.Errorf("volume %d, byte %d xor %#x: %w", k+1, at, mask, err)
			}
			return nil
		})
		eachVariant(t, list[k], len(list[k]), func(p []byte, n int) error {
			if _, err := verifyVolumes(p[:n]); !errors.Is(err, ErrDamaged) {
				return fmt.Errorf("first %d bytes of volume %d: %w", n, k+1, err)
			}
			return nil
		})
		if _, err := verifyVolumes(append(bytes.Clone(list[k]), 0)); !errors.Is(err, ErrDamaged) {
			t.Errorf("a byte more: %v", err)
		}
	}
}

// Those who cannot use a volume say what it is.
func TestVolumeIsNoBundle(t *testing.T) {
	_, list := smallVolumes(t)
	for name, open := range map[string]func() error{
		"reader": func() error { _, err := NewReader(bytes.NewReader(list[0]), int64(len(list[0]))); return err },
		"stream": func() error { _, err := NewStream(bytes.NewReader(list[0])); return err },
		"sign": func() error {
			fs := newMemFS()
			fs.put("b", list[0])
			return appendSignature(fs, "b", []byte("x"))
		},
	} {
		if err := open(); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "volume") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A reader of version 1 parses index.json and finds a version it lacks.
	if !strings.Contains(volumeIndex, `"vnd.bundle.min-reader":"2"`) {
		t.Error("older readers are not told")
	}
}

// The power may go at any moment of writing volumes: then nothing has a name
// that is not whole, and the next run makes the same volumes.
func TestPowerLossWhileWritingVolumes(t *testing.T) {
	s := newSample(t, nil, noise("one", 9000), text("two", 4000), noise("three", 6000))
	build := func(fs fsys) error {
		w, err := Create("b", s.plan, WriterOptions{fs: fs, VolumeSize: 81 << 10, SyncBytes: 1})
		if err != nil {
			return err
		}
		defer w.Close()
		for _, b := range s.plan.Blobs() {
			if err := w.WriteBlob(context.Background(), b.Digest, s.open(b.Digest)); err != nil {
				return err
			}
		}
		return w.Commit([]byte("signature"))
	}
	fs := newMemFS()
	if err := build(fs); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{}
	for name := range fs.names {
		want[name], _ = fs.content(name)
	}
	if len(want) < 2 {
		t.Fatalf("there are %d files", len(want))
	}
	step := 1
	if testing.Short() {
		step = 5
	}
	for seed := range uint64(2) {
		for at := 1; ; at += step {
			fs := newMemFS()
			fs.downAt = at
			if err := build(fs); err == nil {
				break
			}
			fs.reboot(rand.New(rand.NewPCG(seed, uint64(at))))
			for name := range want {
				if got, ok := fs.content(name); ok && !bytes.Equal(got, want[name]) {
					t.Fatalf("down at operation %d: %s has its name and is not whole", at, name)
				}
			}
			if err := build(fs); err != nil {
				t.Fatalf("after the power went at operation %d: %v", at, err)
			}
			if len(fs.names) != len(want) {
				t.Fatalf("after the power went at operation %d there are %d files, not %d", at, len(fs.names), len(want))
			}
			for name := range want {
				if got, _ := fs.content(name); !bytes.Equal(got, want[name]) {
					t.Fatalf("after the power went at operation %d %s is another", at, name)
				}
			}
		}
	}
}

func TestVolumeSizeIsRefused(t *testing.T) {
	s := small(t)
	for size, want := range map[int64]string{1: "at least", 70 << 10: "at least"} {
		if _, err := Create(t.TempDir()+"/b", s.plan, WriterOptions{VolumeSize: size}); !errors.Is(err, ErrVolumeSize) || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	large := newSample(t, nil, noise("large", 5<<20))
	if _, err := Create(t.TempDir()+"/b", large.plan, WriterOptions{VolumeSize: 78 << 10}); !errors.Is(err, ErrVolumeSize) {
		t.Errorf("more than can be numbered: %v", err)
	}
}

// FuzzVolume: what is accepted is what the Writer would have spelled.
func FuzzVolume(f *testing.F) {
	f.Add((&volumeInfo{1, 3, 7, 100, 900, "sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}).encode())
	f.Add([]byte(`{"version":1,"number":0`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseVolume(data)
		if err == nil && !bytes.Equal(v.encode(), data) {
			t.Errorf("accepted %q, spelled %q", data, v.encode())
		}
	})
}
