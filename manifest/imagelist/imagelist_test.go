package imagelist

import (
	_ "crypto/sha512" // as every program with TLS has it
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"bundle/manifest"
)

const sum = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func names(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Ref.String()+" "+string(e.Source))
	}
	return out
}

func TestParse(t *testing.T) {
	cases := []struct {
		name, text string
		want       []string
	}{
		{"empty", "", nil},
		{"only comments and blanks", "# a\n\n   \n\t# indented\n", nil},
		{"no final newline", "nginx:1.25", []string{"docker.io/library/nginx:1.25 L:1"}},
		{"windows line ends", "nginx\r\nbusybox:1\r\n", []string{"docker.io/library/nginx:latest L:1", "docker.io/library/busybox:1 L:2"}},
		{"byte order mark", "\xef\xbb\xbfnginx\n", []string{"docker.io/library/nginx:latest L:1"}},
		{"byte order mark before a comment", "\xef\xbb\xbf# nginx\n", nil},
		{"blanks around", "  nginx \t\n", []string{"docker.io/library/nginx:latest L:1"}},
		{"full-width blank around", "\u3000nginx\u3000\n", []string{"docker.io/library/nginx:latest L:1"}},
		{"comment keeps the count of lines", "# 采用\n\nnginx\n", []string{"docker.io/library/nginx:latest L:3"}},
		{"implicit registry", "calico/node:v3.8.2\n", []string{"docker.io/calico/node:v3.8.2 L:1"}},
		{"registry with port", "sea.hub:5000/oecp/pause:3.2\nlocalhost/x\n", []string{"sea.hub:5000/oecp/pause:3.2 L:1", "localhost/x:latest L:2"}},
		{"digest", "quay.io/a/b@" + sum, []string{"quay.io/a/b@" + sum + " L:1"}},
		{"tag and digest", "quay.io/a/b:1@" + sum, []string{"quay.io/a/b:1@" + sum + " L:1"}},
		{"deep path", "r.io/a/b/c/d:v1.0.0.3-bd49899-aliyun\n", []string{"r.io/a/b/c/d:v1.0.0.3-bd49899-aliyun L:1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse("L", strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(names(got), c.want) {
				t.Errorf("got %q, want %q", names(got), c.want)
			}
		})
	}
}

// An image that two parts of a product ask for is pulled once, and
// "bundle why" must name both lines.
func TestDuplicatesAreMerged(t *testing.T) {
	got, err := Parse("imageList", strings.NewReader("nginx\nbusybox\ndocker.io/library/nginx:latest\nnginx\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d entries, want 2", len(got))
	}
	if want := []manifest.Source{"imageList:1", "imageList:3", "imageList:4"}; !reflect.DeepEqual(got[0].Sources(), want) {
		t.Errorf("sources %v, want %v", got[0].Sources(), want)
	}
	if got[0].Raw != "nginx" || len(got[1].Sources()) != 1 {
		t.Errorf("got %+v", got)
	}
	// The same tag with and without a digest are two wishes.
	got, err = Parse("imageList", strings.NewReader("nginx:1\nnginx:1@"+sum+"\n"))
	if err != nil || len(got) != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestAllBadLinesAreReported(t *testing.T) {
	text := strings.Join([]string{
		"nginx # the web server", // 1
		"busybox",
		"- nginx", // 3
		`"nginx"`,
		"https://quay.io/a/b:1", // 5
		"Nginx",
		"nginx,", // 7
		"{{.Values.image}}:1",
		"$REGISTRY/x", // 9
		"image: nginx:1",
		"a b", // 11
		"nginx@sha256:short",
		"nginx@sha512:" + strings.Repeat("0", 128), // 13
		"nginx:" + strings.Repeat("x", MaxLine),
		"nginx:", // 15
	}, "\n")
	got, err := Parse("lists/imageList", strings.NewReader(text))
	if err == nil {
		t.Fatalf("no error, got %v", got)
	}
	for _, want := range []string{
		`lists/imageList:1: unexpected text "# the web server" after "nginx"; write the comment on a line of its own`,
		`lists/imageList:3: unexpected text "nginx" after "-"; this is a plain list, not YAML: write only nginx`,
		`lists/imageList:4: "\"nginx\"" is not an image reference; leave out the quotes`,
		`lists/imageList:5: "https://quay.io/a/b:1" is not an image reference; leave out the scheme: quay.io/a/b:1`,
		`lists/imageList:6: "Nginx" is not an image reference: repository name (library/Nginx) must be lowercase`,
		`lists/imageList:7: "nginx," is not an image reference; leave out the "," at the end`,
		`lists/imageList:8: "{{.Values.image}}:1" is not an image reference: repository name (library/{{.Values.image}}) must be lowercase; a template cannot be looked up`,
		`lists/imageList:9: "$REGISTRY/x" is not an image reference; variables are not replaced in a list`,
		`lists/imageList:10: unexpected text "nginx:1" after "image:"; this is a plain list, not YAML: write only nginx:1`,
		`lists/imageList:11: unexpected text "b" after "a"; write one reference a line`,
		`lists/imageList:12: "nginx@sha256:short" is not an image reference`,
		`lists/imageList:13: "nginx@sha512:000`,
		`only sha256 digests are supported`,
		`lists/imageList:14: the line has 4102 bytes, more than the 4096 a list may have`,
		`lists/imageList:15: "nginx:" is not an image reference`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the report lacks %q; it is:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "imageList:2:") {
		t.Errorf("a good line is reported: %v", err)
	}
	if !errors.Is(err, ErrList) {
		t.Error("not an ErrList")
	}
	var p *Problem
	if !errors.As(err, &p) || p.Source != "lists/imageList:1" {
		t.Errorf("first problem %+v", p)
	}
}

func TestBadFiles(t *testing.T) {
	cases := []struct{ text, want string }{
		{"\xff\xfen\x00g\x00", "the list is UTF-16; save it as UTF-8"},
		{"\xfe\xff\x00n", "the list is UTF-16"},
		{"nginx\x00", "not UTF-8 text"},
		{"ngin\xff", "not UTF-8 text"},
		{strings.Repeat("\n", MaxSize+1), "larger than 8 MiB"},
		{strings.Repeat("X\n", 61), "and 11 more lines of this kind"},
	}
	for _, c := range cases {
		_, err := Parse("L", strings.NewReader(c.text))
		if !errors.Is(err, ErrList) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	broken := errors.New("the disk is gone")
	if _, err := Parse("L", iotest.ErrReader(broken)); !errors.Is(err, broken) || errors.Is(err, ErrList) {
		t.Errorf("got %v", err)
	}
	if _, _, err := ParseWithAuth("L", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestLargestListIsRead(t *testing.T) {
	text := strings.Repeat("#\n", (MaxSize-2)/2) + "a\n"
	got, err := Parse("L", strings.NewReader(text))
	if err != nil || len(got) != 1 || got[0].Source != manifest.FileLine("L", MaxSize/2) {
		t.Errorf("%v, %v", got, err)
	}
}

const withAuth = `
- registry: reg.example.com
  username: bob
  password: hunter2
  images:
    - shop/api:1
    - quay.io/a/b:2
    - nginx
- registry: reg2.example.com:5000/
  images: [c/d, shop/api]
`

func TestParseWithAuth(t *testing.T) {
	got, warnings, err := ParseWithAuth("A", strings.NewReader(withAuth))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"reg.example.com/shop/api:1 A:6", "quay.io/a/b:2 A:7", "reg.example.com/nginx:latest A:8",
		"reg2.example.com:5000/c/d:latest A:10", "reg2.example.com:5000/shop/api:latest A:10",
	}
	if !reflect.DeepEqual(names(got), want) {
		t.Errorf("got %q, want %q", names(got), want)
	}
	if len(warnings) != 1 || warnings[0].Source != "A:2" || !strings.Contains(warnings[0].Text, "--registry-config") {
		t.Errorf("warnings %+v", warnings)
	}
	if s := fmt.Sprint(got, warnings); strings.Contains(s, "hunter2") || strings.Contains(s, "bob") {
		t.Error("a credential got out of the file")
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "null\n", "[]\n"} {
		if got, _, err := ParseWithAuth("A", strings.NewReader(empty)); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", empty, got, err)
		}
	}
}

func TestBadWithAuth(t *testing.T) {
	cases := []struct{ text, want string }{
		{"a: b\n", "A:1: expected a list of sections"},
		{"- a\n", "a section is a mapping"},
		{"- images: [a]\n", "the section names no registry"},
		{"- registry: r.io\n", "the section of r.io has no list of images"},
		{"- registry: r.io\n  images: a\n", "has no list of images"},
		{"- registry: r.io\n  image: [a]\n  images: []\n", `A:2: unknown field "image"`},
		{"- registry: r.io\n  images: [[a]]\n", "an image is a plain name"},
		{"- registry: r.io\n  images: ['']\n", "an image has no name"},
		{"- registry: r.io\n  images: [a, B]\n", "must be lowercase"},
		{"- registry: r.io\n  images: [a b]\n", `unexpected text "b"`},
		{"- registry: r.io\n  images: [a]\n---\n- b\n", "more than one YAML document"},
		{"- registry: [hunter2\n", "A: this is not valid YAML (line 1)"},
		{"- password: hunter2: x\n", "A: this is not valid YAML"},
		{"- registry: r.io\n  images: [*a]\n", "A: this is not valid YAML"},
		{"- registry: &r r.io\n  images: [*r]\n", "an image is a plain name"},
		{"\x00", "not UTF-8 text"},
	}
	for _, c := range cases {
		_, _, err := ParseWithAuth("A", strings.NewReader(c.text))
		if !errors.Is(err, ErrList) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

func FuzzImageList(f *testing.F) {
	for _, s := range []string{"", "nginx\n# c\n\r\nr.io:5000/a/b:1@" + sum, "\xef\xbb\xbfa b", withAuth, "- registry: r\n  images: [a, b:1]\n", "- &a\n - *a\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := Parse("L", strings.NewReader(text))
		if err != nil && !errors.Is(err, ErrList) {
			t.Fatalf("%v is no ErrList", err)
		}
		auth, _, err2 := ParseWithAuth("L", strings.NewReader(text))
		if err2 != nil && !errors.Is(err2, ErrList) {
			t.Fatalf("%v is no ErrList", err2)
		}
		seen := map[manifest.Reference]bool{}
		for _, e := range entries {
			if seen[e.Ref] {
				t.Fatalf("%s is there twice", e.Ref)
			}
			seen[e.Ref] = true
		}
		for _, e := range append(entries, auth...) {
			again, err := manifest.ParseReference(e.Ref.String())
			if err != nil || again != e.Ref {
				t.Fatalf("%q does not read back: %v, %v", e.Ref, again, err)
			}
		}
	})
}
