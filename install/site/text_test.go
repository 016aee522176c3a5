package site

import (
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

func sample(t *testing.T, servers ...string) *Site {
	t.Helper()
	return newSite(t, Options{
		Servers: servers, State: t.TempDir(), Policy: Policy{Keys: [][]byte{[]byte("a key")}},
		Registry: cluster.Registry{Domain: "registry.example", Port: 5001, CertNames: []string{"10.0.0.99", "r.example"}},
		Aliases:  []cluster.Alias{{IP: "10.0.0.9", Names: []string{"nas", "nas.example"}}},
	})
}

func TestWhatContainerdIsTold(t *testing.T) {
	one := sample(t, "10.0.0.1")
	golden(t, "hosts-one.toml", string(one.hostsTOML("docker.io", one.serversFor("10.0.0.7"), "")))
	three := sample(t, "10.0.0.1", "10.0.0.2", "fd00::3")
	c := &secrets{user: "puller", password: "se\"cret"}
	text := three.hostsTOML("registry.k8s.io", three.serversFor("10.0.0.2"), c.authorization())
	golden(t, "hosts-three.toml", string(text))
	// What containerd makes of it, by a parser that knows nothing of ours.
	var got struct {
		Server, CA   string
		Capabilities []string
		Header       map[string]string
		Host         map[string]struct {
			CA           string
			Capabilities []string
			Header       map[string]string
		}
	}
	if err := toml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Server != "https://10.0.0.2:5001" || got.CA != three.p.caCert || got.Header["Authorization"] != c.authorization() || len(got.Host) != 3 {
		t.Errorf("%+v", got)
	}
	for _, server := range []string{"10.0.0.1:5001", "10.0.0.2:5001", "[fd00::3]:5001"} {
		h := got.Host["https://"+server]
		if h.CA != three.p.caCert || len(h.Capabilities) != 2 || h.Header["Authorization"] != c.authorization() {
			t.Errorf("%s: %+v", server, h)
		}
	}
}

func TestNodesSpreadOverServersAndServersAskThemselves(t *testing.T) {
	s := sample(t, "10.0.0.1", "10.0.0.2", "10.0.0.3")
	for _, server := range s.o.Servers {
		if got := s.serversFor(server); got[0] != server || len(got) != 3 {
			t.Errorf("%s asks %v", server, got)
		}
	}
	first := map[string]bool{}
	for _, n := range []string{"10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9"} {
		first[s.serversFor(n)[0]] = true
	}
	if len(first) < 2 {
		t.Error("all nodes ask the same server first")
	}
}

func TestALoadBalancerOfTheSiteIsAskedByAllButTheFirstMaster(t *testing.T) {
	s := sample(t, "10.0.0.1", "10.0.0.2")
	s.o.Aliases = []cluster.Alias{{IP: "10.9.9.9", Names: []string{"lb.example.com", apiServerName}}}
	for name, want := range map[string]string{
		"10.0.0.1": "10.0.0.1 apiserver.cluster.local\n10.9.9.9 lb.example.com",
		"10.0.0.2": "10.9.9.9 lb.example.com apiserver.cluster.local",
		"10.0.0.7": "10.9.9.9 lb.example.com apiserver.cluster.local",
	} {
		lines, err := s.hostsLines(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(lines, "\n"); !strings.HasSuffix(got, want) || strings.Count(got, apiServerName) != 1 {
			t.Errorf("%s has\n%s", name, got)
		}
	}
}

func TestWhatSystemdIsTold(t *testing.T) {
	s := sample(t, "10.0.0.1")
	bundles := []placed{
		{Name: "base", Path: "/var/lib/bundle/bundles/1.tar.zst"},
		{Name: "app", Path: `/media/my stick/100% "$HOME".tar.zst`, InPlace: true},
	}
	m := mark("1234", bundles, "p", []byte("ca"))
	golden(t, "bundle-registry.service", string(s.unitText(m, s.serveArgs("10.0.0.1", bundles, true))))
	golden(t, "supervise.sh", string(s.supervisorText(m, s.serveArgs("10.0.0.1", bundles, false))))
	for what, other := range map[string]string{
		"program": mark("1235", bundles, "p", []byte("ca")),
		"bundles": mark("1234", bundles[:1], "p", []byte("ca")),
		"keys":    mark("1234", bundles, "q", []byte("ca")),
		"CA":      mark("1234", bundles, "p", []byte("cb")),
	} {
		if other == m {
			t.Errorf("another %s would not restart the registry", what)
		}
	}
}

func TestBlockInHostsFile(t *testing.T) {
	s := sample(t, "10.0.0.1", "10.0.0.2")
	lines, err := s.hostsLines("10.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	const before = "127.0.0.1 localhost\r\n10.0.0.1\tsea.hub # stale\n192.168.1.1 sea.hub other\n# END of it"
	with, err := setBlock([]byte(before), lines)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "hosts", string(with))
	if again, err := setBlock(with, lines); err != nil || string(again) != string(with) {
		t.Errorf("a second time: %v\n%s", err, again)
	}
	if without, err := setBlock(with, nil); err != nil || string(without) != before {
		t.Errorf("without: %v\n%q", err, without)
	}
	if got := rivals(with, lines); len(got) != 1 || got[0] != "192.168.1.1 sea.hub other" {
		t.Errorf("rivals: %q", got)
	}
	for _, bad := range []string{"# BEGIN bundle\n1.1.1.1 a\n", "# END bundle\n", "# BEGIN bundle\n# BEGIN bundle\n# END bundle\n"} {
		if got, err := setBlock([]byte(bad), lines); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func TestUpstreamsAreThoseOfTheImages(t *testing.T) {
	c := &manifest.Contents{Images: []manifest.Image{
		{Name: "registry.k8s.io/pause:3.9"}, {Name: "docker.io/library/nginx:1"}, {Name: "localhost:5000/a:1"},
		{Name: "sea.hub:5000/oecp/x:1"}, {Name: "registry.k8s.io/etcd:3"}, {Name: "::"},
	}}
	if got := strings.Join(Upstreams(c, c), " "); got != "docker.io localhost:5000 registry.k8s.io" {
		t.Error(got)
	}
}

func TestDockerSettings(t *testing.T) {
	mirrors := []string{"https://10.0.0.1:5000"}
	plain := []string{"http://sea.hub:5000"}
	for name, c := range map[string]struct{ in, want string }{
		"none":  {"", `{"registry-mirrors":["https://10.0.0.1:5000"]}`},
		"other": {`{"max":12345678901234567890,"a":{"b":"<&>"}}`, `{"a":{"b":"<&>"},"max":12345678901234567890,"registry-mirrors":["https://10.0.0.1:5000"]}`},
		"more":  {`{"registry-mirrors":["https://m.example/"]}`, `{"registry-mirrors":["https://10.0.0.1:5000","https://m.example/"]}`},
		"plain": {`{"registry-mirrors":["http://sea.hub:5000/"]}`, `{"registry-mirrors":["https://10.0.0.1:5000"]}`},
		"every": {
			`{"mirror-registries":[{"domain":"a","mirrors":["x"]},{"domain":"*","mirrors":["http://sea.hub:5000","https://m"]}]}`,
			`{"mirror-registries":[{"domain":"a","mirrors":["x"]},{"domain":"*","mirrors":["https://10.0.0.1:5000","https://m"]}],"registry-mirrors":["https://10.0.0.1:5000"]}`,
		},
		"every, none yet": {
			`{"mirror-registries":[]}`,
			`{"mirror-registries":[{"domain":"*","mirrors":["https://10.0.0.1:5000"]}],"registry-mirrors":["https://10.0.0.1:5000"]}`,
		},
	} {
		got, err := daemonJSON([]byte(c.in), mirrors, plain)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if flat := strings.NewReplacer("\n", "", "  ", "", ": ", ":").Replace(string(got)); flat != c.want {
			t.Errorf("%s: %s", name, flat)
		}
		if again, err := daemonJSON(got, mirrors, plain); err != nil || string(again) != string(got) {
			t.Errorf("%s: a second time: %v\n%s", name, err, again)
		}
	}
	const fine = "{\n    \"registry-mirrors\": [ \"https://10.0.0.1:5000\" ] }"
	if got, err := daemonJSON([]byte(fine), mirrors, plain); err != nil || string(got) != fine {
		t.Errorf("what says so already was written anew: %v %s", err, got)
	}
	for _, bad := range []string{"[]", "null", "{", "{} {}", `{"registry-mirrors":"x"}`, `{"registry-mirrors":[1]}`, `{"mirror-registries":{}}`, `{"mirror-registries":[1]}`} {
		if got, err := daemonJSON([]byte(bad), mirrors, plain); err == nil {
			t.Errorf("%s became %s", bad, got)
		}
	}
}

func TestDockerLogin(t *testing.T) {
	got, err := dockerLogin([]byte(`{"auths":{"other":{"auth":"x"}},"credsStore":"y"}`), []string{"sea.hub:5000"}, "YTpi")
	if err != nil || !strings.Contains(string(got), `"sea.hub:5000": {`) || !strings.Contains(string(got), `"other"`) || !strings.Contains(string(got), "credsStore") {
		t.Errorf("%v\n%s", err, got)
	}
	if again, err := dockerLogin(got, []string{"sea.hub:5000"}, "YTpi"); err != nil || string(again) != string(got) {
		t.Errorf("a second time: %v\n%s", err, again)
	}
	if _, err := dockerLogin([]byte(`{"auths":[]}`), nil, ""); err == nil {
		t.Error("auths that is a list was accepted")
	}
}

const certs = "/etc/containerd/certs.d"

func TestContainerdConfigPath(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"none": {"", "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n"},
		"2": {
			"version = 2\n[plugins]\n  # mine\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    sandbox_image = \"a\"",
			"version = 2\n[plugins]\n  # mine\n  [plugins.\"io.containerd.grpc.v1.cri\"]\n    sandbox_image = \"a\"\n\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
		},
		"empty": {
			"version = 2\n    [plugins.\"io.containerd.grpc.v1.cri\".registry]\n      config_path = \"\"\n\n      [plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]\n",
			"version = 2\n    [plugins.\"io.containerd.grpc.v1.cri\".registry]\n      config_path = \"/etc/containerd/certs.d\"\n\n      [plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors]\n",
		},
		"no key": {
			"version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry] # x\n[plugins.'io.containerd.grpc.v1.cri'.registry.headers]\n",
			"version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry] # x\n  config_path = \"/etc/containerd/certs.d\"\n[plugins.'io.containerd.grpc.v1.cri'.registry.headers]\n",
		},
		"another folder": {
			"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/a:/b\"",
			"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d:/a:/b\"\n",
		},
		"1": {"[plugins.cri]\n", "[plugins.cri]\n\n[plugins.\"cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n"},
		"3": {"version = 3\n", "version = 3\n\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n"},
		"there": {
			"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path=\"/x:/etc/containerd/certs.d\"\n",
			"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path=\"/x:/etc/containerd/certs.d\"\n",
		},
	} {
		got, err := containerdConfig([]byte(c.in), certs)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
		if again, err := containerdConfig(got, certs); err != nil || string(again) != string(got) {
			t.Errorf("%s: a second time: %v\n%s", name, err, again)
		}
	}
	for name, in := range map[string]string{
		"mirrors":    "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = [\"http://x\"]\n",
		"tls":        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"sea.hub:5000\".tls]\ninsecure_skip_verify = true\n",
		"no CRI":     "disabled_plugins = [\"cri\"]\nversion = 2\n",
		"not TOML":   "version = \n",
		"inline":     "version = 2\nplugins = {\"io.containerd.grpc.v1.cri\" = {registry = {}}}\n",
		"dotted key": "version = 2\n[plugins]\n\"io.containerd.grpc.v1.cri\".registry.config_path = \"\"\n",
		"in a text":  "version = 2\nroot = '''\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n'''\n",
	} {
		if got, err := containerdConfig([]byte(in), certs); err == nil {
			t.Errorf("%s became\n%s", name, got)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	good := Options{Servers: []string{"10.0.0.1"}, State: "x", Policy: Policy{SkipSignature: true}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no server":           func(o *Options) { o.Servers = nil },
		"a server by name":    func(o *Options) { o.Servers = []string{"master"} },
		"a zone":              func(o *Options) { o.Servers = []string{"fe80::1%eth0"} },
		"no state":            func(o *Options) { o.State = "" },
		"lines in the domain": func(o *Options) { o.Registry.Domain = "a\nb" },
		"a port":              func(o *Options) { o.Registry.Port = 70000 },
		"a colon in the user": func(o *Options) { o.Registry.Username = "a:b" },
		"a password alone":    func(o *Options) { o.Registry.Password = "x" },
		"a long password": func(o *Options) {
			o.Registry.Username, o.Registry.Password = "a", cluster.Secret(strings.Repeat("x", 73))
		},
		"no trust":              func(o *Options) { o.Policy = Policy{} },
		"two kinds of trust":    func(o *Options) { o.Policy.Keys = [][]byte{{1}} },
		"half an identity":      func(o *Options) { o.Policy = Policy{Identity: "a"} },
		"lines in an identity":  func(o *Options) { o.Policy = Policy{Identity: "a\n", Issuer: "b", TrustedRoot: []byte("c")} },
		"an alias with a line":  func(o *Options) { o.Aliases = []cluster.Alias{{IP: "10.0.0.2", Names: []string{"a\n1.1.1.1 b"}}} },
		"an alias without IP":   func(o *Options) { o.Aliases = []cluster.Alias{{IP: "x", Names: []string{"a"}}} },
		"an API server by name": func(o *Options) { o.APIServer = "x y" },
		"a root with a blank":   func(o *Options) { o.Root = "/a b" },
		"a root that goes up":   func(o *Options) { o.Root = "/a/.." },
		"a name of TLS":         func(o *Options) { o.Registry.CertNames = []string{"--tls-dir"} },
		"where to listen":       func(o *Options) { o.Listen = "all" },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, n := range []string{"", "..", "a/b", "a:b", "a:", "-a", "a b", "a..b", ":5000", "a:123456"} {
		if registryName(n) {
			t.Errorf("%q is taken for the name of a registry", n)
		}
	}
}

func FuzzContainerdConfig(f *testing.F) {
	f.Add("version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"\"\n")
	f.Add("version = 3\n[a]\nb = [\n[1],\n]\n")
	f.Add("[plugins.cri.registry]")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := containerdConfig([]byte(text), certs)
		if err != nil {
			return
		}
		if again, err := containerdConfig(got, certs); err != nil || string(again) != string(got) {
			t.Errorf("%q: then %v %q", got, err, again)
		}
	})
}

func FuzzHostsBlock(f *testing.F) {
	f.Add("127.0.0.1 localhost\n# BEGIN bundle\nx\n# END bundle\nlast")
	f.Fuzz(func(t *testing.T, text string) {
		rest, err := setBlock([]byte(text), nil)
		if err != nil {
			return
		}
		with, err := setBlock([]byte(text), []string{"10.0.0.1 sea.hub"})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := setBlock(with, nil); err != nil || string(back) != string(rest) {
			t.Errorf("%q: %v %q", text, err, back)
		}
		rivals([]byte(text), []string{"10.0.0.1 sea.hub"})
	})
}

func FuzzDockerSettings(f *testing.F) {
	f.Add(`{"registry-mirrors":["a"],"mirror-registries":[{"domain":"*","mirrors":["b"]}]}`)
	f.Add(`{"mirror-registries":[{"domain":"*"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := daemonJSON([]byte(text), []string{"https://10.0.0.1:5000"}, []string{"http://sea.hub:5000"})
		if err != nil {
			return
		}
		if again, err := daemonJSON(got, []string{"https://10.0.0.1:5000"}, []string{"http://sea.hub:5000"}); err != nil || string(again) != string(got) {
			t.Errorf("%s: then %v %s", got, err, again)
		}
	})
}

func FuzzRecords(f *testing.F) {
	f.Add(`{"version":1,"files":[{"path":"/etc/a","existed":true,"before":"YQ==","wrote":["00"]}],"folders":["/etc"]}`)
	f.Add(`{"version":1,"bundles":[{"name":"a","index":"sha256:00","path":"/a"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := parseRecords([]byte(text)); err == nil {
			for _, p := range append(r.paths(), r.Folders...) {
				if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, " \n") {
					t.Errorf("path %q", p)
				}
			}
			if _, err := parseRecords(r.text()); err != nil {
				t.Error(err)
			}
		}
		if p, err := parsePlacement([]byte(text)); err == nil {
			if _, err := parsePlacement(p.text()); err != nil {
				t.Error(err)
			}
		}
	})
}
