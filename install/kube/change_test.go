package kube

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"bundle/manifest/step"
)

func TestPatchesAreReadAsJSONOrYAML(t *testing.T) {
	for _, c := range []struct{ typ, in, want string }{
		{"strategic", `{"a":1}`, `{"a":1}`},
		{"merge", "a: {b: [1, null]}\n", `{"a":{"b":[1,null]}}`},
		{"json", `[{"op":"add","path":"/a","value":"b"}]`, `[{"op":"add","path":"/a","value":"b"}]`},
		{"json", "- op: remove\n  path: /a\n", `[{"op":"remove","path":"/a"}]`},
	} {
		_, got, err := patchOf(step.Patch{Type: c.typ, Patch: c.in})
		if err != nil || string(got) != c.want {
			t.Errorf("%s %s: %s, %v", c.typ, c.in, got, err)
		}
	}
	for _, c := range []struct{ typ, in, want string }{
		{"strategic", `[1]`, "is no mapping"},
		{"json", `{"op":"add"}`, "is no list of operations"},
		{"apply", `{}`, `is of the unknown type "apply"`},
		{"merge", `{`, "cannot be read: "},
		{"merge", ``, "is no mapping"},
		{"merge", `{}{}`, "holds 2 values, not one"},
	} {
		_, _, err := patchOf(step.Patch{Resource: "sc", Name: "local", Type: c.typ, Patch: c.in})
		if !errors.Is(err, ErrInput) || !strings.HasPrefix(err.Error(), "the patch of sc local "+c.want) {
			t.Errorf("%s %s gave %v", c.typ, c.in, err)
		}
	}
}

func FuzzPatch(f *testing.F) {
	for _, s := range []string{`{"a":1}`, "a: b", "- op: add\n", "[", "{}{}", "? x", "&a [*a]", "a: 1\n---\nb: 2\n", "\x00"} {
		f.Add("merge", s)
		f.Add("json", s)
	}
	f.Fuzz(func(t *testing.T, typ, text string) {
		_, data, err := patchOf(step.Patch{Resource: "r", Name: "n", Type: typ, Patch: text})
		if err != nil {
			if !errors.Is(err, ErrInput) {
				t.Fatalf("an error of no class: %v", err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatalf("no JSON: %q", data)
		}
	})
}
