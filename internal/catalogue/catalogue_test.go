package catalogue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/internal/page"
	"bundle/manifest"
)

func options(c *manifest.Contents) Options {
	return Options{
		Bundles: []Bundle{{
			File: "b.tar.zst", IndexDigest: digest.FromString("index"), Size: 7_000_000, Trust: Verified,
			Contents: func() (*manifest.Contents, error) { return c, nil },
		}},
		Problems: func(context.Context) map[string]string { return nil },
	}
}

func contents() *manifest.Contents {
	return &manifest.Contents{
		Name: "shop", Version: "1.0.0", Platforms: []string{"linux/amd64"},
		Images: []manifest.Image{
			{Name: "registry.k8s.io/pause:3.9", Digest: digest.FromString("pause"), Size: 700_000, Platforms: []string{"linux/amd64"}},
			{Name: "localhost:5000/team/app:1", Digest: digest.FromString("app")},
		},
		Charts: []manifest.Chart{{Name: "shop", Version: "1.2.3+build.5", Size: 1200}},
	}
}

// ask gives the page as a browser at this address gets it.
func ask(t *testing.T, o Options, host, target, language string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = host
	r.Header.Set("Accept-Language", language)
	w := httptest.NewRecorder()
	New(o).ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}

func wants(t *testing.T, body string, facts ...string) {
	t.Helper()
	for _, f := range facts {
		if !strings.Contains(body, f) {
			t.Errorf("the page does not say %q", f)
		}
	}
}

// TestCommandsAreForThisAddress, so that they work when they are copied.
func TestCommandsAreForThisAddress(t *testing.T) {
	if missing := pageTemplate.Untranslated(); len(missing) > 0 {
		t.Errorf("these words have no Chinese: %q", missing)
	}
	for _, trust := range []Trust{Verified, Unchecked, Skipped} {
		if _, s := state(trust); pageTemplate.Word(page.Chinese, s) == s {
			t.Errorf("%q has no Chinese", s)
		}
	}
	res, body := ask(t, options(contents()), "10.0.0.10:5000", "/", "en")
	wants(t, body,
		"docker pull 10.0.0.10:5000/registry.k8s.io/pause:3.9", "nerdctl --insecure-registry -n k8s.io pull 10.0.0.10:5000/registry.k8s.io/pause:3.9",
		"skopeo copy --src-tls-verify=false docker://10.0.0.10:5000/registry.k8s.io/pause:3.9 docker-archive:pause.tar",
		"crane pull --insecure 10.0.0.10:5000/registry.k8s.io/pause:3.9 pause.tar", "docker pull 10.0.0.10:5000/team/app:1",
		"helm pull oci://10.0.0.10:5000/charts/shop --version 1.2.3&#43;build.5 --plain-http", "insecure-registries",
		digest.FromString("pause").String(), "signature verified", "all is well", "every bundle can be read", `<html lang="en">`)
	if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if strings.Contains(body, "docker login") {
		t.Error("the page asks to log in where nobody has to")
	}
	_, body = ask(t, options(contents()), "127.0.0.1:5000", "/", "zh-CN,en;q=0.5")
	wants(t, body, `<html lang="zh-CN">`, "运行正常", "签名已校验", "docker pull 127.0.0.1:5000/registry.k8s.io/pause:3.9", "nerdctl -n k8s.io pull")
	o := options(contents())
	o.Protected, o.CA = true, "/var/lib/ca.crt"
	_, body = ask(t, o, "sea.hub:5000", "https://sea.hub:5000/?lang=en", "zh")
	wants(t, body, `<html lang="en">`, "docker login sea.hub:5000", "skopeo copy docker://sea.hub:5000/registry.k8s.io/pause:3.9", "/var/lib/ca.crt", "/etc/docker/certs.d/sea.hub:5000/ca.crt")
	if strings.Contains(body, "plain-http") || strings.Contains(body, "insecure") {
		t.Error("over TLS the page says how to do without")
	}
}

// TestAddressCannotBeACommand: what a browser says of its address goes into
// lines that people paste into a shell.
func TestAddressCannotBeACommand(t *testing.T) {
	for _, host := range []string{"x;reboot", "$(reboot)", "a b", "`id`", "", "[::1", "h:99999999", `"><script>alert(1)</script>`} {
		_, body := ask(t, options(contents()), host, "/", "en")
		if !strings.Contains(body, "docker pull REGISTRY/registry.k8s.io/pause:3.9") {
			t.Errorf("with Host %q the page does not fall back", host)
		}
	}
	for _, host := range []string{"sea.hub", "[fd00::1]:5000", "10.0.0.1:5000"} {
		_, body := ask(t, options(contents()), host, "/", "en")
		wants(t, body, "docker pull "+host+"/registry.k8s.io/pause:3.9")
	}
}

// TestManyImagesAreLeafedThrough and found, without any script.
func TestManyImagesAreLeafedThrough(t *testing.T) {
	c := contents()
	for n := range 3000 {
		c.Images = append(c.Images, manifest.Image{Name: fmt.Sprintf("quay.io/team/app-%04d:1", n), Digest: digest.FromString(fmt.Sprint(n))})
	}
	_, body := ask(t, options(c), "h:1", "/", "en")
	wants(t, body, `href="/?page=2#images"`, "1 / 61", "3002")
	if len(body) > page.MaxSize {
		t.Errorf("the page has %d bytes", len(body))
	}
	_, body = ask(t, options(c), "h:1", "/?q=APP-012&page=99&lang=zh", "en")
	wants(t, body, "app-0120:1", "app-0129:1", `value="app-012"`, `name="lang" value="zh"`)
	if strings.Contains(body, "app-0130") {
		t.Error("the page shows what was not looked for")
	}
	_, body = ask(t, options(c), "h:1", "/?q="+digest.FromString("7").Encoded()[:12], "en")
	wants(t, body, "app-0007:1")
	_, body = ask(t, options(c), "h:1", "/?q=nosuch&page=-3", "en")
	wants(t, body, "No image is called so.")
}

// TestTroubleIsSaid and the rest is shown all the same.
func TestTroubleIsSaid(t *testing.T) {
	o := options(contents())
	o.Problems = func(context.Context) map[string]string { return map[string]string{"b.tar.zst": "input/output error"} }
	o.Bundles = append(o.Bundles, Bundle{File: "c.tar.zst", Trust: Unchecked, Contents: func() (*manifest.Contents, error) { return nil, errors.New("damaged at 7") }})
	_, body := ask(t, o, "h:1", "/", "en")
	wants(t, body, "not all can be read", "b.tar.zst: input/output error", "damaged at 7", "signature not checked", "registry.k8s.io/pause:3.9")
}

func TestHostileNamesStayNames(t *testing.T) {
	const evil = `</style><script>alert(1)</script>" onload="x`
	c := &manifest.Contents{Name: evil, Version: evil, Platforms: []string{evil}}
	c.Images = []manifest.Image{{Name: evil, Digest: "x", Platforms: []string{evil}}, {Name: "", Digest: ""}, {Name: "x;reboot", Digest: "x"}, {Name: "x/$(id):1"}}
	c.Charts = []manifest.Chart{{Name: evil, Version: evil}}
	o := options(c)
	o.Bundles[0].File = evil
	_, body := ask(t, o, "h:1", "/?q=", "en")
	_, found := ask(t, o, "h:1", "/?q=%3C%2Fstyle%3E%3Cscript%3Ealert(1)", "en")
	for _, b := range []string{body, found} {
		if strings.Contains(b, "docker pull") || strings.Contains(b, "helm pull") {
			t.Error("the page makes a command of what is no name")
		}
		if strings.Count(b, "<script") != 1 || strings.Contains(b, `" onload`) {
			t.Error("what the bundle says became part of the page's code")
		}
	}
}
