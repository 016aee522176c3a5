package manifest

import (
	"errors"
	"strings"
	"testing"
)

func TestParseReference(t *testing.T) {
	const d = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tt := range []struct {
		in, want, hostless string
		local              bool
	}{
		{"nginx", "docker.io/library/nginx:latest", "library/nginx:latest", false},
		{"calico/node:v3", "docker.io/calico/node:v3", "calico/node:v3", false},
		{"registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9", "pause:3.9", false},
		{"localhost:5000/a/b", "localhost:5000/a/b:latest", "a/b:latest", false},
		{"sea.hub:5000/oecp/pause:3.2", "sea.hub:5000/oecp/pause:3.2", "oecp/pause:3.2", true},
		{"r.io/x@" + d, "r.io/x@" + d, "x@" + d, false},
		{"r.io/x:1@" + d, "r.io/x:1@" + d, "x:1@" + d, false},
	} {
		r, err := ParseReference(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if r.String() != tt.want || r.Hostless() != tt.hostless || r.IsLocal() != tt.local {
			t.Errorf("%s: got %s, %s, %v", tt.in, r, r.Hostless(), r.IsLocal())
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%s does not read back: %v %v", r, again, err)
		}
	}
	for _, in := range []string{"", "UPPER", "a b", "{{.Image}}", "x:", "x@sha256:12", "https://x/y", "-x", strings.Repeat("a", 500)} {
		if r, err := ParseReference(in); !errors.Is(err, ErrReference) {
			t.Errorf("%q: got %v, %v", in, r, err)
		}
	}
}

func TestReferenceParts(t *testing.T) {
	r, err := ParseReference("r.io/a/b:1")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Name(); got != "r.io/a/b" {
		t.Errorf("Name is %s", got)
	}
	if got := r.WithDigest("sha256:1").String(); got != "r.io/a/b:1@sha256:1" {
		t.Errorf("WithDigest gives %s", got)
	}
	if got := FileLine("imageList", 3); got != "imageList:3" {
		t.Errorf("FileLine gives %s", got)
	}
}

func TestParsePlatform(t *testing.T) {
	for in, want := range map[string]string{
		"linux/amd64": "linux/amd64", "Linux/x86_64": "linux/amd64", "linux/arm64/v8": "linux/arm64",
		"linux/aarch64": "linux/arm64", "linux/arm": "linux/arm/v7", "linux/armel": "linux/arm/v6", "windows/amd64": "windows/amd64",
	} {
		p, err := ParsePlatform(in)
		if err != nil || p.String() != want || !p.Known() {
			t.Errorf("%s: %s, %v", in, p, err)
		}
	}
	for _, in := range []string{"", "linux", "linux/", "/amd64", "a/b/c/d", "linux//v8"} {
		if p, err := ParsePlatform(in); !errors.Is(err, ErrPlatform) || !strings.Contains(err.Error(), "linux/amd64") {
			t.Errorf("%q: %s, %v", in, p, err)
		}
	}
	if (Platform{"unknown", "unknown", ""}).Known() || (Platform{}).Known() {
		t.Error("unknown platforms are known")
	}
}

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"nginx", "sea.hub:5000/a/b:1", "r.io/x@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			if !errors.Is(err, ErrReference) {
				t.Fatalf("untyped error: %v", err)
			}
			return
		}
		if again, err := ParseReference(r.String()); err != nil || again != r {
			t.Fatalf("%q is %s, which reads back as %s, %v", s, r, again, err)
		}
	})
}
