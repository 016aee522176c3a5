package discover

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// show writes what was found one per line, as the tests below expect it.
func show(found []Found) string {
	var b strings.Builder
	for _, f := range found {
		name := f.Ref.String()
		if f.Malformed() {
			name = "malformed " + f.Raw
		}
		fmt.Fprintf(&b, "%.1s %s | %s\n", f.Class, name, f.Source)
	}
	return b.String()
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestObjects says of each kind of place whether an image there is pulled by
// the cluster (r) or may be (c), and how the user is led to it.
func TestObjects(t *testing.T) {
	const pod = "{containers: [{name: app, image: 'r.io/a:1'}]}"
	tests := []struct{ name, in, want string }{
		{"empty", "", ""},
		{"only markers and comments", "---\n# 无\n---\n\n---\nnull\n", ""},
		{"pod", "kind: Pod\nmetadata: {name: p}\nspec:\n  initContainers: [{name: i, image: r.io/i:1}]\n  containers: [{name: a, image: r.io/a:1}]\n  ephemeralContainers: [{name: e, image: r.io/e:1}]\n  volumes: [{name: v, image: {reference: r.io/v:1}}, {name: w, emptyDir: {}}]\n",
			"r r.io/i:1 | f: Pod p init container i\nr r.io/a:1 | f: Pod p container a\nr r.io/e:1 | f: Pod p ephemeral container e\nr r.io/v:1 | f: Pod p volume v\n"},
		{"deployment", "kind: Deployment\nmetadata: {name: d}\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: Deployment d container app\n"},
		{"replica set", "kind: ReplicaSet\nmetadata: {name: d}\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: ReplicaSet d container app\n"},
		{"stateful set", "kind: StatefulSet\nmetadata: {name: d}\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: StatefulSet d container app\n"},
		{"daemon set", "kind: DaemonSet\nmetadata: {name: d}\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: DaemonSet d container app\n"},
		{"replication controller", "kind: ReplicationController\nmetadata: {name: d}\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: ReplicationController d container app\n"},
		{"job", "kind: Job\nmetadata: {generateName: d-}\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: Job d- container app\n"},
		{"cron job", "kind: CronJob\nmetadata: {name: d}\nspec: {jobTemplate: {spec: {template: {spec: " + pod + "}}}}", "r r.io/a:1 | f: CronJob d container app\n"},
		{"pod template", "kind: PodTemplate\nmetadata: {name: d}\ntemplate: {spec: " + pod + "}", "r r.io/a:1 | f: PodTemplate d container app\n"},
		{"list", "kind: List\nitems:\n- kind: Pod\n  spec: " + pod + "\n- kind: List\n  items: [{kind: Pod, metadata: {name: x}, spec: {containers: [{image: b}]}}]",
			"r r.io/a:1 | f: Pod container app\nr docker.io/library/b:latest | f: Pod x container 0\n"},
		{"typed list without kinds", "kind: PodList\nitems: [{metadata: {name: p}, spec: " + pod + "}]", "r r.io/a:1 | f: Pod p container app\n"},
		{"top-level sequence", "- kind: Pod\n  spec: " + pod + "\n", "r r.io/a:1 | f: Pod container app\n"},
		{"no image", "kind: Pod\nspec: {containers: [{name: a}, {name: b, image: ''}, {name: c, image: null}]}", ""},
		{"not an image", "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: 'x/UPPER:1'}]}", "r malformed x/UPPER:1 | f: Pod p container a\n"},
		{"number as image", "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: 123}]}", "r docker.io/library/123:latest | f: Pod p container a\n"},
		{"template in place of an image", "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: '{{.X}}/x:1'}, {name: b, image: '{{ .RegistryURL }}/ecp/x:1'}]}",
			"r malformed {{.X}}/x:1 | f: Pod p container a\nr sea.hub:5000/ecp/x:1 | f: Pod p container b\n"},
		{"structure in place of an image", "kind: Pod\nspec: {containers: [{name: a, image: [x]}], volumes: [{name: v, image: {reference: {a: b}}}]}", "r malformed […] | f: Pod container a\nr malformed {…} | f: Pod volume v\n"},
		{"wrong shapes", "kind: Pod\nspec: {containers: {a: b}, initContainers: x, volumes: [1, {image: 'r.io/x:1'}]}", "c r.io/x:1 | f: Pod volume image\n"},

		{"template of a custom resource", "kind: CloneSet\nmetadata: {name: c}\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: CloneSet c container app\n"},
		{"several templates of a custom resource", "kind: TFJob\nmetadata: {name: c}\nspec: {tfReplicaSpecs: {Worker: {template: {spec: " + pod + "}}}, workerTemplate: {spec: {containers: [{name: w, image: r.io/w:1}]}}}",
			"r r.io/a:1 | f: TFJob c spec.tfReplicaSpecs.Worker.template.spec container app\nr r.io/w:1 | f: TFJob c spec.workerTemplate.spec container w\n"},
		{"containers of a custom resource elsewhere", "kind: SidecarSet\nmetadata: {name: c}\nspec: " + pod, "c r.io/a:1 | f: SidecarSet c spec.containers[0].image\n"},
		{"bare name in the shape of a container", "kind: Task\nmetadata: {name: t}\nspec: {steps: [{name: s, image: ubuntu, script: ls}, {name: u, image: logo}]}", "c docker.io/library/ubuntu:latest | f: Task t spec.steps[0].image\n"},
		{"fields called image", "kind: X\nspec: {image: a/b, sidecarImage: 'nginx:1.25', images: ['r.io/c:1', {name: 'r.io/d:1'}], exporter: {image: {name: e/f, version: 1.2}}, pullImage: true, logoImage: logo.png}",
			"c docker.io/a/b:latest | f: X spec.image\nc docker.io/library/nginx:1.25 | f: X spec.sidecarImage\nc r.io/c:1 | f: X spec.images[0]\nc r.io/d:1 | f: X spec.images[1].name\nc docker.io/e/f:1.2 | f: X spec.exporter.image\n"},
		{"pieces", "kind: X\na: {registry: r.io, repository: a/b, tag: 1.10}\nb: {repository: r.io/c, tag: v1, registry: r.io}\nc: {repository: 'https://charts.example.com', tag: 1}\nd: {repository: a/b, tag: ''}\ne: {image: ecp/e, tag: v2, imageRegistry: s.io}\nf: {baseImage: quay.io/p/p, version: v3}\ng: {repository: r.io/g, digest: 'sha256:" + hex64 + "'}\nh: {repository: a/b, tag: '{{ .T }}'}\ni: {repository: 'r.io/i:1', tag: 2}",
			"c r.io/a/b:1.10 | f: X a\nc r.io/c:v1 | f: X b\nc s.io/ecp/e:v2 | f: X e\nc quay.io/p/p:v3 | f: X f\nc r.io/g@sha256:" + hex64 + " | f: X g\nc r.io/i:1 | f: X i.repository\n"},
		{"kustomize", "kind: Kustomization\nimages: [{name: nginx, newName: r.io/nginx, newTag: '1.25'}, {name: redis, newTag: '7'}]", "c r.io/nginx:1.25 | f: Kustomization images[0]\nc docker.io/library/redis:7 | f: Kustomization images[1]\n"},
		{"arguments", "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, command: [x, --agent-image, redis:7, -v, 'http://h:80/x'], args: ['--serverImage=r.io/s:1', '--config-reloader=r.io/c:1', '--addr=:8080', '--image nginx:1.2', '--map=a=r.io/m:1,b=r.io/n:1', '--toleration=k.example.com/x:NoSchedule', 'docker pull r.io/sh:1 && sleep 1']}]}",
			"c docker.io/library/redis:7 | f: Pod p container a command[2]\nc r.io/s:1 | f: Pod p container a args[0]\nc r.io/c:1 | f: Pod p container a args[1]\nc docker.io/library/nginx:1.2 | f: Pod p container a args[3]\nc r.io/n:1 | f: Pod p container a args[4]\nc r.io/sh:1 | f: Pod p container a args[6]\n"},
		{"environment", "kind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, env: [{name: RELATED_IMAGE, value: redis:7}, {name: OTHER, value: redis:7}, {name: X, value: 'r.io/x:1'}, {name: URL, value: 'http://r.io/x:1'}]}]}",
			"c docker.io/library/redis:7 | f: Pod p container a env[0].value\nc r.io/x:1 | f: Pod p container a env[2].value\n"},
		{"annotations and labels", "kind: Service\nmetadata: {name: s, annotations: {a/proxy-image: 'proxy:1', b: 'r.io/b:1', c: 'at 12:30', kubectl.kubernetes.io/last-applied-configuration: '{\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"name\":\"z\",\"image\":\"r.io/z:1\"}]}}'}}",
			"c docker.io/library/proxy:1 | f: Service s metadata.annotations.a/proxy-image\nc r.io/b:1 | f: Service s metadata.annotations.b\nc r.io/z:1 | f: Service s metadata.annotations.kubectl.kubernetes.io/last-applied-configuration Pod spec container z\n"},
		{"config map", "kind: ConfigMap\nmetadata: {name: c}\ndata:\n  image: nginx:1\n  key: foo:bar\n  说明: 拉取 r.io/txt:1。\n  conf: |\n    listen = 0.0.0.0:80\n    sandbox_image = \"r.io/pause:3\"\n  bad.tpl: |\n    {{- if .x }}\n    image: {{ .Values.x }}\n    image: \"r.io/tpl:1\"\n  two.yaml: |\n    ---\n    image: r.io/one:1\n    ---\n    {{ x }}: {{\n    b: r.io/two:1\nbinaryData: {b: " + b64("image: r.io/bin:1\n") + "}",
			"c docker.io/library/nginx:1 | f: ConfigMap c data.image\nc r.io/pause:3 | f: ConfigMap c data.conf\nc r.io/tpl:1 | f: ConfigMap c data.bad.tpl\nc r.io/one:1 | f: ConfigMap c data.two.yaml.image\nc r.io/two:1 | f: ConfigMap c data.two.yaml\nc r.io/bin:1 | f: ConfigMap c binaryData.b\n"},
		{"secret", "kind: Secret\nmetadata: {name: s}\ndata: {values.yaml: " + b64("image:\n  repository: r.io/s\n  tag: 1\n") + ", image: " + b64("r.io/only:1") + ", raw: '!!!!'}\nstringData: {x: 'r.io/str:1'}",
			"c r.io/s:1 | f: Secret s data.values.yaml.image\nc r.io/only:1 | f: Secret s data.image\nc r.io/str:1 | f: Secret s stringData.x\n"},
		{"base64 values of an application", "kind: Application\nmetadata: {name: a}\nspec: {helm: {values: " + b64("a: {registry: r.io, repository: x, tag: 2}\nvalues: "+b64("deepImage: r.io/y:1")) + "}}",
			"c r.io/x:2 | f: Application a spec.helm.values.a\nc r.io/y:1 | f: Application a spec.helm.values.values\n"},
		{"pod in a string is not certain", "kind: ConfigMap\nmetadata: {name: c}\ndata:\n  a.yaml: |\n    kind: Pod\n    metadata: {name: p}\n    spec: {containers: [{name: x, image: r.io/x:1}, {name: y, image: '{{ bad }}'}]}\n",
			"c r.io/x:1 | f: ConfigMap c data.a.yaml Pod p spec container x\n"},
		{"definition", "kind: CustomResourceDefinition\nmetadata: {name: d}\nspec: {versions: [{schema: {openAPIV3Schema: {properties: {image: {type: string, description: 'r.io/doc:1', example: 'r.io/ex:1', default: 'r.io/def:1'}, default: {type: string, enum: ['r.io/enum:1']}, template: {properties: {spec: {properties: {containers: {items: {properties: {image: {default: redis:7}}}}}}}}}}}}]}",
			"c r.io/def:1 | f: CustomResourceDefinition d default of image\nc docker.io/library/redis:7 | f: CustomResourceDefinition d default of image\n"},
		{"no object at all", "image: r.io/x:1\nother: [nginx:1.2, foo:bar]", "c r.io/x:1 | f: image\nc docker.io/library/nginx:1.2 | f: other[0]\n"},

		{"aliases and merges", "kind: Pod\nmetadata: {name: p}\nx: &c {name: base, image: r.io/base:1}\nspec:\n  containers:\n  - *c\n  - {<<: *c, name: m}\n  - <<: [*c, {image: r.io/no:1}]\n    name: n\n",
			"c r.io/base:1 | f: Pod p x.image\nr r.io/base:1 | f: Pod p container base\nr r.io/base:1 | f: Pod p container m\nr r.io/base:1 | f: Pod p container n\nr r.io/no:1 | f: Pod p container n\n"},
		{"byte order mark, CRLF, no final newline", "\ufeffkind: Pod\r\nspec:\r\n  containers:\r\n  - image: r.io/a:1", "r r.io/a:1 | f: Pod container 0\n"},
		{"directive", "%YAML 1.1\n# x\n---\nkind: Pod\nspec: " + pod, "r r.io/a:1 | f: Pod container app\n"},
		{"JSON with tabs", "{\n\t\"kind\": \"Pod\",\n\t\"spec\": {\"containers\": [{\"image\": \"r.io/a:1\"}]}\n}", "r r.io/a:1 | f: Pod container 0\n"},
		{"document ended by dots", "kind: Pod\nspec: " + pod + "\n...\n---\nkind: Pod\nmetadata: {name: q}\nspec: " + pod + "\n...", "r r.io/a:1 | f: Pod container app\nr r.io/a:1 | f: Pod q container app\n"},
		{"names from a hostile file", "kind: \"Po\\u001b[31md\\n\"\nspec: {template: {spec: " + pod + "}}", "r r.io/a:1 | f: Po?[31md container app\n"},
		{"the same twice in one place", "kind: X\na: ['r.io/a:1', 'r.io/a:1']\nb: r.io/a:1 r.io/a:1", "c r.io/a:1 | f: X a[0]\nc r.io/a:1 | f: X a[1]\nc r.io/a:1 | f: X b\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := Objects([]byte(tt.in), Origin{Name: "f"})
			if err != nil {
				t.Fatal(err)
			}
			if got := show(found); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
		})
	}
}

// TestLinesOfFiles leads the user of a multi-document file to the line.
func TestLinesOfFiles(t *testing.T) {
	in := "---\n# 第一\n---\n\nkind: Pod\nspec:\n  containers:\n  - image: r.io/a:1\n---\nkind: ConfigMap\ndata:\n  x: |\n    a: 1\n    image: r.io/b:1\n"
	found, err := Objects([]byte(in), Origin{Name: "manifests/x.yaml", Lines: true})
	if err != nil {
		t.Fatal(err)
	}
	want := "r r.io/a:1 | manifests/x.yaml:8: Pod container 0\nc r.io/b:1 | manifests/x.yaml:12: ConfigMap data.x.image\n"
	if got := show(found); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestObjectsErrors(t *testing.T) {
	deep := strings.Repeat("a: {", 300) + strings.Repeat("}", 300)
	laughs := "a0: &a0 [x, x]\n"
	for i := 1; i < 40; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	tests := []struct {
		name, in, text string
		lines          bool
		is             error
	}{
		{"template", "kind: Pod\nspec: {{ .x }}\nfoo: [", "f is not YAML: line", false, ErrSyntax},
		{"line of the second document", "a: 1\n---\nb: 2\nc: [\n", "f:4 is not YAML: did not find expected node content", true, ErrSyntax},
		{"control character", "a: \x01", "f is not YAML", false, ErrSyntax},
		{"depth", deep, "f is out of bounds: it is nested deeper than 200", false, ErrLimit},
		{"aliases", laughs, "f is out of bounds: its aliases make it larger", false, ErrLimit},
		{"documents", strings.Repeat("---\na\n", maxDocuments+1), "more than 20000 documents", false, ErrLimit},
		{"bare document after dots", "a: 1\n...\nb: 2\n", "did not find expected <document start>", false, ErrSyntax},
		{"one document too large", "a: " + strings.Repeat("x", maxDocBytes), "the document at line 1 is larger than 16 MiB", false, ErrLimit},
		{"all too large", strings.Repeat("x", maxBytes+1), "larger than 64 MiB", false, ErrLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Objects([]byte(tt.in), Origin{Name: "f", Lines: tt.lines})
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

// TestFoundBeforeError: a broken document does not hide those before it.
func TestFoundBeforeError(t *testing.T) {
	found, err := Objects([]byte("kind: Pod\nspec: {containers: [{image: r.io/a:1}]}\n---\nx: [\n"), Origin{Name: "f"})
	if !errors.Is(err, ErrSyntax) || len(found) != 1 {
		t.Errorf("got %v, %v", found, err)
	}
}

// TestStringsAreBounded: documents in documents stop being read, without an
// error, at a fixed depth.
func TestStringsAreBounded(t *testing.T) {
	inner := "image: r.io/deep:1\nx: y\n"
	for range maxEmbedded + 1 {
		inner = "x: |\n  " + strings.ReplaceAll(strings.TrimSpace(inner), "\n", "\n  ") + "\ny: z\n"
	}
	found, err := Objects([]byte(inner), Origin{Name: "f"})
	if err != nil {
		t.Fatal(err)
	}
	// It is still found as text, not by walking.
	if len(found) != 1 || strings.Contains(string(found[0].Source), "image") {
		t.Errorf("got %s", show(found))
	}

	enc := "image: r.io/deep:1"
	for range maxBase64 + 1 {
		enc = "values: " + b64(enc)
	}
	if found, err = Objects([]byte(enc), Origin{Name: "f"}); err != nil || len(found) != 0 {
		t.Errorf("got %s, %v", show(found), err)
	}
}

func FuzzObjects(f *testing.F) {
	for _, s := range []string{
		"kind: Pod\nspec: {containers: [{name: a, image: r.io/a:1}]}",
		"a: &a [*a]", "a: &a {<<: *a, b: c}", "---\n--- x\n...\n", "%YAML 1.1\n---\nx", "{\"kind\":\t\"List\",\"items\":[{}]}",
		"kind: Secret\ndata: {values: " + b64("a: "+b64("image: x/y:1")) + "}", "kind: CustomResourceDefinition\nspec: {default: {default: {image: x/y:1}}}",
		"kind: ConfigMap\ndata:\n  x: |\n    kind: Pod\n    spec: {containers: [{image: b}]}\n", "? [a]\n: b", "!!binary aW1hZ2U6IHg=", "image: {repository: a, tag: !!float 1.10}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o := Origin{Name: "f", Lines: true}
		found, err := Objects(data, o)
		if err != nil && !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrLimit) {
			t.Errorf("unclassed error %v", err)
		}
		more, lerr := Lines(data, o)
		if lerr != nil && !errors.Is(lerr, ErrLimit) {
			t.Errorf("unclassed error %v", lerr)
		}
		for _, f := range append(found, more...) {
			if !strings.HasPrefix(string(f.Source), "f") || strings.ContainsAny(string(f.Source), "\n\r\x1b\x00") {
				t.Errorf("source %q", f.Source)
			}
			if f.Malformed() && f.Class == Candidate {
				t.Errorf("malformed candidate %q", f.Raw)
			}
		}
	})
}
