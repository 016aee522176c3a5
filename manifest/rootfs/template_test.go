package rootfs

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"bundle/manifest/cluster"
)

func TestTemplates(t *testing.T) {
	root := memory{
		"etc/daemon.json.tmpl":                    "{\"x\": \"{{.RegistryURL}}\", \"y\": \"{{b64enc .RegistryURL}}\", \"z\": \"{{b64dec \"eA==\"}}\"}\n",
		"etc/daemon.json":                         "old",
		"x:charts/a/run.sh.tmpl":                  "{{if eq .Network \"calico\"}}c{{else}}h{{end}}\n",
		"manifests/deep/er/x.yaml.tmpl":           "{{range $k, $v := .}}{{$k}}={{$v}} {{end}}{{printf \"%q\" .Network}}\n",
		"etc/kubeadm-cluster-config.yaml.tmpl":    "{{.Master0.Nope.Nope}}",
		"etc/kubeadm.yml.tmpl":                    "{{or .Missing \"default\"}}\n",
		"etc/.tmpl":                               "{{",
		"chart/a/values.yaml.tmpl":                "{{ not looked at",
		"scripts/x.tmpl":                          "{{",
		"etc/link.tmpl":                           "->daemon.json.tmpl",
		"etc/dangling.tmpl":                       "->nowhere",
		"etc/dir.tmpl":                            "->../manifests",
		"manifests/empty.tmpl":                    "",
		"application/apps/nginx/values.yaml.tmpl": "{{.Color}}\n",
	}
	env := map[string]string{"RegistryURL": "sea.hub:5000", "Network": "calico"}
	r, err := ApplyApps(root, []cluster.Config{config("etc/made.tmpl", "overwrite", "", "{{.Network}}!\n")}, env,
		func(app string) map[string]string { return map[string]string{"Color": "blue of " + app} })
	if err != nil {
		t.Fatal(err)
	}
	want := `application/apps/nginx/values.yaml -rw-r--r-- [application/apps/nginx/values.yaml.tmpl]
blue of nginx
charts/a/run.sh -rwxr-xr-x [charts/a/run.sh.tmpl]
c
etc/daemon.json -rw-r--r-- [etc/daemon.json.tmpl]
{"x": "sea.hub:5000", "y": "c2VhLmh1Yjo1MDAw", "z": "x"}
etc/kubeadm.yml -rw-r--r-- [etc/kubeadm.yml.tmpl]
default
etc/link -rw-r--r-- [etc/link.tmpl]
{"x": "sea.hub:5000", "y": "c2VhLmh1Yjo1MDAw", "z": "x"}
etc/made -rw-r--r-- [Clusterfile:7 etc/made.tmpl]
calico!
etc/made.tmpl -rw-r--r-- [Clusterfile:7]
{{.Network}}!
manifests/deep/er/x.yaml -rw-r--r-- [manifests/deep/er/x.yaml.tmpl]
Network=calico RegistryURL=sea.hub:5000 "calico"
manifests/empty -rw-r--r-- [manifests/empty.tmpl]
¶
`
	if got := files(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if w := warned(r); w != "" {
		t.Errorf("warned %s", w)
	}
	if r, err := Apply(memory{"application/apps/a/x.tmpl": "{{"}, nil, env); err != nil || len(r.Files) != 0 {
		t.Errorf("applications without variables: %v %v", r, err)
	}
}

// TestMissingVariables: a variable without a value is seen before a host is
// touched, by the line of the template.
func TestMissingVariables(t *testing.T) {
	r, err := Apply(memory{
		"etc/a.tmpl": "x: {{.X}}\ny: {{.Y}}\nz: {{if .A}}{{else}}{{$.Z}}{{end}} {{.Z}}\n",
		"etc/b.tmpl": "1\n{{with .Q}}{{else}}{{$q := .Q}}{{$q}}{{end}}",
		"etc/c.tmpl": "the words <no value> are meant\n",
	}, nil, map[string]string{"Y": "1"})
	if err != nil {
		t.Fatal(err)
	}
	want := `etc/a.tmpl:1: the variable X has no value; the file will hold "<no value>"
etc/a.tmpl:3: the variable Z has no value; the file will hold "<no value>"
etc/b.tmpl: line 2 of what the template makes holds "<no value>": a variable has no value
`
	if got := warned(r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTemplateErrors(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"a\n{{if}}", "etc/x.tmpl:2: the template cannot be rendered: missing value for if"},
		{"a\n\n{{.A.B.C}}", "etc/x.tmpl:3: the template cannot be rendered: can't evaluate field B in type string"},
		{"{{nope}}", `etc/x.tmpl:1: the template cannot be rendered: function "nope" not defined`},
		{"\n{{b64enc .None}}", "etc/x.tmpl:2: the template cannot be rendered: "},
		{"{{template \"none\"}}", "etc/x.tmpl:1: the template cannot be rendered: "},
	} {
		_, err := Apply(memory{"etc/x.tmpl": tt.text}, nil, map[string]string{"A": "a"})
		if !errors.Is(err, ErrApply) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
	_, err := Apply(memory{"etc/x.tmpl": "x", "etc/x/y": ""}, nil, nil)
	if !errors.Is(err, ErrApply) || !strings.Contains(err.Error(), "etc/x is no file") {
		t.Errorf("no place: %v", err)
	}
}

// TestHostileTemplates: none of these may keep us busy or fill the memory.
func TestHostileTemplates(t *testing.T) {
	double := "{{$x := .A}}" + strings.Repeat("{{$x = print $x $x}}", 60)
	var calls strings.Builder
	for i := range 60 {
		fmt.Fprintf(&calls, `{{define "t%d"}}{{template "t%d"}}{{template "t%d"}}{{end}}`, i, i+1, i+1)
	}
	for name, text := range map[string]string{
		"a loop over a number":       "{{range 1000000000000}}{{end}}",
		"loops in loops":             "{{range 1000}}{{range 1000}}{{range 1000}}{{end}}{{end}}{{end}}",
		"a loop that prints":         "{{range 1000000}}{{$.A}}{{end}}",
		"a loop with a large body":   "{{range 1000000}}" + strings.Repeat("{{if eq 1 2}}{{end}}", 10000) + "{{end}}",
		"a text that doubles":        double,
		"quotes that double":         "{{$x := `\\`}}" + strings.Repeat("{{$x = js $x}}", 60),
		"a wide number":              "{{printf `%1000000d` 1}}",
		"a width of its own":         "{{printf `%*d` 1000000 1}}",
		"one argument a lot":         "{{printf `" + strings.Repeat("%[1]s", 100000) + "` .Long}}",
		"definitions that multiply":  calls.String() + `{{define "t60"}}{{end}}{{template "t0"}}`,
		"a definition of itself":     `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`,
		"base64 again and again":     "{{$x := .Long}}" + strings.Repeat("{{$x = b64enc $x}}", 100),
		"a loop that works":          "{{range 100000}}{{$y := html $.Long}}{{end}}",
		"parentheses":                "{{" + strings.Repeat("(", 200000) + "1",
		"conditions in one another":  strings.Repeat("{{if 1}}", 30000) + "{{range 1000000}}{{end}}" + strings.Repeat("{{end}}", 30000),
		"a loop inside a definition": `{{define "a"}}{{range 1000000000}}{{end}}{{end}}{{template "a"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Apply(memory{"etc/x.tmpl": text}, nil, map[string]string{"A": "aaaaaaaa", "Long": strings.Repeat("&", 10000)})
			if !errors.Is(err, ErrApply) {
				t.Errorf("got %v", err)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	// And this is fine.
	r, err := Apply(memory{"etc/x.tmpl": "{{range 100}}{{printf `%s %05d %q %v` $.A . `x` $}}{{urlquery `a b`}}{{println 1}}{{html `<`}}{{end}}"}, nil, map[string]string{"A": "b"})
	if err != nil || len(r.Files[0].Data) < 1000 {
		t.Errorf("an honest loop: %v", err)
	}
}
