package node

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/manifest"
	"bundle/pack"
	"bundle/registry/serve"
)

func TestResetLeavesTheHostAsItWas(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	h.put("etc/cni/net.d/87-podman.conflist", "podman's")
	h.put("root/.kube/config", "somebody's")
	_, err := l.init()
	must(t, err)
	o, err := l.n[m0].InstallKubeconfig(t.Context(), h)
	must(t, err)
	if !o.Changed || !strings.Contains(o.Detail, "before-bundle") || !strings.Contains(h.get("root/.kube/config"), "token: admin") {
		t.Errorf("%+v", o)
	}
	if o, err = l.n[m0].InstallKubeconfig(t.Context(), h); err != nil || o.Changed {
		t.Errorf("second time: %+v, %v", o, err)
	}
	h.put("etc/cni/net.d/10-flannel.conflist", "x")
	h.put("var/lib/etcd/member/snap/db", "x")
	h.put("var/lib/cni/networks/x", "x")
	h.ran()
	if o, err = l.n[m0].Reset(t.Context(), h); err != nil || !o.Changed || strings.Contains(o.Detail, "left") {
		t.Fatalf("%+v, %v", o, err)
	}
	wantRan(t, h, "reset -f, stop kubelet")
	for _, gone := range []string{"etc/kubernetes", "var/lib/etcd", "var/lib/kubelet", "var/lib/cni", "etc/cni/net.d/10-flannel.conflist", statePath, lockPath, "root/.kube/config.before-bundle"} {
		if _, err := os.Lstat(h.file(gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if h.get("etc/cni/net.d/87-podman.conflist") != "podman's" || h.get("root/.kube/config") != "somebody's" {
		t.Error("what was there before is not there again")
	}
	if o, err = l.n[m0].Reset(t.Context(), h); err != nil || o.Changed {
		t.Errorf("second time: %+v, %v", o, err)
	}
	wantRan(t, h, "")
	// And it can be installed again.
	_, err = l.init()
	must(t, err)
}

func TestAKubeconfigThatSomebodyChangedStays(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	_, err := l.init()
	must(t, err)
	_, err = l.n[m0].InstallKubeconfig(t.Context(), h)
	must(t, err)
	h.put("root/.kube/config", "mine now")
	_, err = l.n[m0].Reset(t.Context(), h)
	must(t, err)
	if h.get("root/.kube/config") != "mine now" {
		t.Error("it is gone")
	}
	if left, _ := os.ReadDir(h.file(stateDir)); len(left) > 0 {
		t.Errorf("of ours there is still %v", left)
	}
}

func TestAHostileKubeconfigIsRefused(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	if _, err := l.n[m0].FetchKubeconfig(t.Context(), h); !errors.Is(err, ErrAPI) || hintOf(err) == "" {
		t.Errorf("none: %v", err)
	}
	good := string(l.kubeconfig())
	for name, bad := range map[string]string{
		"a program":    strings.Replace(good, "token: admin", "exec: {command: rm, apiVersion: v1}", 1),
		"a plugin":     strings.Replace(good, "token: admin", "auth-provider: {name: gcp}", 1),
		"our key file": strings.Replace(good, "token: admin", "client-key: /root/.ssh/id_rsa", 1),
		"our token":    strings.Replace(good, "token: admin", "tokenFile: /etc/shadow", 1),
		"our CA":       strings.Replace(good, "server:", "certificate-authority: /etc/shadow\n    server:", 1),
		"a proxy":      strings.Replace(good, "server:", "proxy-url: http://evil\n    server:", 1),
		"no YAML":      "[",
	} {
		h.put(adminConf, bad)
		if _, err := l.n[m0].FetchKubeconfig(t.Context(), h); !errors.Is(err, ErrAPI) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.put(adminConf, strings.Replace(good, "https:", "http:", 1))
	if _, err := l.n[m0].api(t.Context(), h); !errors.Is(err, ErrAPI) {
		t.Errorf("without TLS: %v", err)
	}
	h.put(adminConf, good)
	if raw, err := l.n[m0].FetchKubeconfig(t.Context(), h); err != nil || string(raw) != good {
		t.Errorf("a good one: %v", err)
	}
}

func TestHostName(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	h.fake("uname", `cat "$ROOT/etc/hostname" 2>/dev/null || echo old`)
	o, err := l.n[m0].SetHostName(t.Context(), h, "master-1")
	must(t, err)
	if !o.Changed || !strings.Contains(o.Detail, "was old") || h.get("etc/hostname") != "master-1\n" {
		t.Errorf("%+v, %q", o, h.get("etc/hostname"))
	}
	if o, err = l.n[m0].SetHostName(t.Context(), h, "master-1"); err != nil || o.Changed {
		t.Errorf("second time: %+v, %v", o, err)
	}
	for _, bad := range []string{"", "a b", "a_b", "-a", "a..b", "a;reboot", strings.Repeat("a", 65)} {
		if _, err := l.n[m0].SetHostName(t.Context(), h, bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestScriptsHaveTheirVariablesAsTheyAre(t *testing.T) {
	l := newLab(t, 1, 0)
	h := l.hosts[m0]
	must(t, os.MkdirAll(h.file(l.c.Rootfs()+"/bin"), 0o755))
	must(t, os.WriteFile(h.file(l.c.Rootfs()+"/bin/of-the-image"), []byte("#!/bin/bash\necho found\n"), 0o755))
	var out strings.Builder
	value := "a \"b\" $HOME `id` '\n\\"
	_, err := l.n[m0].Script(t.Context(), h, Script{Text: `printf %s "$V"; bash -c 'printf %s "$V"'; pwd; of-the-image`, Dir: h.root, Env: map[string]string{"V": value}, Output: &out})
	must(t, err)
	if want := value + value + h.root + "\nfound\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	if _, err := l.n[m0].Script(t.Context(), h, Script{Text: "echo why >&2; exit 3"}); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("%v", err)
	}
}

func TestDialectsOfScripts(t *testing.T) {
	for name, tt := range map[string]struct {
		files string
		want  Dialect
	}{
		"sealer 0.5":  {"scripts/init.sh scripts/init-kube.sh scripts/docker.sh scripts/clean.sh", InitScript},
		"seed":        {"scripts/init.sh scripts/clean.sh", InitScript},
		"ACK Distro":  {"scripts/init.sh scripts/init-kube.sh scripts/docker.sh scripts/containerd.sh scripts/uninstall-docker.sh", RuntimeScripts},
		"later image": {"scripts/init-kube.sh scripts/containerd.sh", RuntimeScripts},
		"only kube":   {"scripts/init-kube.sh", RuntimeScripts},
		"native":      {"charts/a/Chart.yaml", NoScripts},
	} {
		var list []manifest.File
		for p := range strings.FieldsSeq(tt.files) {
			list = append(list, manifest.File{Path: p, Type: "file"})
		}
		if got := Scripts(list); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if Scripts([]manifest.File{{Path: "scripts/init.sh", Type: "dir"}}) != NoScripts {
		t.Error("a folder counts")
	}
}

// registry serves a small bundle, to those who know the password.
func registry(t *testing.T) (url, ref string, d digest.Digest) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "files/etc"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "files/etc/a"), []byte("bundle's"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "files/big"), []byte(strings.Repeat("x", 1<<20)), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "Kubefile"), []byte("FROM scratch\nCOPY files .\n"), 0o644))
	b, err := pack.Prepare(t.Context(), pack.Options{Context: dir, Dialect: "0.9", Name: "app", Version: "1", Output: filepath.Join(dir, "app.tar.zst"), Warn: func(pack.Warning) {}}, nil)
	must(t, err)
	_, err = b.Run(t.Context())
	must(t, err)
	must(t, b.Close())
	r, err := archive.Open(filepath.Join(dir, "app.tar.zst"))
	must(t, err)
	t.Cleanup(func() { r.Close() })
	must(t, r.Load())
	srv, err := serve.New([]serve.Bundle{{Name: "app", Content: serve.Archive(r)}}, serve.Options{})
	must(t, err)
	t.Cleanup(func() { srv.Close() })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if u, p, _ := req.BasicAuth(); u != "me" || p != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="bundle"`)
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		srv.Handler().ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	for _, m := range r.Index().Manifests {
		if m.Annotations[archive.AnnotationKind] == archive.KindBundle {
			return s.URL, m.Annotations[archive.AnnotationRef], m.Digest
		}
	}
	t.Fatal("the bundle has no manifest")
	return "", "", ""
}

func TestTheHostPullsTheRootfsAndTakesTheSitesFiles(t *testing.T) {
	l := newLab(t, 1, 0)
	h, n := l.hosts[m0], l.n[m0]
	var s Source
	var url string
	url, s.Ref, s.Digest = registry(t)
	s.Registries, s.Username, s.Password = []string{"http://127.0.0.1:1", url}, "me", "s3cret"
	var last, total int64
	s.Progress = func(d, all int64) { last, total = d, all }
	o, err := n.PullRootfs(t.Context(), h, s)
	must(t, err)
	a := l.c.Rootfs() + "/etc/a"
	if !o.Changed || !strings.Contains(o.Detail, "2 files, 1.0 MiB") || h.get(a) != "bundle's" || last == 0 || last != total {
		t.Errorf("%+v, %q, %d of %d", o, h.get(a), last, total)
	}
	if o, err = n.PullRootfs(t.Context(), h, s); err != nil || o.Changed {
		t.Errorf("second time: %+v, %v", o, err)
	}
	if strings.Contains(l.said(), "s3cret") {
		t.Error("the password is in a log")
	}
	files := []File{{Path: "etc/a", Data: []byte("site's")}, {Path: "etc/b", Mode: 0o600, Data: []byte("new")}}
	if o, err = n.WriteFiles(t.Context(), h, files); err != nil || !o.Changed || h.get(a) != "site's" {
		t.Errorf("%+v, %v", o, err)
	}
	if info, err := os.Stat(h.file(l.c.Rootfs() + "/etc/b")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if o, err = n.WriteFiles(t.Context(), h, files); err != nil || o.Changed {
		t.Errorf("second time: %+v, %v", o, err)
	}
	if o, err = n.WriteFiles(t.Context(), h, nil); err != nil || !o.Changed || h.get(a) != "bundle's" {
		t.Errorf("none: %+v, %v", o, err)
	}
	if _, err := n.WriteFiles(t.Context(), h, []File{{Path: "etc/a"}, {Path: "./etc/a"}}); err == nil {
		t.Error("one file is written twice")
	}
	if _, err := n.WriteFiles(t.Context(), h, []File{{Path: "../../a"}}); !errors.Is(err, ErrAgent) {
		t.Errorf("a way out: %v", err)
	}
	o, err = n.RemoveRootfs(t.Context(), h)
	if _, statErr := os.Stat(h.file(l.c.Rootfs())); err != nil || !o.Changed || statErr == nil {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = n.RemoveRootfs(t.Context(), h); err != nil || o.Changed {
		t.Errorf("second time: %+v, %v", o, err)
	}
}

func TestAPullThatFailsSaysWhy(t *testing.T) {
	l := newLab(t, 1, 0)
	h, n := l.hosts[m0], l.n[m0]
	var s Source
	var url string
	url, s.Ref, s.Digest = registry(t)
	s.Registries, s.Username, s.Password = []string{url}, "me", "wrong"
	if _, err := n.PullRootfs(t.Context(), h, s); !errors.Is(err, ErrAgent) || !strings.Contains(hintOf(err), "password") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v (%s)", err, hintOf(err))
	}
	s.Password = "s3cret"
	s.Digest = digest.FromString("x")
	if _, err := n.PullRootfs(t.Context(), h, s); !errors.Is(err, ErrAgent) || !strings.HasPrefix(err.Error(), m0+": ") {
		t.Errorf("another bundle: %v", err)
	}
	must(t, os.Remove(h.file("bin/bundle")))
	if _, err := n.PullRootfs(t.Context(), h, s); !errors.Is(err, ErrAgent) || hintOf(err) == "" {
		t.Errorf("no program: %v", err)
	}
	h.fake("bundle", "echo oops >&2; exit 7")
	if _, err := n.PullRootfs(t.Context(), h, s); !errors.Is(err, ErrAgent) || !strings.Contains(err.Error(), "oops") {
		t.Errorf("a program that breaks: %v", err)
	}
	h.fake("bundle", "echo '{}'; head -c 3000000 /dev/zero")
	if _, err := n.PullRootfs(t.Context(), h, s); !errors.Is(err, ErrAgent) {
		t.Errorf("a program that babbles: %v", err)
	}
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte("{\"done\":1,\"total\":2}\nnoise\n{\"done\":-1,\"total\":2}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := &progressReader{told: func(done, total int64) {
			if done < 0 || total <= 0 || done > total {
				t.Errorf("%d of %d", done, total)
			}
		}}
		_, _ = p.Write(data)
	})
}

func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte("apiVersion: v1\nusers: [{name: a, user: {exec: {command: rm}}}]"))
	f.Add([]byte("clusters: [{name: c, cluster: {server: 'https://a'}}]\ncontexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := parseKubeconfig(data)
		if err != nil {
			return
		}
		for _, u := range k.Users {
			if len(u.User.Exec) > 0 {
				t.Error("a program may be run")
			}
		}
		_, _ = k.client(nil)
	})
}
