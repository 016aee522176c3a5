package recovery

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// few has groups of some stripes, so that a small file has many groups.
func few(t testing.TB) {
	was := maxStripes
	maxStripes = 2
	t.Cleanup(func() { maxStripes = was })
}

func content(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n)}).Read(b)
	return b
}

// written gives a file with recovery data beside it.
func written(t testing.TB, data []byte, percent float64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.tar.zst")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	size, err := Write(t.Context(), path, percent, nil)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(path + Suffix)
	if err != nil || fi.Size() != size {
		t.Fatalf("%v, the recovery file has not the %d bytes that Write says", err, size)
	}
	return path
}

// change edits a file.
func change(t testing.TB, path string, edit func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, edit(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func same(t testing.TB, path string, want []byte) {
	t.Helper()
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Fatalf("%s is not as it was", path)
	}
}

func zero(offsets ...int) func(b []byte) []byte {
	return func(b []byte) []byte {
		for _, at := range offsets {
			clear(b[at:min(at+4096, len(b))])
		}
		return b
	}
}

// Bad sectors, flipped bits and a lost end are mended, wherever they are, and
// so are those of the recovery file at the same time.
func TestRepair(t *testing.T) {
	few(t)
	const size = 15<<20 + 12345 // three groups, the last of one stripe
	good := content(size)
	path := written(t, good, 2)
	flip := func(at int) func(b []byte) []byte {
		return func(b []byte) []byte { b[at] ^= 1; return b }
	}
	for _, c := range []struct {
		name         string
		file, beside func(b []byte) []byte
		blocks       int
	}{
		{"nothing", nil, nil, 0},
		{"sectors", zero(0, 1<<20, 1<<20+8192, 7<<20, 14<<20, size-100), nil, 5},
		{"flips", func(b []byte) []byte { return flip(3)(flip(9 << 20)(flip(size - 1)(b))) }, nil, 3},
		{"as many in a row as there is parity", func(b []byte) []byte { clear(b[32<<10 : 32<<10+8*blockSize]); return b }, nil, 8},
		{"the end", func(b []byte) []byte { return b[:size-50000] }, nil, 4},
		{"first header", flip(100), flip(0), 1},
		{"last header", flip(100), func(b []byte) []byte { return b[:len(b)-1] }, 1},
		{"one table", flip(100), flip(headerSize + 50), 1},
		{"parity", flip(100), func(b []byte) []byte {
			s, _ := parseHeader(b[:headerSize])
			g := s.group(0)
			return flip(int(g.record(0, 0)))(flip(int(g.record(0, 1)) + 100)(flip(int(g.record(0, 2)) + 100)(b)))
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			beside, err := os.ReadFile(path + Suffix)
			if err != nil {
				t.Fatal(err)
			}
			if c.file != nil {
				change(t, path, c.file)
			}
			if c.beside != nil {
				change(t, path+Suffix, c.beside)
			}
			res, err := Repair(t.Context(), path, path+Suffix, nil)
			if err != nil || res.Blocks != c.blocks {
				t.Errorf("%v, %d blocks mended, want %d", err, res.Blocks, c.blocks)
			}
			same(t, path, good)
			if err := os.WriteFile(path+Suffix, beside, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Where both hashes of a block are lost it is made anew, too.
func TestRepairWithoutHashes(t *testing.T) {
	few(t)
	good := content(3 << 20)
	path := written(t, good, MaxPercent)
	change(t, path+Suffix, func(b []byte) []byte {
		s, _ := parseHeader(b[:headerSize])
		g := s.group(0)
		b[g.table] ^= 1
		b[g.second] ^= 1
		return b
	})
	change(t, path, zero(5000))
	// A piece of the table is of more blocks than the code makes up for.
	if _, err := Repair(t.Context(), path, path+Suffix, nil); !errors.Is(err, ErrTooMuch) {
		t.Errorf("got %v, want %v", err, ErrTooMuch)
	}
	maxStripes = 256
	good = content(50 << 20)
	path = written(t, good, 20)
	change(t, path+Suffix, func(b []byte) []byte {
		s, _ := parseHeader(b[:headerSize])
		g := s.group(0)
		b[g.table] ^= 1
		b[g.second] ^= 1
		return b
	})
	change(t, path, zero(5000))
	if res, err := Repair(t.Context(), path, path+Suffix, nil); err != nil || res.Blocks != pieceHashes {
		t.Errorf("%v, %d blocks", err, res.Blocks)
	}
	same(t, path, good)
}

// What cannot be mended is not touched.
func TestTooMuchIsDamaged(t *testing.T) {
	few(t)
	path := written(t, content(15<<20), 2)
	change(t, path, func(b []byte) []byte { clear(b[:12*blockSize]); b[14<<20] ^= 1; return b })
	bad, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(t.Context(), path, path+Suffix, nil); !errors.Is(err, ErrTooMuch) {
		t.Errorf("got %v, want %v", err, ErrTooMuch)
	}
	same(t, path, bad)
}

// Recovery data of another file does not touch this one.
func TestOtherFiles(t *testing.T) {
	few(t)
	path, other := written(t, content(5<<20), 2), written(t, content(5<<20+1), 2)
	short := written(t, content(1<<20), 2)
	for name, c := range map[string]struct {
		from string
		want error
	}{
		"another file": {other + Suffix, ErrTooMuch}, "of a shorter file": {short + Suffix, ErrOther}, "no recovery file": {other, ErrFormat},
	} {
		if _, err := Repair(t.Context(), path, c.from, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		same(t, path, content(5<<20))
	}
	for _, p := range []float64{0, 0.4, 26, -1} {
		if _, err := Write(t.Context(), path, p, nil); err == nil {
			t.Errorf("%g percent is accepted", p)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Write(ctx, path, 2, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v, left behind: %v", err, left)
	}
}

// The same file has the same recovery data, of the size that was asked for.
func TestWriteIsDeterministic(t *testing.T) {
	data := content(40 << 20)
	a, b := written(t, data, 2), written(t, data, 2)
	have, err := os.ReadFile(a + Suffix)
	if err != nil {
		t.Fatal(err)
	}
	same(t, b+Suffix, have)
	if n := float64(len(have)) / float64(len(data)); n < 0.02 || n > 0.025 {
		t.Errorf("it has %.2f %% of the file", 100*n)
	}
}

// FuzzRepair: a recovery file that somebody made neither breaks a repair nor
// takes memory for what it only claims, and never has a good file lost without
// an error.
func FuzzRepair(f *testing.F) {
	few(f)
	good := content(100 << 10)
	path := written(f, good, 1)
	rec, err := os.ReadFile(path + Suffix)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(rec, uint32(5))
	f.Add(rec[:headerSize], uint32(70000))
	f.Add(shape{maxSize, 1}.header(), uint32(0))
	f.Add(shape{100 << 10, maxParity}.header(), uint32(1))
	f.Fuzz(func(t *testing.T, rec []byte, at uint32) {
		if s, err := readShape(bytes.NewReader(rec), int64(len(rec))); err == nil && s.fileSize() < s.size/1000 {
			t.Errorf("%+v: the file has only %d bytes", s, s.fileSize())
		}
		dir := t.TempDir()
		file, from := filepath.Join(dir, "f"), filepath.Join(dir, "r")
		bad := bytes.Clone(good)
		bad[int(at)%len(bad)] ^= 1
		if os.WriteFile(file, bad, 0o600) != nil || os.WriteFile(from, rec, 0o600) != nil {
			t.Skip()
		}
		res, err := Repair(t.Context(), file, from, nil)
		if err != nil && res.Blocks == 0 {
			same(t, file, bad)
		}
	})
}
