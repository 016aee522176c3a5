package pack

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"bundle/manifest/chart"
)

// packedTestChart gives a small chart as a .tgz.
func packedTestChart(t *testing.T, version string) []byte {
	t.Helper()
	dir := contextOf(t, map[string]string{
		"Chart.yaml":             "apiVersion: v2\nname: shop\nversion: " + version + "\n",
		"templates/service.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\n",
	})
	c, err := chart.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	tgz, err := c.Package()
	if err != nil {
		t.Fatal(err)
	}
	return tgz
}

// TestFetchRepoChart gets charts from a classic repository: the version that
// was asked for, and the newest where none was.
func TestFetchRepoChart(t *testing.T) {
	t.Setenv("HELM_CACHE_HOME", t.TempDir())
	charts := map[string][]byte{"1.0.0": packedTestChart(t, "1.0.0"), "1.2.0": packedTestChart(t, "1.2.0")}
	var base string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/repo/index.yaml" {
			fmt.Fprint(w, "apiVersion: v1\nentries:\n  shop:\n")
			for _, v := range []string{"1.2.0", "1.0.0"} {
				fmt.Fprintf(w, "  - {apiVersion: v2, name: shop, version: %s, urls: [%s/repo/shop-%s.tgz]}\n", v, base, v)
			}
			return
		}
		version := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/repo/shop-"), ".tgz")
		if data, ok := charts[version]; ok {
			_, _ = w.Write(data)
			return
		}
		http.NotFound(w, r)
	}))
	defer srv.Close()
	base = srv.URL
	for spec, want := range map[string]string{
		"shop@" + srv.URL + "/repo:1.0.0": "1.0.0",
		"shop@" + srv.URL + "/repo":       "1.2.0",
	} {
		got, err := fetchChart(t.Context(), spec, RegistryOptions{})
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		if !bytes.Equal(got, charts[want]) {
			t.Errorf("%s is not version %s", spec, want)
		}
	}
	for _, spec := range []string{"none@" + srv.URL + "/repo", "shop@" + srv.URL + "/repo:9.9.9", "shop@" + srv.URL + "/nowhere"} {
		if _, err := fetchChart(t.Context(), spec, RegistryOptions{}); err == nil || !strings.Contains(err.Error(), spec) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}

func TestSplitVersion(t *testing.T) {
	for in, want := range map[string][2]string{
		"https://charts.test/stable:1.2.3": {"https://charts.test/stable", "1.2.3"},
		"https://charts.test/stable":       {"https://charts.test/stable", ""},
		"http://127.0.0.1:8080":            {"http://127.0.0.1:8080", ""},
		"http://127.0.0.1:8080/x":          {"http://127.0.0.1:8080/x", ""},
		"http://127.0.0.1:8080/x:0.1.0":    {"http://127.0.0.1:8080/x", "0.1.0"},
		"http://127.0.0.1:8080:0.1.0":      {"http://127.0.0.1:8080", "0.1.0"},
	} {
		if u, v := splitVersion(in); u != want[0] || v != want[1] {
			t.Errorf("splitVersion(%q) = %q, %q; want %q", in, u, v, want)
		}
	}
}

func TestIsRemoteChart(t *testing.T) {
	for in, want := range map[string]bool{
		"oci://r.io/charts/x": true, "x@https://charts.test": true, "x@http://c:1": true,
		"./x": false, "x.tgz": false, "user@host": false, "x@ftp://c": false,
	} {
		if got := isRemoteChart(in); got != want {
			t.Errorf("isRemoteChart(%q) = %v", in, got)
		}
	}
}
