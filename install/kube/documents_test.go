package kube

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func names(docs []doc) string {
	var s []string
	for _, d := range docs {
		s = append(s, d.GetKind()+"/"+d.GetName())
	}
	return strings.Join(s, " ")
}

func TestManifestsAreReadAsKubectlReadsThem(t *testing.T) {
	const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
	one, two := fmt.Sprintf(cm, "one"), fmt.Sprintf(cm, "two")
	for name, c := range map[string]struct{ in, want string }{
		"one":                   {one, "ConfigMap/one"},
		"two":                   {one + "---\n" + two, "ConfigMap/one ConfigMap/two"},
		"leading marker":        {"---\n" + one, "ConfigMap/one"},
		"windows lines":         {strings.ReplaceAll(one+"---\n"+two, "\n", "\r\n"), "ConfigMap/one ConfigMap/two"},
		"byte order mark":       {"\xef\xbb\xbf" + one, "ConfigMap/one"},
		"comment on the marker": {one + "--- # Source: x\n" + two, "ConfigMap/one ConfigMap/two"},
		"content on the marker": {one + `--- {"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}`, "ConfigMap/one Secret/s"},
		"end marker":            {one + "...\n---\n" + two, "ConfigMap/one ConfigMap/two"},
		"only comments between": {one + "---\n# nothing\n---\n\n---\n" + two, "ConfigMap/one ConfigMap/two"},
		"no last newline":       {strings.TrimSpace(one + "---\n" + two), "ConfigMap/one ConfigMap/two"},
		"dashes in a text":      {one + "data:\n  a: |\n    ---\n    b\n", "ConfigMap/one"},
		"json":                  {`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}{"apiVersion":"v1","kind":"Secret","metadata":{"name":"b"}}`, "Secret/a Secret/b"},
		"flow yaml":             {`{apiVersion: v1, kind: Secret, metadata: {name: a}}`, "Secret/a"},
		"list":                  {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n- {apiVersion: v1, kind: Secret, metadata: {name: b}}\n", "Secret/a Secret/b"},
		"typed list":            {"apiVersion: v1\nkind: ConfigMapList\nitems:\n- metadata: {name: a}\n", "ConfigMap/a"},
		"empty list":            {"apiVersion: v1\nkind: List\nitems: []\n", ""},
		"nothing":               {"# a file of comments\n", ""},
		"null":                  {"null\n", ""},
	} {
		docs, err := decode("f.yaml", []byte(c.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := names(docs); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestBadManifestNamesTheDocument(t *testing.T) {
	for in, want := range map[string]string{
		"a: [\n":     "f.yaml, document 1: ",
		"just words": "f.yaml, document 1: it is no object but a bare value",
		"kind: X\n":  "f.yaml, document 1: it has no apiVersion",
		"apiVersion: v1\nkind: X\nmetadata: {}\n":                                           "f.yaml, document 1: the X has no name",
		"apiVersion: v1\nkind: X\nmetadata: {name: 7}\n":                                    "f.yaml, document 1: the name of the X is no text",
		"apiVersion: v1\nkind: X\nmetadata: {name: a}\n---\napiVersion: v1\nmetadata: {}\n": "f.yaml, document 2: it has no kind",
		"[1, 2]\n": "f.yaml, document 1: it is no object but a bare value",
		"apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: A}]\n": "f.yaml, document 1: the A has no metadata",
	} {
		_, err := decode("f.yaml", []byte(in))
		if !errors.Is(err, ErrInput) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q gave %v, want %q", in, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: List\nitems: []\n",
		`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}} {"kind":1}`,
		"--- # x\n...\n--- {}\n", "a: &a [*a, *a]\n", "kind: List\napiVersion: v1\nitems: [{kind: List, items: [1]}]\n",
		"metadata: {name: [a], labels: 7, annotations: {a: 1}}\nkind: X\napiVersion: v1\n", "\xef\xbb\xbf---", "[", "? : ?",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := decode("f.yaml", data)
		if err != nil {
			if !errors.Is(err, ErrInput) {
				t.Fatalf("an error of no class: %v", err)
			}
			return
		}
		for _, d := range docs {
			if d.GetKind() == "" || d.GetAPIVersion() == "" || d.GetName() == "" && d.GetGenerateName() == "" {
				t.Fatalf("an object without identity: %v", d.Object)
			}
			// What is sent, and what is asked of every object, works.
			_, _ = d.GetLabels(), d.GetAnnotations()
			if _, err := json.Marshal(d.Object); err != nil {
				t.Fatal(err)
			}
			_ = d.DeepCopy()
		}
	})
}
