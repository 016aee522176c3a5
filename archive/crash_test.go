package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// build runs a whole build on fs, as a process would, and returns the first
// error. It goes on with what an earlier one left.
func (s *sample) build(fs fsys, signatures ...[]byte) error {
	w, err := Create("b", s.plan, WriterOptions{fs: fs, Workers: 1, SyncBytes: 4 << 10})
	if err != nil {
		return err
	}
	for _, b := range s.plan.Blobs() {
		if err := w.WriteBlob(context.Background(), b.Digest, s.open(b.Digest)); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if err := w.Commit(signatures...); err != nil {
		return errors.Join(err, w.Close())
	}
	return nil
}

// built makes the file once without trouble.
func (s *sample) built(t *testing.T, signatures ...[]byte) []byte {
	t.Helper()
	fs := newMemFS()
	if err := s.build(fs, signatures...); err != nil {
		t.Fatal(err)
	}
	p, ok := fs.content("b")
	if !ok || len(fs.names) != 1 {
		t.Fatalf("a build leaves %d files", len(fs.names))
	}
	return p
}

// Wherever the power goes, the file at its name is whole or not there, and
// the next build makes the same bytes.
func TestPowerLossWhileBuilding(t *testing.T) {
	s := small(t)
	sig := []byte("signature")
	want := s.built(t, sig)
	resumed := 0
	for seed := range uint64(4) {
		for at := 1; ; at++ {
			fs := newMemFS()
			fs.downAt = at
			err := s.build(fs, sig)
			if err == nil {
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatalf("operation %d: %v", at, err)
			}
			if seed == 0 {
				fs.restart() // the process was killed, the machine goes on
			} else {
				fs.reboot(rand.New(rand.NewPCG(seed, uint64(at))))
			}
			if got, ok := fs.content("b"); ok && !bytes.Equal(got, want) {
				t.Fatalf("down at operation %d: a broken file is at its name", at)
			}
			if w, err := Create("b", s.plan, WriterOptions{fs: fs}); err == nil {
				if w.Resumed() > 0 {
					resumed++
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.build(fs, sig); err != nil {
				t.Fatalf("down at operation %d, next build: %v", at, err)
			}
			if got, _ := fs.content("b"); !bytes.Equal(got, want) {
				t.Fatalf("down at operation %d: the next build makes other bytes", at)
			}
			if len(fs.names) != 1 {
				t.Fatalf("down at operation %d: %d files are left", at, len(fs.names))
			}
		}
	}
	if resumed == 0 {
		t.Error("no build went on with what an earlier one left")
	}
}

// A single failing operation is reported, spoils nothing, and the next build
// makes the same bytes.
func TestFailingOperationWhileBuilding(t *testing.T) {
	s := small(t)
	want := s.built(t)
	failed := map[string]bool{}
	for at := 1; ; at++ {
		fs := newMemFS()
		fs.failAt = at
		err := s.build(fs)
		if fs.ops < at {
			break
		}
		what := fs.log[at-1]
		if err == nil {
			// A failing sync behind the scenes may come too late to be
			// seen by a writer, but never by Commit.
			if got, _ := fs.content("b"); !bytes.Equal(got, want) {
				t.Fatalf("%s failed, the build did not, and the file is wrong", what)
			}
			if what != "sync b.part.journal" {
				t.Errorf("%s failed and nobody said so", what)
			}
			continue
		}
		failed[what] = true
		if !errors.Is(err, errInject) {
			t.Errorf("%s failed, and the error is: %v", what, err)
		}
		fs.restart()
		if err := s.build(fs); err != nil {
			t.Fatalf("after %s failed: %v", what, err)
		}
		if got, _ := fs.content("b"); !bytes.Equal(got, want) {
			t.Fatalf("after %s failed the next build makes other bytes", what)
		}
	}
	for _, what := range []string{"write b.part", "write b.part.journal", "sync b.part", "rename b.part", "syncdir", "free", "allocate b.part", "truncate b.part", "lock b.part", "remove b.part.journal"} {
		if !failed[what] {
			t.Errorf("the test never let %q fail", what)
		}
	}
}

// Wherever the power goes while a signature is added, signing again makes the
// same file as if nothing had happened, and in between the file is whole or
// says why it is not.
func TestPowerLossWhileSigning(t *testing.T) {
	s := small(t)
	first, second := []byte("first"), noise("second", 5000)
	before, want := s.built(t, first), s.built(t, first, second)
	states := map[string]int{}
	for seed := range uint64(12) {
		for at := 1; ; at++ {
			fs := newMemFS()
			fs.put("b", before)
			fs.downAt = at
			err := appendSignature(fs, "b", second)
			if err == nil {
				break
			}
			fs.reboot(rand.New(rand.NewPCG(seed, uint64(at))))
			got, _ := fs.content("b")
			_, journal := fs.content("b" + signJournalSuffix)
			switch {
			case bytes.Equal(got, before):
				states["old"]++
			case bytes.Equal(got, want):
				states["new"]++
			case !journal:
				t.Fatalf("down at operation %d: the file is torn and there is no journal", at)
			default:
				states["torn"]++
				if verifyAll(got) == nil {
					t.Fatalf("down at operation %d: the file is torn and passes", at)
				}
				// Down once more, in the middle of the repair.
				for again := 1; again < 12; again++ {
					fs.downAt = again
					_ = appendSignature(fs, "b", second)
					fs.reboot(rand.New(rand.NewPCG(seed, uint64(at*100+again))))
				}
			}
			if err := recoverSigning(fs, "b"); err != nil {
				t.Fatalf("down at operation %d, recovering: %v", at, err)
			}
			if got, _ := fs.content("b"); !bytes.Equal(got, before) && !bytes.Equal(got, want) {
				t.Fatalf("down at operation %d: the recovered file is neither the old nor the new one", at)
			}
			if err := appendSignature(fs, "b", second); err != nil {
				t.Fatalf("down at operation %d, signing again: %v", at, err)
			}
			if got, _ := fs.content("b"); !bytes.Equal(got, want) {
				t.Fatalf("down at operation %d: signing again makes another file", at)
			}
			if len(fs.names) != 1 {
				t.Fatalf("down at operation %d: the journal stays", at)
			}
		}
	}
	for _, s := range []string{"old", "new", "torn"} {
		if states[s] == 0 {
			t.Errorf("the test never saw the file in its %s state: %v", s, states)
		}
	}
}

// A failing operation while a signature is added leaves the file as it was,
// or with a journal that makes it whole.
func TestFailingOperationWhileSigning(t *testing.T) {
	s := small(t)
	sig := noise("signature", 3000)
	before, want := s.built(t), s.built(t, sig)
	for at := 1; ; at++ {
		fs := newMemFS()
		fs.put("b", before)
		fs.failAt = at
		err := appendSignature(fs, "b", sig)
		if fs.ops < at {
			break
		}
		what := fmt.Sprintf("operation %d, %s", at, fs.log[at-1])
		if !errors.Is(err, errInject) {
			t.Errorf("%s failed, and the error is: %v", what, err)
		}
		got, _ := fs.content("b")
		_, journal := fs.content("b" + signJournalSuffix)
		if !bytes.Equal(got, before) && !bytes.Equal(got, want) && !journal {
			t.Errorf("%s failed: the file is torn and there is no journal", what)
		}
		fs.restart()
		if err := appendSignature(fs, "b", sig); err != nil {
			t.Errorf("after %s failed: %v", what, err)
		}
		if got, _ := fs.content("b"); !bytes.Equal(got, want) {
			t.Errorf("after %s failed signing again makes another file", what)
		}
	}
}
