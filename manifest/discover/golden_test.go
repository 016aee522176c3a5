package discover_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	"bundle/manifest/chart"
	"bundle/manifest/discover"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestChartGolden shows what a user gets from a whole chart: every image of
// every kind of place, with words that lead to it.
func TestChartGolden(t *testing.T) {
	c, err := chart.Load("../chart/testdata/aecp")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := c.Render(context.Background(), chart.RenderOptions{Values: []map[string]any{{"monitor": map[string]any{"enabled": true}}}})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, d := range docs {
		found, err := discover.Objects(d.Data, discover.Origin{Name: "chart " + c.Name + " " + d.Template})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			fmt.Fprintf(&got, "%s %s\n\t%s\n", f.Class, f.Ref, f.Source)
		}
	}
	golden(t, "testdata/aecp.golden", got.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got\n%s", name, got)
	}
}
