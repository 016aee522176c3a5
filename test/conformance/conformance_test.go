package conformance

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"bundle/registry/serve"
)

// suite is the official suite: a program that is configured by its
// environment and prints its results and
// leaves reports in a folder.
const suite = "github.com/opencontainers/distribution-spec/conformance"

// run builds the suite and runs it against the server at addr. It logs what
// the suite says and fails on the suite's failures.
func run(t *testing.T, addr string, env ...string) {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "conformance")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, suite).CombinedOutput(); err != nil {
		t.Fatalf("the suite cannot be built: %v\n%s", err, out)
	}
	results := os.Getenv("CONFORMANCE_RESULTS")
	if results == "" {
		results = dir
	}
	results = filepath.Join(results, t.Name())
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"OCI_VERSION=1.1", "OCI_REGISTRY="+addr, "OCI_TLS=disabled",
		"OCI_REPO1="+repository, "OCI_REPO2=conformance/repo2", "OCI_RESULTS_DIR="+results,
		// A registry may support sha512; neither bundles nor the distribution
		// project do.
		"OCI_DATA_SHA512=false",
	)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	// The suite of this version writes no reports for read-only runs: it
	// crashes over them after it has printed its results. So the printed
	// results are what counts.
	if err != nil && !bytes.Contains(out, []byte("main.(*runner).ReportResultsYAML")) {
		t.Errorf("the suite failed: %v", err)
	}
	passed, failed, broken, skipped := count(t, out, "Pass"), count(t, out, "FAIL"), count(t, out, "Error"), count(t, out, "Skip")
	t.Logf("%d passed, %d failed, %d errors, %d skipped, %d disabled", passed, failed, broken, skipped, count(t, out, "Disabled"))
	if !bytes.Contains(out, []byte("\nOCI Conformance Result: Pass\n")) || passed == 0 || failed+broken > 0 {
		t.Error("that is not conformance")
	}
}

// count reads one line of the suite's totals.
func count(t *testing.T, out []byte, status string) int {
	t.Helper()
	m := regexp.MustCompile(`(?m)^ *` + status + `\.{3,}: +(\d+)$`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("the suite does not say how many tests are %q", status)
	}
	n, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReadOnly runs pull and content discovery on a bundle file.
func TestReadOnly(t *testing.T) {
	s := newSample(t)
	addr := listen(t, open(t, s.path), serve.Options{})
	run(t, addr,
		"OCI_API_PUSH=false", "OCI_API_BLOBS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_TAGS_DELETE=false",
		"OCI_RO_DATA_TAGS="+words(s.tags), "OCI_RO_DATA_MANIFESTS="+words(s.manifests),
		"OCI_RO_DATA_BLOBS="+words(s.blobs), "OCI_RO_DATA_REFERRERS="+words(s.referrers),
	)
}

// TestWritable runs all four workflows, pull, push, discovery and management,
// on the overlay over a bundle file.
func TestWritable(t *testing.T) {
	s := newSample(t)
	addr := listen(t, open(t, s.path), serve.Options{Writable: t.TempDir()})
	run(t, addr)
}
