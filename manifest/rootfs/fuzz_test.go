package rootfs

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"bundle/manifest/cluster"
)

// FuzzApply: whatever a Config says, the outcome is a file inside the root or
// an error of ours.
func FuzzApply(f *testing.F) {
	f.Add("charts/a/values.yaml", "merge", "value|toJson", "a: {b: 1}", "a: {c: 2}\n---\nd: 1", "->../x")
	f.Add("etc/link/x", "overwrite", "value|toBase64|toSecret", "a: b", "kind: Secret", "->/")
	f.Add("a/../../b", "", "toJson", "a: &a [*a]", "", "->link")
	f.Add("etc/x.tmpl", "", "", "{{.A}}{{.B}}", "x", "->..")
	f.Add("none/..", "", "", "x", "y", "->none/../..")
	f.Fuzz(func(t *testing.T, path, strategy, process, data, old, link string) {
		if !strings.HasPrefix(link, "->") {
			link = "->" + link
		}
		root := memory{"charts/a/values.yaml": old, "etc/link": link, "etc/x": old, "manifests/" + path: old, path: old}
		c := config(path, strategy, process, data)
		r, err := Apply(root, []cluster.Config{c}, map[string]string{"A": data})
		if err != nil {
			if !errors.Is(err, ErrApply) && !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		v := View(root, r)
		for _, f := range r.Files {
			if !fs.ValidPath(f.Path) || f.Path == "." {
				t.Fatalf("a file outside: %q", f.Path)
			}
			got, err := v.ReadFile(f.Path)
			if err != nil || string(got) != string(f.Data) {
				t.Fatalf("%q is not seen: %v", f.Path, err)
			}
		}
	})
}

// FuzzTemplate: no template runs for long, prints much or stops the program.
func FuzzTemplate(f *testing.F) {
	for _, s := range []string{
		"{{.A}}", "{{range 99999999}}{{end}}", "{{define `a`}}{{template `a` .}}{{end}}{{template `a`}}",
		"{{printf `%[1]*d` 99}}", "{{$x := .A}}{{$x = print $x $x | js | html}}{{$x}}", "{{with $y := .B}}{{$y}}{{else}}{{break}}{{end}}",
		"{{range $k, $v := .}}{{continue}}{{end}}", "{{block `b` .}}{{.C}}{{end}}", "{{(index . `A`) | b64enc | b64dec}}", "{{- /* c */ -}}", "{{_step 1}}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := renderText("etc/x.tmpl", text, map[string]string{"A": "a", "B": "&<>\"'\\"})
		if err != nil && !errors.Is(err, ErrApply) {
			t.Fatalf("an error of another kind: %v", err)
		}
		if len(r.data) > maxOutputBytes {
			t.Fatalf("%d bytes", len(r.data))
		}
	})
}
