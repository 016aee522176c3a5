package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// session is what docs/session.svg shows, typed in order.
var session = []string{
	"bundle keygen -o ci",
	"bundle build charts/build-cnstack-ce --name cnstack-ce --version 1.1.0 --from bundle:ackdistro.tar.zst --key ci.key",
	"bundle verify cnstack-ce-1.1.0.tar.zst --key ci.pub",
	"cp cnstack-ce-1.1.0.tar.zst stick.tar.zst && printf X | dd of=stick.tar.zst bs=1 seek=1500000 conv=notrunc 2>/dev/null",
	"bundle verify stick.tar.zst --key ci.pub >/dev/null; echo exit $?",
	"bundle why registration-operator cnstack-ce-1.1.0.tar.zst",
	"bundle plan cnstack-ce-1.1.0.tar.zst --key ci.pub -m 10.0.0.1 2>/dev/null | sed -n '/^cnstack-ce/,$p' | head -16 | cut -c1-98",
}

// The session that the README shows is one that happened, and would happen so
// today. It is recorded by `go test ./cmd/bundle -run TestSession -update`.
func TestSession(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	up := startUpstream(t, root)
	dir := t.TempDir()
	env := append(os.Environ(), "UPSTREAM="+up.Addr(), "BUNDLE_PASSWORD=secret", "NO_COLOR=1", "LC_ALL=C", "HOME="+dir)
	shelf := &docShelf{t: t, dir: dir, env: env}
	shelf.run("build", filepath.Join(root, "testdata/ackdistro"), "--name", "ackdistro", "--version", "v1.20.4-ack-2",
		"--platform", "linux/amd64", "--mirror", "*="+up.Addr(), "--unsigned", "-o", "ackdistro.tar.zst")
	if err := os.Symlink(filepath.Join(root, "testdata/cnstack-ce/charts"), filepath.Join(dir, "charts")); err != nil {
		t.Fatal(err)
	}

	var lines []string
	for _, typed := range session {
		cmd := exec.Command("sh", "-c", typist+typed)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", typed, err, out)
		}
		lines = append(lines, "$ "+typed)
		lines = append(lines, strings.Split(strings.TrimRight(string(out), "\n"), "\n")...)
	}
	path := filepath.Join(root, "docs", "session.svg")
	if *update {
		if err := os.WriteFile(path, terminal(lines), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sameEveryTime(have), sameEveryTime(terminal(lines)); got != want {
		t.Errorf("%s is not what happens today; run this test with -update\n%s", path, strings.Join(lines, "\n"))
	}
	const most = 30 << 10
	if len(have) > most {
		t.Errorf("%s has %d bytes, more than %d", path, len(have), most)
	}
}

// sameEveryTime is the text of a drawing without what differs between two runs:
// digests, keys, and sizes, which a signature changes by a byte. A digest may go
// on in the next line.
func sameEveryTime(svg []byte) string {
	svg = regexp.MustCompile(`<[^>]*>|\n`).ReplaceAll(svg, nil)
	svg = regexp.MustCompile(`[0-9a-f]{12,}`).ReplaceAll(svg, []byte("DIGEST"))
	return regexp.MustCompile(`[0-9.]+ (B|kB|MB)\b|bytes [0-9]+ to [0-9]+`).ReplaceAllString(string(svg), "SIZE")
}

// terminal draws lines as a terminal shows them, without a font of its own.
func terminal(lines []string) []byte {
	const columns, lineHeight, charWidth, pad = 100, 18, 8.0, 14
	var shown []string
	for _, l := range lines {
		for r := []rune(l); ; {
			n := min(len(r), columns)
			shown = append(shown, string(r[:n]))
			if r = r[n:]; len(r) == 0 {
				break
			}
		}
	}
	var b bytes.Buffer
	width, height := int(columns*charWidth)+2*pad, len(shown)*lineHeight+2*pad
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="A session with bundle">
<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d6deeb;white-space:pre}.t{fill:#fff;font-weight:600}.g{fill:#7fdb8b}.r{fill:#ff8a80}.n{fill:#8fb8ff}</style>
<rect width="100%%" height="100%%" rx="8" fill="#0f1720"/>
`, width, height, width, height)
	for i, l := range shown {
		class := ""
		switch {
		case strings.HasPrefix(l, "$ "):
			class = ` class="t"`
		case strings.HasSuffix(l, ": OK"):
			class = ` class="g"`
		case strings.HasPrefix(l, "error:"), strings.HasSuffix(l, ": NOT OK"), strings.Contains(l, "damaged"):
			class = ` class="r"`
		case strings.HasPrefix(l, "next: "), strings.HasPrefix(l, "  or: "), strings.HasPrefix(l, "hint: "):
			class = ` class="n"`
		}
		if l != "" {
			fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\"%s xml:space=\"preserve\">%s</text>\n", pad, pad+i*lineHeight+13, class, html.EscapeString(l))
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
