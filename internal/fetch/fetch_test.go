package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
	"bundle/registry/pull"
	"bundle/registry/push"
)

// source is a registry with one artifact, which can break off and lie.
type source struct {
	pull.Source
	manifest []byte
	data     []byte
	limit    int // bytes that one request gives; 0 for all
	asked    []int64
}

func (s *source) Resolve(context.Context, manifest.Reference) (ocispec.Descriptor, error) {
	return ocispec.Descriptor{Digest: digest.FromBytes(s.manifest), Size: int64(len(s.manifest))}, nil
}

func (s *source) Manifest(context.Context, manifest.Reference, ocispec.Descriptor) ([]byte, error) {
	return s.manifest, nil
}

var errBroken = errors.New("connection is broken")

func (s *source) Blob(_ context.Context, _ manifest.Reference, _ ocispec.Descriptor, offset int64) (io.ReadCloser, error) {
	s.asked = append(s.asked, offset)
	rest := s.data[offset:]
	if s.limit == 0 || s.limit >= len(rest) {
		return io.NopCloser(bytes.NewReader(rest)), nil
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(rest[:s.limit]), broken{})), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

func artifact(t *testing.T, content []byte, titles ...string) (*source, *Artifact) {
	t.Helper()
	m := ocispec.Manifest{ArtifactType: push.ArtifactTypeFile}
	for _, title := range titles {
		m.Layers = append(m.Layers, ocispec.Descriptor{
			Digest: digest.FromBytes(content), Size: int64(len(content)), Annotations: map[string]string{ocispec.AnnotationTitle: title},
		})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{manifest: raw, data: content}
	a, err := Find(t.Context(), s, manifest.Reference{})
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

func TestGetGoesOn(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	s, a := artifact(t, content, "b.tar.zst")
	path := filepath.Join(t.TempDir(), "b.tar.zst")
	var at int64
	got := func(n int64) { at += n }
	s.limit = 300_000
	if _, err := a.Get(t.Context(), a.Files[0], path, got); !errors.Is(err, errBroken) {
		t.Fatalf("a broken connection gives %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("a file that is not whole has its name")
	}
	s.limit, at = 0, 0
	if present, err := a.Get(t.Context(), a.Files[0], path, got); present || err != nil {
		t.Fatal(present, err)
	}
	if len(s.asked) != 2 || s.asked[1] != 300_000 || at != int64(len(content)) {
		t.Errorf("asked from %v, and counted %d of %d", s.asked, at, len(content))
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, content) {
		t.Errorf("the file has %d bytes that are not those of the registry (%v)", len(data), err)
	}
	if present, err := a.Get(t.Context(), a.Files[0], path, got); !present || err != nil || len(s.asked) != 2 {
		t.Errorf("the second time it is present: %v %v, asked %v", present, err, s.asked)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Get(t.Context(), a.Files[0], path, got); !errors.Is(err, ErrExists) {
		t.Errorf("over a file of the user's: %v", err)
	}
}

// What lies in FILE.part may be anything.
func TestGetDoesNotTrustThePart(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1000)
	for name, part := range map[string][]byte{
		"other bytes": []byte("something else"), "too long": append(bytes.Clone(content), 'x'),
		"as long": bytes.Repeat([]byte("x"), len(content)), "all": content,
	} {
		s, a := artifact(t, content, "b")
		path := filepath.Join(t.TempDir(), "b")
		if err := os.WriteFile(path+".part", part, 0o600); err != nil {
			t.Fatal(err)
		}
		var at int64
		if _, err := a.Get(t.Context(), a.Files[0], path, func(n int64) { at += n }); err != nil {
			t.Errorf("%s: %v (asked from %v)", name, err, s.asked)
		}
		if data, _ := os.ReadFile(path); !bytes.Equal(data, content) || at != int64(len(content)) {
			t.Errorf("%s: ends in %d other bytes, counted %d", name, len(data), at)
		}
	}
}

func TestGetRefusesOtherBytes(t *testing.T) {
	s, a := artifact(t, []byte("what was announced"), "b")
	s.data = []byte("what comes instead")
	path := filepath.Join(t.TempDir(), "b")
	if _, err := a.Get(t.Context(), a.Files[0], path, func(int64) {}); !errors.Is(err, pull.ErrDigest) {
		t.Errorf("other bytes give %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("other bytes have the name")
	}
}

func TestNames(t *testing.T) {
	for _, bad := range []string{"", "../b", "/b", `a\b`, ".bashrc", "a\nb", "c:b"} {
		if _, a := artifact(t, nil, bad); a.Names() != nil {
			t.Errorf("%q is taken for a name", bad)
		}
	}
	if _, a := artifact(t, nil, "b.001", "b.002"); len(a.Names()) != 2 {
		t.Error("volumes have no names")
	}
	if _, a := artifact(t, nil, "b", "b"); a.Names() != nil {
		t.Error("two files have one name")
	}
}

func TestFindRefusesImages(t *testing.T) {
	s := &source{manifest: []byte(`{"schemaVersion":2,"layers":[{}]}`)}
	if _, err := Find(t.Context(), s, manifest.Reference{}); !errors.Is(err, ErrNoFile) {
		t.Errorf("an image gives %v", err)
	}
}
