package site

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/verify"
)

func TestBundlesThatAreNotGood(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	bad := f.first
	bad.Path = filepath.Join(t.TempDir(), "bad.tar.zst")
	data := []byte(get1(t, f.first.Path))
	data[len(data)/2] ^= 1
	if err := os.WriteFile(bad.Path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := s.Place(t.Context(), h, []Source{bad})
	if !errors.Is(err, ErrBundle) || !errors.Is(err, verify.ErrDamaged) || !strings.Contains(err.Error(), "host 127.0.0.1: bundle b0 1 is not whole there: ") {
		t.Errorf("damaged: %v", err)
	}
	// What is left of it does not stand in the way of the good one, and a bad
	// file in its place is replaced.
	name := s.p.bundles + "/" + f.first.Index.Encoded() + ".tar.zst"
	if _, err := os.Stat(name); err == nil {
		t.Error("the damaged bundle was left")
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	mustPlace(t, s, h, true, f.first)
	// It is verified again when it changed, and not before.
	runs := h.runs
	mustPlace(t, s, h, false, f.first)
	quiet := h.runs - runs
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	mustPlace(t, s, h, true, f.first)
	if get1(t, name) == string(data) || quiet > 6 {
		t.Errorf("a file that changed on the host was kept, or %d scripts for nothing", quiet)
	}
	short := f.first
	short.Size--
	if _, err := s.Place(t.Context(), h, []Source{short}); !errors.Is(err, ErrBundle) {
		t.Errorf("another size: %v", err)
	}
	another := f.second
	another.Index = f.first.Index
	another.Name = "x"
	if _, err := s.Place(t.Context(), h, []Source{another}); !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), "is another one there") {
		t.Errorf("another bundle: %v", err)
	}
	o := s.o
	o.Policy = Policy{Keys: [][]byte{[]byte(get1(t, f.otherKey))}}
	if _, err := newSite(t, o).Place(t.Context(), h, []Source{f.first}); !errors.Is(err, verify.ErrUntrusted) {
		t.Errorf("a wrong key: %v", err)
	}
	o.Policy = Policy{Indexes: []digest.Digest{f.second.Index}}
	if _, err := newSite(t, o).Place(t.Context(), h, []Source{f.first}); !errors.Is(err, verify.ErrUntrusted) {
		t.Errorf("another index: %v", err)
	}
	o.Policy.Indexes = append(o.Policy.Indexes, f.first.Index)
	if _, err := newSite(t, o).Place(t.Context(), h, []Source{f.first}); err != nil {
		t.Errorf("the right index: %v", err)
	}
	if _, err := s.Place(t.Context(), h, nil); !errors.Is(err, ErrOptions) {
		t.Errorf("none: %v", err)
	}
}

func TestHostsThatCannotTakeABundle(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	h.fake(t, "df", `printf 'Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/x 100 50 70000 50%% /\n'`)
	_, err := s.Place(t.Context(), h, []Source{f.first})
	if !errors.Is(err, ErrSpace) || !strings.Contains(err.Error(), "has 68.4 MiB free and the registry needs") {
		t.Errorf("a full disk: %v", err)
	}
	if _, err := os.Stat(s.p.binary); err == nil {
		t.Error("something was uploaded to a full disk")
	}
	h.fake(t, "uname", "echo mips64")
	if _, err = s.Place(t.Context(), h, []Source{f.first}); !errors.Is(err, ErrArch) || !strings.Contains(err.Error(), "is a program for x86_64, and this host is mips64") {
		t.Errorf("another processor: %v", err)
	}
	o := s.o
	o.Binary = f.key
	if _, err = newSite(t, o).PlaceProgram(t.Context(), h); !errors.Is(err, ErrArch) || !strings.Contains(err.Error(), "is no program for Linux") {
		t.Errorf("no program: %v", err)
	}
}

func TestBundleOfTheSameMachine(t *testing.T) {
	f := needFixture(t)
	s, h := live(t, f, nil)
	h.far = false
	if out := mustPlace(t, s, h, true, f.first); !strings.Contains(out.Detail, "bundle b0 1 linked and verified") && !strings.Contains(out.Detail, "cop") && !strings.Contains(out.Detail, "clone") {
		t.Errorf("%+v", out)
	}
	mustStart(t, s, h, true)
	// A file that others may write to is copied, not given a second name.
	theirs := f.second
	theirs.Path = filepath.Join(t.TempDir(), "theirs $x.tar.zst")
	if err := os.WriteFile(theirs.Path, []byte(get1(t, f.second.Path)), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(theirs.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	if out := mustPlace(t, s, h, true, theirs); strings.Contains(out.Detail, "linked") {
		t.Errorf("%+v", out)
	}

	o := s.o
	o.InPlace = true
	in := newSite(t, o)
	if out := mustPlace(t, in, h, true, theirs); !strings.Contains(out.Detail, "verified where it lay") {
		t.Errorf("%+v", out)
	}
	mustStart(t, in, h, true)
	if code, body := fetch(t, in, "/v2/tools/one/manifests/1?ns=quay.io", "", ""); code != 200 {
		t.Errorf("%d %s", code, body)
	}
	if _, err := in.Undo(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{theirs.Path, f.first.Path} {
		if _, err := os.Stat(n); err != nil {
			t.Errorf("the user's own file is gone: %v", err)
		}
	}
	inside := theirs
	inside.Path = in.p.base + "/mine.tar.zst"
	put1(t, inside.Path, "x")
	if _, err := in.Place(t.Context(), h, []Source{inside}); !errors.Is(err, ErrOptions) {
		t.Errorf("inside of our folder: %v", err)
	}
}
