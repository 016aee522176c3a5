package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Signatures have limits, for Commit as for AppendSignature.
func TestSignatureLimits(t *testing.T) {
	s := newSample(t, nil, []byte("x"))
	path := filepath.Join(t.TempDir(), "b")
	w, err := Create(path, s.plan, WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	s.fill(t, w)
	many := make([][]byte, MaxSignatures+1)
	for i := range many {
		many[i] = fmt.Appendf(nil, "signature %d", i)
	}
	for name, sigs := range map[string][][]byte{"empty": {{}}, "large": {make([]byte, MaxSignatureSize+1)}, "many": many} {
		if err := w.Commit(sigs...); err == nil {
			t.Fatalf("%s signatures were accepted", name)
		}
	}
	if err := w.Commit(many[:MaxSignatures-1]...); err != nil {
		t.Fatal(err)
	}
	if err := AppendSignature(path, nil); err == nil {
		t.Error("an empty signature was accepted")
	}
	if err := AppendSignature(path, many[63]); err != nil {
		t.Fatal(err)
	}
	whole := readFile(t, path)
	if err := AppendSignature(path, many[64]); err == nil || !strings.Contains(err.Error(), "64") {
		t.Errorf("one signature too many: %v", err)
	}
	if err := AppendSignature(path, many[5]); err != nil {
		t.Errorf("a signature that is there: %v", err)
	}
	if !bytes.Equal(readFile(t, path), whole) {
		t.Error("a refused signature changed the file")
	}
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i, got := range r.Signatures() {
		if !bytes.Equal(got, many[i]) {
			t.Fatalf("signature %d is %q", i+1, got)
		}
	}
	if len(r.Signatures()) != MaxSignatures || verifyAll(whole) != nil {
		t.Error("the full bundle is not whole")
	}
	if _, err := streamAll(bytes.NewReader(whole)); err != nil {
		t.Error(err)
	}
}

// Signing later gives the same bytes as signing at once.
func TestAppendedSignaturesAreTheSame(t *testing.T) {
	s := small(t)
	sigs := [][]byte{[]byte("one"), noise("two", MaxSignatureSize), []byte("three")}
	path := s.write(t)
	for i := range sigs {
		if err := AppendSignature(path, sigs[i]); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readFile(t, path), readFile(t, s.write(t, sigs[:i+1]...))) {
			t.Errorf("with %d signatures the files differ", i+1)
		}
	}
	if err := AppendSignature(filepath.Join(t.TempDir(), "none"), []byte("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("signing nothing: %v", err)
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, noise("x", 10_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := AppendSignature(other, []byte("x")); !errors.Is(err, ErrFormat) {
		t.Errorf("signing another kind of file: %v", err)
	}
}

// A file that an interrupted signing left torn says so, and names the journal.
func TestTornFileNamesTheJournal(t *testing.T) {
	s := small(t)
	path := s.write(t)
	p := readFile(t, path)
	torn := bytes.Clone(p)
	copy(torn[s.plan.geo.end:], make([]byte, 40))
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), signJournalSuffix) {
		t.Errorf("without a journal: %v", err)
	}
	if err := os.WriteFile(path+signJournalSuffix, []byte("half a journal"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path+signJournalSuffix) {
		t.Errorf("with a journal: %v", err)
	}
}

// A journal that another bundle left behind does not touch this one.
func TestForeignSignJournal(t *testing.T) {
	a, b := small(t), newSample(t, nil, []byte("another bundle"))
	fs := newMemFS()
	fs.put("b", a.built(t))
	for at := 1; fs.names["b"+signJournalSuffix] == nil || len(fs.names["b"].pending) == 0; at++ {
		fs = newMemFS()
		fs.put("b", a.built(t))
		fs.downAt = at
		_ = appendSignature(fs, "b", []byte("x"))
	}
	journal := fs.names["b"+signJournalSuffix].data
	sig := []byte("y")
	fs = newMemFS()
	fs.put("b", b.built(t))
	fs.put("b"+signJournalSuffix, journal)
	if err := appendSignature(fs, "b", sig); err != nil {
		t.Fatal(err)
	}
	if got, _ := fs.content("b"); !bytes.Equal(got, b.built(t, sig)) {
		t.Error("a foreign journal changed the bundle")
	}
	torn := bytes.Clone(b.built(t))
	clear(torn[len(torn)-30:])
	fs = newMemFS()
	fs.put("b", torn)
	fs.put("b"+signJournalSuffix, journal)
	if err := appendSignature(fs, "b", sig); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), signJournalSuffix) {
		t.Errorf("a torn bundle with a foreign journal: %v", err)
	}
	if got, _ := fs.content("b"); !bytes.Equal(got, torn) {
		t.Error("a foreign journal changed a torn bundle")
	}
}
