package archive

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// The example of docs/format.md, byte for byte. If this test fails, bundles
// that were made before can no longer be read, or the document is wrong.
func TestFormatIsFrozen(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "docs", "format.md"))
	if err != nil {
		t.Fatal(err)
	}
	content := []byte("a")
	d := digest.FromBytes(content)
	plan, err := NewPlan(ocispec.Index{}, []Blob{{Digest: d, Size: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &sample{plan: plan, content: map[digest.Digest][]byte{d: content}}
	p := readFile(t, s.write(t))
	if got := digest.FromBytes(p).Encoded(); got != "82f16943bb10a4b1f80b7c6231c5bb86d987a769a368f9425a308c9a4a4ec9ea" {
		t.Errorf("the example has the digest %s", got)
	}
	says := func(what, text string) {
		t.Helper()
		if !strings.Contains(string(doc), text) {
			t.Errorf("docs/format.md does not have the %s %s", what, text)
		}
	}
	says("digest", digest.FromBytes(p).Encoded())
	says("index", string(plan.IndexBytes()))
	says("length", "5254 bytes")
	if len(p) != 5254 {
		t.Errorf("the example has %d bytes", len(p))
	}
	// The hex in the document, without its comments, is in the file.
	blob := plan.geo.pos[0]
	var found []byte
	line := regexp.MustCompile(`(?m)^    ((?:[0-9a-f]{2} +)*[0-9a-f]{2})(?:   .*)?$`)
	for _, m := range line.FindAllStringSubmatch(string(doc), -1) {
		b, err := hex.DecodeString(strings.ReplaceAll(m[1], " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, b...)
	}
	want := append(bytes.Clone(p[blob:blob+32]), p[len(p)-int(seekTableLen(5)):]...)
	if !bytes.Equal(found, want) {
		t.Errorf("the document shows\n%x\nthe file has\n%x", found, want)
	}
	says("checksum field", "`30 32 32 35 35 32 00 20`")
	if got := hex.EncodeToString(p[blob+13+148 : blob+13+156]); got != "3032323535320020" {
		t.Errorf("the checksum field is %s", got)
	}
	// The offsets by the document's formula.
	for _, sum := range []bool{false, true} {
		shape := rawShape{n: 5 << 30, sum: sum}
		full := int64(16777610)
		if sum {
			full = 16777614
		}
		for _, at := range []int64{0, 1, 131071, 131072, 16777215, 16777216, 3<<30 + 777} {
			in := at % 16777216
			want := at/16777216*full + 10 + 3*(in/131072+1) + in
			if got := shape.position(at); got != want {
				t.Errorf("byte %d lies at %d, not %d", at, got, want)
			}
		}
	}
}
