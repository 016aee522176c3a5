package discover

import (
	"errors"
	"strings"
	"testing"
)

// TestLines: in a template the line scan must neither miss a plain image nor
// pass over one it cannot know.
func TestLines(t *testing.T) {
	in := strings.Join([]string{
		"{{- if .Enable }}",
		"kind: Pod",
		"# image: r.io/comment:1",
		"- image: r.io/a:1",
		`  image: "r.io/b:1" # why`,
		"  image: 'r.io/c:1',",
		"containers: [{name: x, image: r.io/d:1}, {image: \"r.io/e:1\"}]",
		`{"image":"r.io/f:1","x":1}`,
		"image: nginx",
		`image: {{or .RegistryURL "sea.hub:5000"}}/oecp/x:1`,
		"image: {{ .RegistryURL }}/oecp/y:{{ or .Tag \"v2\" }}",
		"image: {{ .Image }}",
		"a: {{ .X }} image: {{ or .I `r.io/g:1` }}",
		"sidecarImage: {{ .Y | default \"r.io/h:1\" }}",
		"proxyImage: {{ .Z }}",
		"args: --x={{ .X }} --server-image=r.io/i:1",
		"imagePullPolicy: Always",
		"image:",
		"{{- end }}",
	}, "\r\n")
	want := strings.Join([]string{
		"r r.io/a:1 | f:4: image", "r r.io/b:1 | f:5: image", "r r.io/c:1 | f:6: image", "r r.io/d:1 | f:7: image",
		"r r.io/e:1 | f:7: image", "r r.io/f:1 | f:8: image", "r docker.io/library/nginx:latest | f:9: image",
		"r sea.hub:5000/oecp/x:1 | f:10: image", "r sea.hub:5000/oecp/y:v2 | f:11: image",
		"r malformed {{ .Image }} | f:12: image", "r r.io/g:1 | f:13: image", "c r.io/h:1 | f:14: sidecarImage",
		"c r.io/i:1 | f:16", "",
	}, "\n")
	found, err := Lines([]byte(in), Origin{Name: "f", Lines: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := show(found); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if _, err := Lines(make([]byte, maxBytes+1), Origin{Name: "f"}); !errors.Is(err, ErrLimit) {
		t.Errorf("too large: %v", err)
	}
}

// TestFile chooses how a file is read: what is YAML is walked, what is a
// template is scanned, what is neither is an error and not silence.
func TestFile(t *testing.T) {
	tests := []struct {
		name, in, want string
		err            error
	}{
		{"manifests/a.yaml", "kind: Pod\nspec: {containers: [{name: x, image: r.io/a:1}]}", "r r.io/a:1 | manifests/a.yaml:2: Pod container x\n", nil},
		{"manifests/a.yaml.tmpl", "kind: Pod\nspec: {containers: [{name: x, image: r.io/a:1}]}", "r r.io/a:1 | manifests/a.yaml.tmpl:2: Pod container x\n", nil},
		{"manifests/a.yaml.tmpl", "{{ if .x }}\nimage: r.io/a:1\n{{ end }}", "r r.io/a:1 | manifests/a.yaml.tmpl:2: image\n", nil},
		{"manifests/a.yaml", "image: r.io/a:1\n{{ if .x }}\nx: [\n", "r r.io/a:1 | manifests/a.yaml:1: image\n", nil},
		{"manifests/a.yaml.tmpl", "kind: Pod\nspec:\n  containers:\n  - image: {{ .Image }}\n", "r malformed {{ .Image }} | manifests/a.yaml.tmpl:4: image\n", nil},
		{"manifests/a.yaml", "kind: Pod\nspec:\n  containers:\n  - image: {a: b}\n", "r malformed {…} | manifests/a.yaml:4: Pod container 0\n", nil},
		{"manifests/a.yaml", "image: r.io/a:1\nx: [\n", "", ErrSyntax},
		{"manifests/a.yaml.tmpl", "image: r.io/a:1\nx: [\n", "", ErrSyntax},
	}
	for _, tt := range tests {
		found, err := File(tt.name, []byte(tt.in))
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := show(found); got != tt.want {
			t.Errorf("%s: got\n%swant\n%s", tt.name, got, tt.want)
		}
	}
}
