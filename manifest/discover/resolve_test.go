package discover

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"bundle/manifest"
)

func ref(t testing.TB, s string) manifest.Reference {
	t.Helper()
	r, err := manifest.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func refs(t testing.TB, list ...string) []manifest.Reference {
	t.Helper()
	var all []manifest.Reference
	for _, s := range list {
		all = append(all, ref(t, s))
	}
	return all
}

const (
	digA = "@sha256:" + hex64
	digB = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

// TestResolve: what a chart asks for is answered by what the lists hold, or
// the user learns why not.
func TestResolve(t *testing.T) {
	tests := []struct {
		name, ask string
		have      []string
		// answer is a listed image; else err has the text.
		answer, err string
	}{
		{"same", "r.io/a:1", []string{"r.io/b:1", "r.io/a:1"}, "r.io/a:1", ""},
		{"short name", "nginx", []string{"docker.io/library/nginx:latest"}, "nginx", ""},
		{"listed with a digest", "r.io/a:1", []string{"r.io/a:1" + digA}, "r.io/a:1" + digA, ""},
		{"asked with a digest, listed by tag", "r.io/a:1" + digA, []string{"r.io/a:1"}, "r.io/a:1", ""},
		{"same digest under another tag", "r.io/a:1" + digA, []string{"r.io/a:2" + digA}, "r.io/a:2" + digA, ""},
		{"digest alone", "r.io/a" + digA, []string{"r.io/a:2" + digA}, "r.io/a:2" + digA, ""},
		{"prefers the equal", "r.io/a:1" + digA, []string{"r.io/a:2" + digA, "r.io/a:1" + digA}, "r.io/a:1" + digA, ""},
		{"prefers the tag", "r.io/a:1" + digA, []string{"r.io/a" + digA, "r.io/a:1"}, "r.io/a:1", ""},
		{"other digest", "r.io/a:1" + digA, []string{"r.io/a:1" + digB}, "", "required and not in the bundle: listed is r.io/a:1" + digB},
		{"digest alone, listed by tag", "r.io/a" + digA, []string{"r.io/a:1"}, "", "listed is r.io/a:1"},
		{"other tag", "r.io/a:3", []string{"r.io/a:1", "r.io/a:2"}, "", "listed is r.io/a:1 and r.io/a:2"},
		{"other host", "r.io/a:1", []string{"s.io/a:1"}, "", "listed from another registry is s.io/a:1"},
		{"nothing near", "r.io/a:1", []string{"r.io/b:1"}, "", "r.io/a:1 (here) is required and not in the bundle"},

		{"local", "sea.hub:5000/oecp/pause:3.2", []string{"registry.cn-hangzhou.aliyuncs.com/oecp/pause:3.2", "r.io/pause:3.2"}, "registry.cn-hangzhou.aliyuncs.com/oecp/pause:3.2", ""},
		{"local listed as such", "sea.hub:5000/a/b:1", []string{"r.io/a/b:1", "sea.hub:5000/a/b:1"}, "sea.hub:5000/a/b:1", ""},
		{"other local", "registry-internal.adp.aliyuncs.com:5000/ecp/x:1", []string{"r.io/ecp/x:1"}, "r.io/ecp/x:1", ""},
		{"local by digest", "sea.hub:5000/a/b" + digA, []string{"r.io/a/b:1" + digA, "s.io/a/b:1" + digB}, "r.io/a/b:1" + digA, ""},
		{"local, same bytes twice", "sea.hub:5000/a/b:1", []string{"r.io/a/b:1" + digA, "s.io/a/b:1" + digA}, "r.io/a/b:1" + digA, ""},
		{"local keeps library", "sea.hub:5000/library/nginx:1", []string{"nginx:1"}, "nginx:1", ""},
		{"local without library", "sea.hub:5000/nginx:1", []string{"nginx:1"}, "", "listed is docker.io/library/nginx:1, which the cluster's registry serves as sea.hub:5000/library/nginx:1"},
		{"local other tag", "sea.hub:5000/a/b:2", []string{"r.io/a/b:1"}, "", "listed is r.io/a/b:1"},
		{"local nowhere", "sea.hub:5000/a/b:2", []string{"r.io/x:1"}, "", "sea.hub:5000/a/b:2 (here) is required and not in the bundle"},
		{"local twice", "sea.hub:5000/a/b:1", []string{"r.io/a/b:1", "s.io/a/b:1"}, "", "is ambiguous: it may be r.io/a/b:1 and s.io/a/b:1"},
		{"local twice with different digests", "sea.hub:5000/a/b:1", []string{"r.io/a/b:1" + digA, "s.io/a/b:1" + digB}, "", "is ambiguous"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := []Found{{Ref: ref(t, tt.ask), Raw: tt.ask, Source: "here"}}
			r := Resolve(found, refs(t, tt.have...), "registry-internal.adp.aliyuncs.com:5000")
			err := r.Err()
			if tt.answer != "" {
				if by := r.NeededBy[ref(t, tt.answer)]; err != nil || !slices.Equal(by, []manifest.Source{"here"}) || len(r.NeededBy) != 1 {
					t.Errorf("got %v, %v", r.NeededBy, err)
				}
				return
			}
			class := ErrMissing
			if strings.Contains(tt.err, "ambiguous") {
				class = ErrAmbiguous
			}
			if !errors.Is(err, class) || !strings.Contains(err.Error(), tt.err) || len(r.NeededBy) != 0 {
				t.Errorf("got %v, want %q", err, tt.err)
			}
		})
	}
}

// TestResolveMany: sources add up, candidates never make a bundle incomplete,
// and what is no reference at all does where an image must stand.
func TestResolveMany(t *testing.T) {
	a, b := ref(t, "r.io/a:1"), ref(t, "r.io/b:1")
	r := Resolve([]Found{
		{Ref: a, Class: Required, Source: "one"}, {Ref: a, Class: Candidate, Source: "two"}, {Ref: a, Class: Required, Source: "one"},
		{Ref: b, Class: Candidate, Source: "three"}, {Ref: b, Class: Required, Source: "four"},
		{Ref: ref(t, "r.io/c:1"), Class: Candidate, Source: "five"},
		{Raw: "{{ .x }}", Class: Required, Source: "six"}, {Raw: "x y", Class: Candidate, Source: "seven"},
	}, []manifest.Reference{a, a})
	if by := r.NeededBy[a]; !slices.Equal(by, []manifest.Source{"one", "two"}) {
		t.Errorf("needed by %v", by)
	}
	if len(r.Unlisted) != 1 || r.Unlisted[0].Source != "five" {
		t.Errorf("unlisted %v", r.Unlisted)
	}
	want := "r.io/b:1 (four) is required and not in the bundle\n\"{{ .x }}\" (six) is required and not in the bundle: it is no image reference"
	if err := r.Err(); err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestAmbiguousCandidate: a guess does not stop a build; it keeps all that it
// may mean.
func TestAmbiguousCandidate(t *testing.T) {
	have := refs(t, "r.io/a/b:1", "s.io/a/b:1")
	r := Resolve([]Found{{Ref: ref(t, "sea.hub:5000/a/b:1"), Class: Candidate, Source: "here"}}, have)
	if r.Err() != nil || len(r.NeededBy[have[0]]) != 1 || len(r.NeededBy[have[1]]) != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestHostlessConflicts(t *testing.T) {
	got := HostlessConflicts(refs(t,
		"r.io/z:1"+digA, "s.io/z:1"+digB,
		"r.io/a:1"+digA, "s.io/a:1"+digA, // the same bytes
		"r.io/b:1"+digA, "s.io/b:2"+digB, // other tags
		"r.io/c:1", "s.io/c:1"+digB, // not resolved yet
		"r.io/d"+digA, "s.io/d"+digB, // no tag
		"r.io/e:1"+digA, "r.io/e:1"+digB, "r.io/e:1"+digB, // one registry, two pins
	))
	if len(got) != 2 || got[0].Name != "e:1" || got[1].Name != "z:1" || len(got[0].Images) != 2 {
		t.Fatalf("got %+v", got)
	}
	for _, s := range []string{"z:1", "r.io/z:1", "s.io/z:1", "differ"} {
		if !strings.Contains(got[1].Error(), s) {
			t.Errorf("%v lacks %s", got[1], s)
		}
	}
	if !errors.Is(got[1], ErrAmbiguous) {
		t.Error("class")
	}
	many := Miss{Found: Found{Ref: ref(t, "r.io/a:9")}, Hint: newIndex(refs(t, "r.io/a:1", "r.io/a:2", "r.io/a:3", "r.io/a:4", "r.io/a:5", "r.io/a:6", "r.io/a:7"), nil).near(ref(t, "r.io/a:9"))}
	if !strings.HasSuffix(many.Error(), "r.io/a:5 and 2 more") {
		t.Error(many)
	}
	if Required.String() != "required" || Candidate.String() != "candidate" {
		t.Error("names of classes")
	}
}
