package site

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bundle/install/host"
)

func hostsEdit(s *Site, lines ...string) edit {
	return edit{path: s.p.hosts, text: func(old []byte) ([]byte, error) { return setBlock(old, lines) }}
}

func kept(name, text string) edit {
	return edit{path: name, mode: 0o640, keep: true, data: []byte(text)}
}

func TestFilesComeBackAsTheyWere(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	root := s.p.root
	put1(t, s.p.hosts, "127.0.0.1 localhost\n")
	put1(t, root+"/etc/theirs", "theirs\n")
	if err := os.Chmod(root+"/etc/theirs", 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(root+"/etc/theirs", 12, 34); err != nil {
		t.Fatal(err)
	}
	put1(t, root+"/etc/same", "same\n")
	put1(t, root+"/etc/linked.real", "linked\n")
	if err := os.Symlink("linked.real", root+"/etc/linked"); err != nil {
		t.Fatal(err)
	}
	before := tree(t, root)
	edits := []edit{
		kept(root+"/etc/theirs", "ours"), kept(root+"/etc/deep/er/new", "new"),
		{path: root + "/etc/same", keep: true, data: []byte("same\n")},
		{path: root + "/etc/linked", keep: true, data: []byte("ours")},
		hostsEdit(s, "10.0.0.1 sea.hub"),
	}
	for i, want := range []int{4, 0} {
		changed, err := s.apply(t.Context(), h, edits)
		if err != nil || len(changed) != want {
			t.Fatalf("run %d: %v %v", i, changed, err)
		}
	}
	if info, err := os.Stat(root + "/etc/deep/er/new"); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode: %v %v", info, err)
	}
	if info, err := os.Lstat(root + "/etc/linked"); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v %v", info, err)
	}
	// Twice more with other content: what comes back is what others wrote.
	if _, err := s.apply(t.Context(), h, []edit{kept(root+"/etc/theirs", "ours again")}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Undo(t.Context(), h)
	if err != nil || !r.Changed || len(r.Left) != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	if after := tree(t, root); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	for _, want := range []string{"/etc/theirs (it is as it was)", "/etc/deep/er/new", "the block in"} {
		if !strings.Contains(r.Detail, want) {
			t.Errorf("%q is not told in: %s", want, r.Detail)
		}
	}
	again, err := s.Undo(t.Context(), h)
	if err != nil || again.Changed || again.Detail != "there is nothing of ours" {
		t.Errorf("a second time: %+v %v", again, err)
	}
	if after := tree(t, root); after != before {
		t.Error("a second undo changed something")
	}
}

func TestWhatOthersChangedSinceIsLeft(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	etc := s.p.root + "/etc/"
	put1(t, etc+"edited", "before")
	put1(t, etc+"gone", "before")
	if _, err := s.apply(t.Context(), h, []edit{kept(etc+"edited", "ours"), kept(etc+"gone", "ours"), kept(etc+"made", "ours"), kept(etc+"made and gone"[:4]+"2", "ours")}); err != nil {
		t.Fatal(err)
	}
	put1(t, etc+"edited", "theirs")
	put1(t, etc+"made", "theirs")
	for _, n := range []string{"gone", "made2"} {
		if err := os.Remove(etc + n); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Undo(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if got := get1(t, etc+"edited") + get1(t, etc+"edited.before-bundle") + get1(t, etc+"made") + get1(t, etc+"gone"); got != "theirsbeforetheirsbefore" {
		t.Error(got)
	}
	if _, err := os.Stat(etc + "made2"); err == nil {
		t.Error("a file that somebody removed came back")
	}
	if len(r.Left) != 2 || !strings.Contains(r.Detail, "edited.before-bundle") {
		t.Errorf("%+v", r)
	}
}

// The journal of an install, which clean itself writes to, lies beside ours
// where the operator's machine is a host too.
func TestUndoLeavesJournals(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	if _, err := s.apply(t.Context(), h, []edit{kept(s.p.etc+"/a", "x"), own(s.p.caCert, 0o644, []byte("ca"))}); err != nil {
		t.Fatal(err)
	}
	put1(t, s.p.state+"/my-cluster/journal", "x")
	before := tree(t, s.p.state+"/my-cluster")
	for _, changed := range []bool{true, false} {
		r, err := s.Undo(t.Context(), h)
		if err != nil || r.Changed != changed || len(r.Left) > 0 {
			t.Errorf("%+v %v", r, err)
		}
	}
	if after := tree(t, s.p.state+"/my-cluster"); after != before {
		t.Error(after)
	}
	if list, err := os.ReadDir(s.p.base); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
}

// An image's own scripts write docker's settings after us.
func TestSettingsThatAreOverwrittenAreMergedAnew(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	merge := func(mirror string) edit {
		return edit{path: s.p.daemon, keep: true, text: func(old []byte) ([]byte, error) { return daemonJSON(old, []string{mirror}, nil) }}
	}
	put1(t, s.p.daemon, `{"a": 1}`)
	apply := func(mirror string) {
		t.Helper()
		if _, err := s.apply(t.Context(), h, []edit{merge(mirror)}); err != nil {
			t.Fatal(err)
		}
	}
	apply("https://one")
	apply("https://two")
	if got := get1(t, s.p.daemon); strings.Contains(got, "one") || !strings.Contains(got, "two") || !strings.Contains(got, `"a"`) {
		t.Errorf("an old mirror is left: %s", got)
	}
	put1(t, s.p.daemon, `{"image": true}`)
	apply("https://two")
	if got := get1(t, s.p.daemon); !strings.Contains(got, "two") || !strings.Contains(got, "image") {
		t.Error(got)
	}
	if _, err := s.Undo(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if got := get1(t, s.p.daemon); got != `{"image": true}` {
		t.Error(got)
	}
}

// A crash may come between the record and the file.
func TestUndoAfterACrash(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	name := s.p.root + "/etc/a"
	put1(t, name, "first")
	if _, err := s.apply(t.Context(), h, []edit{kept(name, "second")}); err != nil {
		t.Fatal(err)
	}
	h.between = func(c host.Command) {
		if strings.Contains(c.Script, "base64 -d") {
			// Only the first line, which is the record, gets through.
			in := make([]byte, 1<<16)
			n, _ := c.Stdin.Read(in)
			line, _, _ := strings.Cut(string(in[:n]), "\n")
			c.Stdin = strings.NewReader(line + "\n")
			c.Script = "export PATH=" + h.bin + ":$PATH\n" + c.Script
			if err := h.Host.Run(t.Context(), c); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := s.apply(t.Context(), h, []edit{kept(name, "third")}); err != nil {
		t.Fatal(err)
	}
	h.between = nil
	if got := get1(t, name); got != "second" {
		t.Fatalf("the crash did not happen: %s", got)
	}
	if _, err := s.Undo(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	if got := get1(t, name); got != "first" {
		t.Errorf("after a crash the file came back as %q", got)
	}
}

// Several installs, and a person with an editor, at once.
func TestEditsAtTheSameTime(t *testing.T) {
	o := options(t)
	var wg sync.WaitGroup
	const people = 4
	put1(t, o.Root+"/etc/hosts", "127.0.0.1 localhost\n")
	errs := make([]error, people)
	for i := range people {
		h := newHost(t, "127.0.0.1")
		s := newSite(t, o) // as another process has it
		wg.Go(func() {
			_, errs[i] = s.apply(context.WithoutCancel(t.Context()), h, []edit{
				hostsEdit(s, "10.0.0.1 sea.hub"),
				kept(fmt.Sprintf("%s/etc/d/%d", o.Root, i), "x"),
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := get1(t, o.Root+"/etc/hosts"); got != "# BEGIN bundle\n10.0.0.1 sea.hub\n# END bundle\n127.0.0.1 localhost\n" {
		t.Error(got)
	}
	r, err := newSite(t, o).Undo(t.Context(), newHost(t, "127.0.0.1"))
	if err != nil || len(r.Left) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := os.Stat(o.Root + "/etc/d"); err == nil {
		t.Error("a change of one of them was forgotten")
	}
}

func TestAFileThatChangesBetweenReadingAndWritingIsReadAgain(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	put1(t, s.p.hosts, "127.0.0.1 localhost\n")
	times := 0
	h.between = func(c host.Command) {
		if times++; strings.Contains(c.Script, "base64 -d") && times < 6 {
			put1(t, s.p.hosts, get1(t, s.p.hosts)+"10.9.9.9 late\n")
		}
	}
	if _, err := s.apply(t.Context(), h, []edit{hostsEdit(s, "10.0.0.1 sea.hub")}); err != nil {
		t.Fatal(err)
	}
	if got := get1(t, s.p.hosts); !strings.Contains(got, "late") || !strings.Contains(got, "sea.hub") {
		t.Error(got)
	}
	h.between = func(c host.Command) {
		if strings.Contains(c.Script, "base64 -d") {
			put1(t, s.p.hosts, get1(t, s.p.hosts)+"#\n")
		}
	}
	if _, err := s.apply(t.Context(), h, []edit{hostsEdit(s, "10.0.0.2 sea.hub")}); !errors.Is(err, ErrFile) || !strings.Contains(err.Error(), "keeps changing") {
		t.Error(err)
	}
}

func TestFilesThatCannotBeWorkedWith(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	if err := os.MkdirAll(s.p.daemon, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := s.apply(t.Context(), h, []edit{kept(s.p.daemon, "x")})
	if !errors.Is(err, ErrFile) || !strings.HasSuffix(err.Error(), "daemon.json is not a file") {
		t.Error(err)
	}
	put1(t, s.p.records, `{"version": 2}`)
	if _, err := s.Undo(t.Context(), h); !errors.Is(err, ErrFile) {
		t.Errorf("records of another version: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Undo(ctx, h); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNothingOfAFileIsPrinted(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	logs := t.TempDir()
	h.Host = host.Local("127.0.0.1", host.Options{LogDir: logs})
	s := newSite(t, options(t))
	put1(t, s.p.daemon, `{"theirs": "geheimnis"}`)
	for range 2 {
		if _, err := s.apply(t.Context(), h, []edit{
			{path: s.p.daemon, keep: true, text: func(old []byte) ([]byte, error) { return daemonJSON(old, []string{"https://geheimnis"}, nil) }},
			kept(s.p.root+"/etc/x", "geheimnis"),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Undo(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(logs + "/*")
	if err != nil || len(names) == 0 {
		t.Fatalf("no log: %v", err)
	}
	for _, n := range names {
		log := get1(t, n)
		if strings.Contains(log, "geheim") || strings.Contains(log, "Z2VoZWlt") || len(log) == 0 {
			t.Errorf("the log has what is in a file:\n%s", log)
		}
	}
}

// Where /etc/hosts is a mount of its own, as in containers, it cannot be
// replaced.
func TestAFileThatCannotBeReplacedIsWrittenInto(t *testing.T) {
	h := newHost(t, "127.0.0.1")
	s := newSite(t, options(t))
	h.fake(t, "mv", "echo busy >&2; exit 1")
	put1(t, s.p.hosts, "127.0.0.1 localhost\n")
	before, err := os.Stat(s.p.hosts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.apply(t.Context(), h, []edit{hostsEdit(s, "10.0.0.1 sea.hub")}); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(s.p.hosts)
	if err != nil || !os.SameFile(before, after) || !strings.Contains(get1(t, s.p.hosts), "sea.hub") {
		t.Errorf("%v %s", err, get1(t, s.p.hosts))
	}
	left, err := filepath.Glob(s.p.etc + "/.bundle-*")
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}
