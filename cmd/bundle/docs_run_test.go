package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// elsewhere are documented commands that cannot be run here, each with the test
// that runs it and the words of that test which do so.
var elsewhere = []struct{ line, test, words string }{
	{`^bundle preflight `, "test/e2e/preflight_test.go", `s.args("preflight")`},
	{`^bundle install .*--receipt `, "cmd/bundle/testdata/script/receipt.txtar", "--receipt"},
	{`^bundle verify-receipt installed.json `, "cmd/bundle/testdata/script/receipt.txtar", "exec bundle verify-receipt r.json --key eve.pub --key op.pub web.tar.zst"},
	{`^bundle .*--policy policy.yaml`, "cmd/bundle/testdata/script/policy.txtar", "exec bundle verify web.tar.zst --policy policy.yaml"},
	{`^bundle sign .*--statement `, "cmd/bundle/testdata/script/policy.txtar", "--statement"},
	{`^bundle verify .*--certificate-identity `, "cmd/bundle/netcut_test.go", `"--certificate-identity", who`},
	{`^bundle verify .* --signature index.sigstore.json`, "cmd/bundle/testdata/script/trust.txtar", "bundle verify web.tar.zst --key other.pub --signature web.sig"},
	{`^bundle repair FILE`, "cmd/bundle/testdata/script/recovery.txtar", "exec bundle repair site.tar.zst"},
}

// needsHosts ends commands that work on hosts where the hosts would begin; the
// whole way is that of test/e2e.
var needsHosts = map[string]string{
	"check":  "no install is recorded here",
	"clean":  "no install is recorded here",
	"status": "nothing was ever installed",
}

// typist is what a document's commands are typed into: it fetches images from
// where this test has them, ends a server that has begun, and an install where
// hosts would be touched.
const typist = `
bundle() {
	cmd=$1; shift
	case $cmd in
	build) command bundle build --mirror "*=$UPSTREAM" --platform linux/amd64 "$@" ;;
	install) command bundle install "$@" --dry-run ;;
	serve)
		: >.serve.out
		command bundle serve "$@" --addr 127.0.0.1:0 -o json >.serve.out & pid=$!
		until [ -s .serve.out ]; do kill -0 $pid 2>/dev/null || { wait $pid; return $?; }; sleep 0.05; done
		kill $pid; wait $pid || : ;;
	*) command bundle "$cmd" "$@" ;;
	esac
}
export GITHUB_REF_NAME=v1.2.0 CI_COMMIT_TAG=v1.2.0
[ ! -e release.key ] || export BUNDLE_KEY="$(cat release.key)"
`

// docWorld is the folder of one reader of one document.
type docWorld struct {
	dir, root string
	// strict: bundles come only from what the document says.
	strict   bool
	env      []string
	shelf    *docShelf
	replacer *strings.Replacer
}

// docShelf has what readers bring along: keys and bundles.
type docShelf struct {
	t   *testing.T
	dir string
	env []string
}

func (s *docShelf) run(args ...string) {
	s.t.Helper()
	cmd := exec.Command("bundle", args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("bundle %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// key makes a pair once.
func (s *docShelf) key(name string) string {
	p := filepath.Join(s.dir, name)
	if _, err := os.Stat(p + ".key"); err != nil {
		s.run("keygen", "-o", p)
	}
	return p
}

// give brings along what a line names and nobody has made: the keys, the
// bundles signed by them, the users of a registry.
func (w *docWorld) give(t *testing.T, line string) {
	t.Helper()
	copyTo := func(from, to string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(w.dir, to), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	words := strings.Fields(line)
	missing := func(name string) bool {
		_, err := os.Lstat(filepath.Join(w.dir, name))
		return err != nil
	}
	for _, word := range words {
		base, public := strings.CutSuffix(word, ".pub")
		base, private := strings.CutSuffix(base, ".key")
		if (public || private) && !strings.ContainsAny(word, "/:") && missing(base+".pub") {
			from := w.shelf.key(base)
			copyTo(from+".key", base+".key")
			copyTo(from+".pub", base+".pub")
		}
		if word == "users" && missing(word) {
			hash, err := bcrypt.GenerateFromPassword([]byte("demo"), bcrypt.MinCost)
			if err == nil {
				err = os.WriteFile(filepath.Join(w.dir, word), fmt.Appendf(nil, "demo:%s\n", hash), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, word := range words {
		word = strings.TrimPrefix(word, "bundle:")
		if w.strict || !strings.HasSuffix(word, ".tar.zst") || !missing(word) || slices.Contains([]string{"-o", ">"}, words[i-1]) {
			continue
		}
		from := "shop.tar.zst"
		if strings.HasPrefix(word, "cnstack") {
			from = "cnstack.tar.zst"
		}
		copyTo(filepath.Join(w.shelf.dir, from), word)
		keys, _ := filepath.Glob(filepath.Join(w.dir, "*.key"))
		for _, k := range keys {
			w.shelf.run("sign", filepath.Join(w.dir, word), "--key", k)
		}
	}
}

// damage is what happened on the way in a document that tells how to mend it:
// the copy at the site is broken, the one at the source is whole.
func (w *docWorld) damage(t *testing.T, words []string) {
	t.Helper()
	i := slices.Index(words, "--want")
	if i < 0 {
		return
	}
	site := filepath.Join(w.dir, words[1])
	whole := filepath.Join(w.dir, ".whole")
	data, err := os.ReadFile(site)
	if err != nil {
		t.Fatal(err)
	}
	if words[0] == "verify" {
		err = os.WriteFile(whole, data, 0o600)
		data[len(data)/2] ^= 0x20
	} else if data, err = os.ReadFile(whole); err != nil {
		t.Fatal(err)
	}
	if err == nil {
		err = os.WriteFile(site, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDocumentedCommandsRun types what the documents tell to type, in their
// order: what is told first makes what is told next possible.
func TestDocumentedCommandsRun(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	up := startUpstream(t, root)
	env := append(os.Environ(), "UPSTREAM="+up.Addr(), "BUNDLE_PASSWORD=secret", "NO_COLOR=1", "LC_ALL=C")
	shelf := &docShelf{t: t, dir: t.TempDir(), env: env}
	plain := []string{"--platform", "linux/amd64", "--mirror", "*=" + up.Addr(), "--unsigned"}
	shelf.run(append([]string{"build", filepath.Join(root, "testdata/native"), "-o", "shop.tar.zst"}, plain...)...)
	shelf.run(append([]string{"build", filepath.Join(root, "testdata/ackdistro"), "--name", "ackdistro", "--version", "v1.20.4-ack-2", "-o", "base.tar.zst"}, plain...)...)
	shelf.run(append([]string{"build", filepath.Join(root, "testdata/cnstack-ce/charts/build-cnstack-ce"), "--name", "cnstack-ce", "--version", "1.1.0", "--from", "bundle:base.tar.zst", "-o", "cnstack.tar.zst"}, plain...)...)

	site := startSite(t, shelf)

	used := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range append(files, filepath.Join(root, "README.md"), filepath.Join(root, "README_zh.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc := filepath.Base(file)
		t.Run(doc, func(t *testing.T) {
			w := newDocWorld(t, root, shelf, site)
			w.strict = strings.HasPrefix(doc, "README")
			last := ""
			for _, line := range documented(t, string(text)) {
				if line.prose || line.text == last || strings.HasPrefix(line.words[0], "-") || line.words[0] == strings.ToUpper(line.words[0]) {
					continue
				}
				last = line.text
				if i := slices.IndexFunc(elsewhere, func(e struct{ line, test, words string }) bool {
					return regexp.MustCompile(e.line).MatchString(line.text)
				}); i >= 0 {
					used[elsewhere[i].line] = true
					continue
				}
				w.typeLine(t, line)
				ran++
			}
		})
	}
	if ran < 70 {
		t.Errorf("only %d documented lines were typed", ran)
	}
	for _, e := range elsewhere {
		data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(e.test)))
		if err != nil || !bytes.Contains(data, []byte(e.words)) {
			t.Errorf("%s does not run %s by %q (%v)", e.test, e.line, e.words, err)
		}
		if !used[e.line] {
			t.Errorf("no document says %s any more", e.line)
		}
	}
}

// startSite is the registry that a company or a site has, until the test ends.
func startSite(t *testing.T, s *docShelf) (addr string) {
	t.Helper()
	cmd := exec.Command("bundle", "serve", "shop.tar.zst", "--insecure-skip-signature", "--writable", t.TempDir(), "--addr", "127.0.0.1:0", "-o", "json")
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	var said struct{ Addr string }
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return said.Addr
}

func newDocWorld(t *testing.T, root string, shelf *docShelf, site string) *docWorld {
	t.Helper()
	w := &docWorld{dir: t.TempDir(), root: root, shelf: shelf}
	w.env = append(slices.Clone(shelf.env), "HOME="+w.dir, "XDG_CONFIG_HOME=", "XDG_STATE_HOME=", "XDG_CACHE_HOME=")
	w.replacer = strings.NewReplacer(
		"harbor.corp", site, "harbor.site", site,
		"/media/stick/", "", "/mnt/a/", "", "/mnt/b/", "", "NAME.tar.zst", "shop-1.0.0.tar.zst", "4GiB-1", "1500kB",
	)
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.CopyFS(w.dir, os.DirFS(filepath.Join(root, "testdata/native"))))
	must(os.Symlink(filepath.Join(root, "testdata"), filepath.Join(w.dir, "testdata")))
	must(os.WriteFile(filepath.Join(w.dir, "Clusterfile"), []byte(`apiVersion: sealer.cloud/v2
kind: Cluster
metadata: {name: docs}
spec:
  hosts:
    - {ips: [10.0.0.1], roles: [master]}
`), 0o600))
	full, err := os.ReadFile(filepath.Join(root, "testdata/cnstack-ce/deploy/Clusterfile.full"))
	must(err)
	must(os.WriteFile(filepath.Join(w.dir, "Clusterfile.full"), full, 0o600))
	return w
}

// typeLine types one line, and wants it to end as the document says.
func (w *docWorld) typeLine(t *testing.T, line docLine) {
	t.Helper()
	text := w.replacer.Replace(line.text)
	words := strings.Fields(w.replacer.Replace(strings.Join(line.words, " ")))
	code, _, _ := strings.Cut(text, " #")
	w.give(t, code)
	w.damage(t, words)
	cmd := exec.Command("sh", "-c", typist+text)
	cmd.Dir, cmd.Env = w.dir, w.env
	out, err := cmd.CombinedOutput()
	got := cmd.ProcessState.ExitCode()
	want := 0
	switch {
	case slices.Contains(words, "self") && !static(t):
		return // a test program that needs libraries is not one to carry
	case needsHosts[words[0]] != "":
		want = exitFailed
		if !strings.Contains(string(out), needsHosts[words[0]]) {
			t.Errorf("%s: it did not end where hosts begin:\n%s", text, out)
		}
	case words[0] == "verify" && slices.Contains(words, "--want"):
		want = exitDamaged
	}
	if got != want {
		t.Errorf("%s: %v, want exit %d\n%s", text, err, want, out)
	}
}
