package cosign

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// products are the folders of the packages whose tests know cosign.
var products = []string{"../../verify/sign", "../../verify/receipt", "../../cmd/bundle"}

// TestRealCosign hands the real cosign to the product's own tests: that cosign
// verifies what bundle signs with its keys, and the other way round, and that
// images which cosign signed satisfy a trust policy.
func TestRealCosign(t *testing.T) {
	path := os.Getenv("BUNDLE_COSIGN")
	if path == "" {
		if testing.Short() {
			t.Skip("building cosign takes minutes; run without -short, or set BUNDLE_COSIGN")
		}
		out, err := exec.Command("go", "tool", "-n", "cosign").Output()
		if err != nil {
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				t.Logf("%s", exit.Stderr)
			}
			t.Fatalf("cosign cannot be built: %v", err)
		}
		path = strings.TrimSpace(string(out))
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, product := range products {
		cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestRealCosign", ".")
		cmd.Dir = product
		// As the product is built (Makefile).
		cmd.Env = append(os.Environ(), "BUNDLE_COSIGN="+path, "CGO_ENABLED=0")
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		if err != nil || strings.Contains(string(out), "--- SKIP") || !strings.Contains(string(out), "--- PASS: TestRealCosign") {
			t.Errorf("%s: the tests against cosign did not pass: %v", product, err)
		}
	}
}
