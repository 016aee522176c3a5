package kubefile

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"bundle/manifest/step"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", path, got)
	}
}

func seed(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/cnstack.Kubefile")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The published Kubefile of CNStack community edition is the file this
// dialect exists for.
func TestCNStackKubefile(t *testing.T) {
	f, err := Parse("Kubefile", strings.NewReader(seed(t)), Auto)
	if err != nil {
		t.Fatal(err)
	}
	if f.Dialect != D05 || f.Detection.Ambiguous {
		t.Errorf("dialect %v (%+v), want an unambiguous 0.5", f.Dialect, f.Detection)
	}
	if want := "ack-agility-registry.cn-shanghai.cr.aliyuncs.com/ecp_builder/ackdistro:v1.20.4-ack-2"; f.Base != want || f.BaseSource != "Kubefile:2" {
		t.Errorf("base %q from %s", f.Base, f.BaseSource)
	}
	if !f.InheritsCommands() {
		t.Error("the base's kube-core, hybridnet and open-local would not be installed")
	}
	if len(f.Warnings) > 0 || len(f.Unsupported()) > 0 {
		t.Errorf("warnings %v, unsupported %v", f.Warnings, f.Unsupported())
	}
	var b strings.Builder
	for _, c := range f.Copies() {
		b.WriteString(string(c.Source) + "  " + c.Src + " -> " + c.Target(c.Src, false, false))
		if c.Discover != "" {
			b.WriteString("  (" + string(c.Discover) + ")")
		}
		b.WriteString("\n")
	}
	golden(t, "testdata/cnstack.copies", []byte(b.String()))
	steps, err := json.MarshalIndent(step.From(f.Commands(), "aecp", "aecp"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/cnstack.steps.json", append(steps, '\n'))
}
