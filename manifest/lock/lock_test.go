package lock

import (
	"bytes"
	_ "crypto/sha512" // as every program with TLS has it
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
)

func dig(s string) digest.Digest { return digest.FromString(s) }

func sample() *Lock {
	return &Lock{
		Tool:      "bundle 1.0.0",
		Platforms: []string{"linux/arm64", "linux/amd64"},
		Bases:     []Base{{Ref: "registry.example.com/ackdistro:v1", Digest: dig("base")}},
		Images: []Image{
			{Name: "registry.k8s.io/pause:3.9", Digest: dig("pause"), MediaType: "application/vnd.oci.image.index.v1+json", Platforms: []string{"linux/arm64", "linux/amd64"},
				Attached: []manifest.Attached{{Digest: dig("s2"), ArtifactType: "a<b>"}, {Digest: dig("s1"), Tag: "sha256-x.sig"}}},
			{Name: "docker.io/library/nginx:1.25", Digest: dig("nginx")},
		},
		Charts: []Chart{
			{Name: "b", Version: "1.0.0", Digest: dig("b"), Source: "charts/b"},
			{Name: "a", Version: "2.0.0", Digest: dig("a"), Source: "oci://r.io/a"},
		},
		Files: dig("files"),
	}
}

// The lock goes into version control: the order in which a build happened to
// resolve names must not show in it.
func TestEncodeIsCanonical(t *testing.T) {
	a, err := sample().Encode()
	if err != nil {
		t.Fatal(err)
	}
	l := sample()
	l.Images[0], l.Images[1] = l.Images[1], l.Images[0]
	l.Charts[0], l.Charts[1] = l.Charts[1], l.Charts[0]
	l.Platforms = []string{"linux/amd64", "linux/arm64", "linux/amd64"}
	b, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("two orders, two locks:\n%s\n%s", a, b)
	}
	if l.Platforms[2] != "linux/amd64" || l.Images[0].Name != "docker.io/library/nginx:1.25" {
		t.Error("Encode changed its receiver")
	}
	if !bytes.HasSuffix(a, []byte("}\n")) || !bytes.Contains(a, []byte(`"a<b>"`)) || bytes.Contains(a, []byte("null")) {
		t.Errorf("form:\n%s", a)
	}
	back, err := Parse("bundle.lock", bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	c, err := back.Encode()
	if err != nil || !bytes.Equal(a, c) {
		t.Errorf("reading and writing changes the lock: %v\n%s", err, c)
	}
	if d := Diff(sample(), back); d != nil {
		t.Errorf("reading and writing changes the content: %v", d)
	}
}

func TestEncodeEmpty(t *testing.T) {
	data, err := (&Lock{}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"version\": 1,\n  \"platforms\": [],\n  \"images\": []\n}\n"; string(data) != want {
		t.Errorf("got %s", data)
	}
}

func TestLookUp(t *testing.T) {
	l := sample()
	if im, ok := l.Image("docker.io/library/nginx:1.25"); !ok || im.Digest != dig("nginx") {
		t.Errorf("image %v %v", im, ok)
	}
	if c, ok := l.Chart("charts/b"); !ok || c.Name != "b" {
		t.Errorf("chart %v %v", c, ok)
	}
	if b, ok := l.Base("registry.example.com/ackdistro:v1"); !ok || b.Digest != dig("base") {
		t.Errorf("base %v %v", b, ok)
	}
	_, okI := l.Image("x")
	_, okC := l.Chart("x")
	_, okB := l.Base("x")
	if okI || okC || okB {
		t.Error("found what is not there")
	}
}

func TestBadLocks(t *testing.T) {
	sum := string(dig("x"))
	cases := []struct{ text, want string }{
		{"", "line 1: unexpected end of JSON input"},
		{"{", "line 1: unexpected end"},
		{"{\n\"version\": 1,\n oops}", "line 3: invalid character 'o'"},
		{"{}", "it has no version"},
		{`{"version":"1"}`, "line 1: version has a wrong type: a string"},
		{`{"version":1,"images":[{"name":1}]}`, "images.name has a wrong type: a number"},
		{`{"version":1,"image":[]}`, `unknown field "image"`},
		{`{"version":1} {}`, "line 1: invalid character '{' after top-level value"},
		{"{\n<<<<<<< ours\n", "line 2 has a merge conflict"},
		{`{"version":1,"images":[{"name":"docker.io/library/a:1"}]}`, `image docker.io/library/a:1 has the digest ""`},
		{`{"version":1,"images":[{"digest":"` + sum + `"}]}`, "an image has no name"},
		{`{"version":1,"images":[{"name":"docker.io/library/A:1","digest":"` + sum + `"}]}`, "not an image reference"},
		{`{"version":1,"images":[{"name":"a","digest":"` + sum + `"},{"name":"a","digest":"` + sum + `"}]}`, "image a is in it twice"},
		{`{"version":1,"images":[{"name":"a","digest":"` + sum + `","attached":[{"digest":"x"}]}]}`, `attachment of image a has the digest "x"`},
		{`{"version":1,"images":[{"name":"a","digest":"sha512:` + strings.Repeat("0", 128) + `"}]}`, "only sha256 is supported"},
		{`{"version":1,"bases":[{"ref":"a","digest":"md5:0"}]}`, "base a has the digest"},
		{`{"version":1,"charts":[{"name":"a","digest":"x"}]}`, "chart a has the digest"},
		{`{"version":1,"charts":[{"name":"a","version":"1","source":"s","digest":"` + sum + `"},{"name":"a","version":"1","source":"s","digest":"` + sum + `"}]}`, "chart a 1 from s is in it twice"},
		{`{"version":1,"files":"x"}`, "layer files has the digest"},
	}
	for _, c := range cases {
		_, err := Parse("bundle.lock", strings.NewReader(c.text))
		if !errors.Is(err, ErrLock) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "bundle.lock is a bad lock file: ") {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
		if errors.Is(err, ErrVersion) {
			t.Errorf("%q: blamed on the version", c.text)
		}
	}
	// A newer form may have fields we do not know: the version is the reason.
	_, err := Parse("l", strings.NewReader(`{"version":2,"novel":{}}`))
	if !errors.Is(err, ErrVersion) || !errors.Is(err, ErrLock) || !strings.Contains(err.Error(), "it has version 2 and this tool knows 1") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("the disk is gone")
	if _, err := Parse("l", iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrLock) {
		t.Errorf("got %v", err)
	}
}

var blanks = bytes.Repeat([]byte(" "), 1<<20)

// endless is a file that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	return copy(p, blanks), nil
}

func TestHugeLockIsRefused(t *testing.T) {
	if _, err := Parse("l", endless{}); !errors.Is(err, ErrLock) || !strings.Contains(err.Error(), "larger than 64 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestEncodeRefusesWhatParseWould(t *testing.T) {
	for _, l := range []*Lock{
		{Version: 2},
		{Images: []Image{{Name: "a"}}},
		{Images: []Image{{Name: "a", Digest: dig("x")}, {Name: "a", Digest: dig("x")}}},
	} {
		if _, err := l.Encode(); !errors.Is(err, ErrLock) {
			t.Errorf("%+v: got %v", l, err)
		}
		path := filepath.Join(t.TempDir(), "l")
		if err := l.Write(path); !errors.Is(err, ErrLock) {
			t.Errorf("%+v: got %v", l, err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Error("a bad lock was written")
		}
	}
}

func TestReadWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "bundle.lock")
	if _, err := Read(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := sample().Write(path); err != nil {
		t.Fatal(err)
	}
	l := sample()
	l.Images = l.Images[:1]
	if err := l.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || len(got.Images) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want only the lock", entries, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v: a colleague could not read it", info.Mode(), err)
	}
}

func TestWriteFailsCleanly(t *testing.T) {
	dir := t.TempDir()
	if err := sample().Write(filepath.Join(dir, "none", "l")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	// The target is a folder that is not empty: the rename fails.
	target := filepath.Join(dir, "l")
	if err := os.MkdirAll(filepath.Join(target, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := sample().Write(target); err == nil || !strings.Contains(err.Error(), target) {
		t.Errorf("got %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v: a temporary file was left", entries)
	}
}

func TestDiff(t *testing.T) {
	if d := Diff(sample(), sample()); d != nil {
		t.Errorf("equal locks differ: %v", d)
	}
	a, b := sample(), sample()
	b.Tool = "bundle 2.0.0"
	b.Platforms = []string{"linux/amd64"}
	b.Bases[0].Digest = dig("other base")
	b.Images[0].MediaType = "x"
	b.Images[0].Platforms = nil
	b.Images[0].Attached = nil
	b.Images[1].Digest = dig("nginx 2")
	b.Images = append(b.Images, Image{Name: "docker.io/library/new:1", Digest: dig("n")})
	a.Images = append(a.Images, Image{Name: "docker.io/library/old:1", Digest: dig("o")})
	b.Charts[0].Version = "1.1.0"
	b.Charts[1].Digest = dig("a2")
	b.Files = ""
	want := []string{
		"platforms: linux/amd64, linux/arm64 → linux/amd64",
		"base registry.example.com/ackdistro:v1: " + string(dig("base")) + " → " + string(dig("other base")),
		"image docker.io/library/new:1 added",
		"image docker.io/library/nginx:1.25: " + string(dig("nginx")) + " → " + string(dig("nginx 2")),
		"image registry.k8s.io/pause:3.9: media type application/vnd.oci.image.index.v1+json → x",
		"image registry.k8s.io/pause:3.9: platforms linux/amd64, linux/arm64 → none",
		"image registry.k8s.io/pause:3.9: signatures and other attachments changed, 2 → 0",
		"image docker.io/library/old:1 removed",
		"chart a 2.0.0: " + string(dig("a")) + " → " + string(dig("a2")),
		"chart b: 1.0.0 → 1.1.0 (" + string(dig("b")) + ")",
		"files removed: " + string(dig("files")),
	}
	if got := Diff(a, b); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	none := &Lock{}
	if got := Diff(none, &Lock{Files: dig("f")}); len(got) != 1 || got[0] != "files added: "+string(dig("f")) {
		t.Errorf("got %v", got)
	}
	if got := Diff(&Lock{Files: dig("g")}, &Lock{Files: dig("f")}); len(got) != 1 || got[0] != "files: "+string(dig("g"))+" → "+string(dig("f")) {
		t.Errorf("got %v", got)
	}
}

func FuzzLock(f *testing.F) {
	data, err := sample().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"images":[{"name":"a","digest":"` + string(dig("x")) + `"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse("l", bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrLock) {
				t.Fatalf("%v is no ErrLock", err)
			}
			return
		}
		once, err := l.Encode()
		if err != nil {
			t.Fatalf("read but not written: %v", err)
		}
		back, err := Parse("l", bytes.NewReader(once))
		if err != nil {
			t.Fatalf("written but not read: %v", err)
		}
		if d := Diff(l, back); d != nil {
			t.Fatalf("changed on the way: %v", d)
		}
		twice, err := back.Encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("not canonical: %v\n%s\n%s", err, once, twice)
		}
	})
}
