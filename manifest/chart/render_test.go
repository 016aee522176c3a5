package chart

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func aecp(t testing.TB) *Chart {
	t.Helper()
	c, err := Load("testdata/aecp")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRender: the documents are those `helm template --include-crds` prints,
// with hooks marked, NOTES and unknown hooks left out.
func TestRender(t *testing.T) {
	docs, err := Render(context.Background(), aecp(t), RenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range docs {
		s := d.Template
		if d.Hook {
			s += " " + strings.Join(d.Events, "+")
		}
		if d.CRD {
			s += " crd"
		}
		got = append(got, s)
	}
	want := []string{
		"crds/widget.yaml crd", "charts/cache/templates/sts.yaml", "templates/application.yaml", "templates/config.yaml",
		"templates/deploy.yaml", "templates/deploy.yaml", "templates/hook.yaml pre-install+pre-upgrade", "templates/tests/test.yaml test",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	text := render(t, aecp(t), RenderOptions{})
	for _, s := range []string{
		"image: registry.example.com/ecp/web:v1.5.3", "namespace: default", "name: release-name-cache",
		`host: ""`, `known: "true"`, "registry.example.com/lib/redis:6.2-alpine", "replicas: 1",
	} {
		if !strings.Contains(text, s) {
			t.Errorf("lacks %s", s)
		}
	}
}

// TestRenderDependencies: conditions, aliases and import-values decide which
// images a profile needs.
func TestRenderDependencies(t *testing.T) {
	c := aecp(t)
	on := map[string]any{"enabled": true}
	text := render(t, c, RenderOptions{ReleaseName: "r", Namespace: "ns", Values: []map[string]any{
		{"queue": on, "cache": map[string]any{"enabled": false}}, {"monitor": on, "queue": map[string]any{"replicas": 7}},
	}})
	for _, s := range []string{"charts/queue/templates/sts.yaml", "name: r-queue", "replicas: 7", "charts/monitor/templates/prometheus.yaml", "image: registry.example.com/ecp/exporter:v0.9", "namespace: ns"} {
		if !strings.Contains(text, s) {
			t.Errorf("lacks %s", s)
		}
	}
	if strings.Contains(text, "charts/cache") {
		t.Error("a disabled dependency was rendered")
	}
	// Helm changes a chart it renders; the next rendering must not see it.
	if again := render(t, c, RenderOptions{}); !strings.Contains(again, "charts/cache") || strings.Contains(again, "charts/queue") {
		t.Errorf("a rendering changed the chart: %s", again)
	}
	// A disabled dependency is told by its absence only.
	if first, second := render(t, c, RenderOptions{}), render(t, c, RenderOptions{}); first != second {
		t.Error("two renderings differ")
	}
}

// TestRenderPacked: subcharts as archives, several versions of one, and the
// old requirements.yaml.
func TestRenderPacked(t *testing.T) {
	sub := func(version string) string {
		return string(tgz(t, m("b/Chart.yaml", "apiVersion: v1\nname: b\nversion: "+version+"\n"), m("b/templates/x.yaml", "v: {{ .Chart.Version }}")))
	}
	in := tgz(t, m("a/Chart.yaml", "apiVersion: v1\nname: a\nversion: 1.0.0\n"), m("a/requirements.yaml", "dependencies:\n- {name: b, version: 1.x.x}\n"),
		m("a/charts/b-1.0.0.tgz", sub("1.0.0")), m("a/charts/b-1.2.0.tgz", sub("1.2.0")), m("a/charts/_off.tgz", "no archive"), m("a/files/charts/x.tgz", "no archive"))
	for range 8 {
		c, err := LoadBytes("a.tgz", in)
		if err != nil {
			t.Fatal(err)
		}
		if got := render(t, c, RenderOptions{}); got != "charts/b/templates/x.yaml: v: 1.2.0\n" {
			t.Fatalf("got %s", got)
		}
	}
}

// TestRenderErrors: a message that names chart, template and line saves the
// user a search through somebody else's chart.
func TestRenderErrors(t *testing.T) {
	tests := []struct {
		name, file, content string
		o                   RenderOptions
		text                string
		is                  error
	}{
		{"nil pointer", "templates/x.yaml", "a: 1\nb: {{ .Values.a.b.c }}", RenderOptions{}, "chart aecp templates/x.yaml:2 cannot be rendered: .Values.a.b.c: nil pointer evaluating", ErrRender},
		{"fail", "templates/x.yaml", "{{ fail \"先设置 tag\" }}", RenderOptions{}, "chart aecp templates/x.yaml:1 cannot be rendered: 先设置 tag", ErrRender},
		{"required", "x", "", RenderOptions{Values: []map[string]any{{"image": map[string]any{"tag": ""}}}}, "chart aecp templates/deploy.yaml:17 cannot be rendered: image.tag is required: set the version", ErrRender},
		{"syntax", "templates/x.yaml", "\n\n{{ if }}", RenderOptions{}, "chart aecp templates/x.yaml:3 cannot be rendered: missing value for if", ErrRender},
		{"unknown function", "templates/x.yaml", "{{ nope }}", RenderOptions{}, `templates/x.yaml:1 cannot be rendered: function "nope" not defined`, ErrRender},
		{"unknown include", "templates/x.yaml", "{{ include \"nope\" . }}", RenderOptions{}, `templates/x.yaml:1 cannot be rendered: template: no template "nope"`, ErrRender},
		{"inside an include", "templates/_x.tpl", "{{ define \"common.labels\" }}\n{{ .Values.a.b.c }}{{ end }}", RenderOptions{}, "chart aecp templates/_x.tpl:2 (from templates/deploy.yaml:6) cannot be rendered", ErrRender},
		{"subchart", "charts/redis/templates/x.yaml", "{{ .Values.a.b.c }}", RenderOptions{}, "chart aecp charts/cache/templates/x.yaml:1 cannot", ErrRender},
		{"not YAML", "templates/x.yaml", "a: 1\n---\nb: [\n", RenderOptions{}, "chart aecp templates/x.yaml cannot be rendered: document 2 of its output is not YAML: line", ErrRender},
		{"definition is not YAML", "crds/x.yaml", "b: [\n", RenderOptions{}, "chart aecp crds/x.yaml cannot be rendered", ErrRender},
		{"repeat", "templates/x.yaml", "{{ repeat 1000000000000 \"a\" }}", RenderOptions{}, "repeat 1000000000000 times 1 bytes is out of bounds", ErrRender},
		{"until", "templates/x.yaml", "{{ until 1000000000000 }}", RenderOptions{}, "is out of bounds", ErrRender},
		{"seq", "templates/x.yaml", "{{ seq 1000000000000 }}", RenderOptions{}, "is out of bounds", ErrRender},
		{"random", "templates/x.yaml", "{{ randAlphaNum 1000000000000 }}", RenderOptions{}, "is out of bounds", ErrRender},
		{"endless include", "templates/x.yaml", "{{ define \"l\" }}{{ include \"l\" . }}{{ end }}{{ include \"l\" . }}", RenderOptions{}, "cannot be rendered", ErrRender},
		{"missing dependency", "Chart.yaml", chartYAML + "dependencies: [{name: b, version: 1.0.0}, {name: c, version: 1.0.0}]\n", RenderOptions{}, "chart a is an incomplete chart: Chart.yaml names b, c, which the charts folder lacks; run `helm dependency build`", ErrDependency},
		{"library", "Chart.yaml", chartYAML + "type: library\n", RenderOptions{}, "it is a library chart", ErrRender},
		{"old cluster", "x", "", RenderOptions{KubeVersion: "v1.13.0"}, "it wants Kubernetes >=1.14.0-0 and is rendered for v1.13.0", ErrRender},
		{"no version", "x", "", RenderOptions{KubeVersion: "new"}, `the Kubernetes version "new" cannot be read`, ErrValues},
		{"scalar for a subchart", "x", "", RenderOptions{Values: []map[string]any{{"cache": "on"}}}, "chart aecp: not usable values", ErrValues},
		{"schema", "values.schema.json", `{"properties":{"image":{"type":"string"}}}`, RenderOptions{}, "got object, want string", ErrValues},
		{"bad schema", "values.schema.json", `{`, RenderOptions{}, "not usable values", ErrValues},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := aecp(t).WithFile(tt.file, []byte(tt.content))
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Render(context.Background(), tt.o)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

// TestRenderOffline: neither templates nor schemas reach the network or the
// disk of the build host.
func TestRenderOffline(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer srv.Close()
	old := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		asked.Add(1)
		return nil, errors.New("no network")
	}}
	defer func() { net.DefaultResolver = old }()
	for _, schema := range []string{
		`{"$ref":"` + srv.URL + `/s.json"}`, `{"$schema":"` + srv.URL + `/meta.json"}`, `{"properties":{"a":[{"$ref":"other.json"}]}}`,
		`{"$dynamicRef":"file:///etc/passwd"}`, `{"$schema":"x"}`,
	} {
		c, err := aecp(t).WithFile("values.schema.json", []byte(schema))
		if err != nil {
			t.Fatal(err)
		}
		render(t, c, RenderOptions{})
	}
	for _, schema := range []string{`{"$schema":"http://json-schema.org/draft-07/schema#","$ref":"#/definitions/a","definitions":{"a":{}}}`, `{"$schema":"https://json-schema.org/draft/2020-12/schema"}`} {
		c, err := aecp(t).WithFile("values.schema.json", []byte(schema))
		if err != nil {
			t.Fatal(err)
		}
		render(t, c, RenderOptions{})
		if !selfContained([]byte(schema)) {
			t.Errorf("%s is not checked", schema)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestRenderCapabilities(t *testing.T) {
	c, err := aecp(t).WithFile("templates/x.yaml", []byte(`v: {{ .Capabilities.KubeVersion.Version }} {{ .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }} {{ .Capabilities.APIVersions.Has "apps/v1" }}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := render(t, c, RenderOptions{KubeVersion: "v1.22.15-aliyun.1", APIVersions: []string{"monitoring.coreos.com/v1"}}); !strings.Contains(got, "v: v1.22.15-aliyun.1 true true") {
		t.Errorf("got %s", got)
	}
	if got := render(t, c, RenderOptions{}); !strings.Contains(got, " false true") {
		t.Errorf("versions of one rendering show in the next: %s", got)
	}
}

// TestBoundedFunctions: below the bounds charts get what Sprig gives.
func TestBoundedFunctions(t *testing.T) {
	c, err := aecp(t).WithFile("templates/x.yaml", []byte(`v: "{{ repeat 3 "ab" }} {{ until 3 }} {{ until -2 }} {{ untilStep 6 0 -2 }} {{ untilStep 0 3 0 }} {{ seq 3 }} {{ seq -1 }} {{ seq 2 4 }} {{ seq 4 2 }} {{ seq 0 2 6 }} {{ randAlphaNum 5 | len }}"`))
	if err != nil {
		t.Fatal(err)
	}
	want := `v: "ababab [0 1 2] [0 -1] [6 4 2] [] 1 2 3 1 0 -1 2 3 4 4 3 2 0 2 4 6 5"`
	if got := render(t, c, RenderOptions{}); !strings.Contains(got, want) {
		t.Errorf("got %s", got)
	}
}

// TestRenderCancel: a template that takes long can be left.
func TestRenderCancel(t *testing.T) {
	c, err := aecp(t).WithFile("templates/x.yaml", []byte(`{{ $x := until 3000 }}{{ range $x }}{{ range $x }}{{ end }}{{ end }}`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Render(ctx, RenderOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Render(ctx, RenderOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
