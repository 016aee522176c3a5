package policy

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// valid tells what the published schema thinks of a policy.
func valid(t *testing.T, text string) error {
	t.Helper()
	f, err := os.Open("../../docs/policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	in, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(in)
}

// The example that people copy must work, and editors must not mark it.
func TestDocumentedExample(t *testing.T) {
	w := who{}
	doc, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/policy.md has no example")
	}
	pem := strings.Split(strings.TrimSpace(string(w.get(t, "alice").Public().PEM())), "\n")
	for old, new := range map[string]string{
		"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE…": strings.Join(pem[1:len(pem)-1], "\n      "),
		"b50c5e6e640a0e28…":                     w.get(t, "ci").Public().ID(),
		"{identity: release@example.com, issuer: https://issuer.example.com, trustedRootFile: trusted_root.json}": "{keyFile: release.pub}",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("the example has no %s", old)
		}
		text = strings.Replace(text, old, new, 1)
	}
	open := func(name string, _ int64) ([]byte, error) {
		return w.get(t, strings.TrimSuffix(name, ".pub")).Public().PEM(), nil
	}
	if _, err := Parse("policy.yaml", []byte(text), open); err != nil {
		t.Error(err)
	}
	if err := valid(t, text); err != nil {
		t.Error(err)
	}
}

// An editor that uses the published schema must mark what the tool refuses for
// its structure, and nothing else.
func TestSchema(t *testing.T) {
	w := who{}
	good := w.text(t, 1, "ci alice/notAfter=2027-01-31T12:00:00+08:00", "roles: {build: {signers: [ci], notBefore: 2026-01-01}}\n")
	for _, text := range []string{good, good + "images: [{match: [a], unsigned: true}, {match: [b], signers: [ci], threshold: 1}]\nadmin: {signers: [ci]}\nrevoked: {identities: [a]}\nbundles: [{name: a, minVersion: 1.0.0, rollback: refuse}]\n"} {
		parse(t, text)
		if err := valid(t, text); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{
		strings.Replace(good, "serial: 1", "serial: 0", 1),
		strings.Replace(good, "kind: TrustPolicy", "kind: Policy", 1),
		strings.Replace(good, "[ci]", "[]", 1),
		strings.Replace(good, "  ci:\n", "  ci:\n    keyFile: x\n", 1),
		good + "images: [{match: [a]}]\n",
		good + "images: [{match: [a], unsigned: true, threshold: 1}]\n",
		good + "bundles: [{minVersion: 1.0.0}]\n",
		good + "revoked: {keys: [abc]}\n",
		good + "role: {}\n",
	} {
		if _, err := Parse("policy.yaml", []byte(bad), nil); err == nil {
			t.Errorf("the tool takes it:\n%s", bad)
		}
		if valid(t, bad) == nil {
			t.Errorf("the schema takes it:\n%s", bad)
		}
	}
}
