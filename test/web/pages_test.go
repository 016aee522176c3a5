package web

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestInspect opens the page of the CNStack stand-in.
func TestInspect(t *testing.T) {
	b := browser(t)
	dir := bundles(t)
	for _, tt := range []struct {
		name  string
		flags []string
		facts []string
	}{
		{"en", []string{"--key", "ci.pub"}, []string{
			"cnstack-ce", "Signature verified", "ci.pub", "ack-agility-registry.cn-shanghai.cr.aliyuncs.com/ecp_builder/aecp-installer-operator:v1.5.3.0",
			"asked for by imageList:2", "open-local", "Kubefile:30", "removes data", "bin/kubectl",
		}},
		{"zh", []string{"--lang", "zh"}, []string{"安装包内容清单", "已签名,未校验", "会删除数据", "个镜像共享此层", "bundle verify cnstack-ce-1.1.0.tar.zst"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(fix.program, append([]string{"inspect", "-o", "html", "cnstack-ce-1.1.0.tar.zst"}, tt.flags...)...)
			cmd.Dir = dir
			html, err := cmd.Output()
			must(t, err)
			if len(html) > 500_000 {
				t.Errorf("the page has %d bytes", len(html))
			}
			p := filepath.Join(t.TempDir(), "inspect.html")
			must(t, os.WriteFile(p, html, 0o600))
			good(t, b, "file://"+p, tt.facts, look{})
		})
	}
	t.Run("a tile leads to its image", func(t *testing.T) {
		cmd := exec.Command(fix.program, "inspect", "-o", "html", "cnstack-ce-1.1.0.tar.zst")
		cmd.Dir = dir
		html, err := cmd.Output()
		must(t, err)
		p := filepath.Join(t.TempDir(), "inspect.html")
		must(t, os.WriteFile(p, html, 0o600))
		s := open(t, b, "file://"+p, look{name: "tile", width: 1280})
		got := eval[string](t, s.ctx, `(() => { const a = document.querySelector('svg.map.wide a[href^="#image-"]'); return a.querySelector('title').textContent + '|' + document.querySelector(a.getAttribute('href')).textContent })()`)
		name, row, _ := strings.Cut(got, "|")
		name, _, _ = strings.Cut(name, ",")
		if name == "" || !strings.Contains(row, name) {
			t.Errorf("the tile of %q leads to %q", name, row)
		}
	})
}

// TestCatalogue opens the address of a registry.
func TestCatalogue(t *testing.T) {
	b := browser(t)
	bundles(t)
	url := serve(t)
	addr := strings.TrimPrefix(url, "http://")
	facts := []string{
		addr, "cnstack-ce 1.1.0", "docker pull " + addr + "/registry.", "helm pull oci://" + addr + "/charts/aecp --version 1.5.3 --plain-http", "sha256:",
	}
	t.Run("en", func(t *testing.T) {
		good(t, b, url+"/", append(facts, "all is well", "signature verified"), look{language: "en"})
	})
	t.Run("zh", func(t *testing.T) {
		good(t, b, url+"/", append(facts, "运行正常", "签名已校验"), look{language: "zh-CN"})
	})
	t.Run("tools and the copy button", func(t *testing.T) {
		s := open(t, b, url+"/", look{name: "tools", width: 1280, language: "en"})
		if strings.Contains(s.text, "crane pull") || !strings.Contains(s.text, "docker pull") {
			t.Error("the page does not begin with docker's commands alone")
		}
		must(t, chromedp.Do(s.ctx, chromedp.Click(chromedp.CSS("#tool-crane"))))
		text := eval[string](t, s.ctx, `document.body.innerText`)
		if !strings.Contains(text, "crane pull") || strings.Contains(text, "docker pull") {
			t.Error("choosing crane does not show its commands alone")
		}
		must(t, chromedp.Do(s.ctx, chromedp.Click(chromedp.CSS("#images .cmd.crane button"))))
		run(t, s.ctx, chromedp.Poll[bool](`document.querySelector('#images .cmd.crane button').textContent === 'copied'`))
	})
	t.Run("search without a script", func(t *testing.T) {
		s := open(t, b, url+"/?q=hybridnet", look{name: "search", width: 1280, noScript: true, language: "en"})
		if !strings.Contains(s.text, "hybridnet") || strings.Contains(s.text, "pause:") {
			t.Errorf("the page shows %q", s.text)
		}
	})
	t.Run("password", func(t *testing.T) {
		url := serve(t, "--htpasswd", htpasswd(t, "ops", "right"))
		good(t, b, url+"/", []string{"docker login " + strings.TrimPrefix(url, "http://"), "docker pull"}, look{language: "en", user: "ops:right"})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/", nil)
		must(t, err)
		req.SetBasicAuth("ops", "wrong")
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		must(t, err)
		if res.StatusCode != http.StatusUnauthorized || strings.Contains(string(body), "docker pull") {
			t.Errorf("with a wrong password it answers %d: %s", res.StatusCode, body)
		}
	})
}
