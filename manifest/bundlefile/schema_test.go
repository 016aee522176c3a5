package bundlefile

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("../../docs/bundle.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("bundle.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("bundle.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// asJSON gives a YAML text the way an editor's validator sees it.
func asJSON(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// An editor that uses the published schema must not mark what the tool reads.
func TestSchemaAcceptsWhatParses(t *testing.T) {
	s := schema(t)
	texts := append([]string{whole}, good...)
	for _, text := range texts {
		if _, err := Parse("bundle.yaml", strings.NewReader(text)); err != nil {
			t.Errorf("does not parse: %v\n%s", err, text)
		}
		if err := s.Validate(asJSON(t, text)); err != nil {
			t.Errorf("schema: %v\n%s", err, text)
		}
	}
}

// And it must mark what the tool refuses for its structure.
func TestSchemaRefusesWhatDoesNotParse(t *testing.T) {
	s := schema(t)
	for _, c := range bad {
		if c.schemaCannot {
			continue
		}
		if err := s.Validate(asJSON(t, c.text)); err == nil {
			t.Errorf("the schema takes what the tool refuses (%s):\n%s", c.want[0], c.text)
		}
	}
}

// The example that people copy must work.
func TestDocumentedExample(t *testing.T) {
	doc, err := os.ReadFile("../../docs/bundle-yaml.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(doc), "```yaml\n")
	text, _, ok2 := strings.Cut(rest, "```")
	if !ok || !ok2 {
		t.Fatal("docs/bundle-yaml.md has no example")
	}
	f, err := Parse("bundle.yaml", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Images) != 2 || len(f.Steps("p", "x")) != 4 {
		t.Errorf("got %+v", f)
	}
	if err := schema(t).Validate(asJSON(t, text)); err != nil {
		t.Error(err)
	}
	// Every field and action is explained.
	for _, name := range []string{"helm", "helmUninstall", "apply", "create", "delete", "namespace", "scale", "taint", "label", "annotate", "patch", "waitCRD", "waitRollout", "exec",
		"from", "platforms", "images", "imageLists", "charts", "files", "env", "labels", "steps"} {
		if !strings.Contains(string(doc), "`"+name+"`") {
			t.Errorf("docs/bundle-yaml.md does not explain %s", name)
		}
	}
}
