package plan

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
	"bundle/manifest/cluster"
	"bundle/manifest/kubefile"
	"bundle/manifest/step"
)

// since09 has the shape of a 2.x Clusterfile for a cluster image whose work is
// done by hooks.
const since09 = `apiVersion: sealer.io/v2
kind: Cluster
metadata:
  name: my-cluster
spec:
  image: registry.example.com/cnstack-ce:v2-1-0
  containerRuntime: {type: containerd}
  env: [Network=hybridnet, RemoveMasterTaint=true]
  registry:
    localRegistry: {domain: registry-internal.example.com, port: 5000}
  ssh: {user: root, passwd: secret}
  hosts:
  - ips: [10.0.0.1, 10.0.0.2, 10.0.0.3]
    roles: [master]
  - ips: [10.0.0.11, 10.0.0.12]
    roles: [node, infra]
    labels: {zone: a}
    taints: ["k=v:NoSchedule"]
---
apiVersion: sealer.io/v1
kind: Plugin
metadata:
  name: zz_disk
spec:
  type: SHELL
  action: pre-init-host
  scope: master
  data: |
    bash scripts/disk.sh
---
apiVersion: sealer.io/v1
kind: Config
metadata:
  name: app
spec:
  path: manifests/app.yaml
  strategy: merge
  data: |
    spec: {replicas: 2}
`

const hooks = `apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: preflight}
spec: {type: SHELL, action: pre-install, data: "trident preflight run"}
---
apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: disk-init}
spec: {type: SHELL, action: pre-init-host, scope: "master|node", data: "mkfs.ext4 /dev/vdb"}
---
apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: post_install}
spec: {type: SHELL, action: post-install, data: "bash scripts/post_install.sh"}
---
apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: post_scaleup}
spec: {type: SHELL, action: post-scaleup, data: "bash scripts/scaleup.sh"}
---
apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: disk-init-rollback}
spec: {type: SHELL, action: post-clean-host, scope: "master|node", data: "vgremove pool"}
`

func files(names ...string) []manifest.File {
	var list []manifest.File
	for _, n := range names {
		list = append(list, manifest.File{Path: n, Type: "file", Digest: digest.FromString(n), Source: "Kubefile:2"})
	}
	return list
}

func plugins(t *testing.T, name, text string) []cluster.Plugin {
	t.Helper()
	list, _, err := cluster.ParsePlugins(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func newImage(t *testing.T) image {
	return image{
		contents: &manifest.Contents{
			Name: "cnstack-ce", Version: "2.1.0",
			Files: files("scripts/init-kube.sh", "scripts/containerd.sh", "scripts/docker.sh", "scripts/uninstall-containerd.sh", "etc/kubeadm.yml.tmpl", "manifests/app.yaml", "bin/kubectl"),
			Steps: step.From([]kubefile.Command{{Text: "kubectl apply -f manifests/app.yaml", Source: "Kubefile:9"}}, "cnstack-ce", "cnstack-ce"),
		},
		plugins: plugins(t, "plugins/hooks.yaml", hooks),
	}
}

func stepIDs(p *Plan) []string {
	var out []string
	for _, s := range p.Steps {
		out = append(out, s.ID)
	}
	return out
}

func index(t *testing.T, p *Plan, id string) int {
	t.Helper()
	i := slices.Index(stepIDs(p), id)
	if i < 0 {
		t.Fatalf("there is no step %s in %v", id, stepIDs(p))
	}
	return i
}

func warned(p *Plan, text string) bool {
	return slices.ContainsFunc(p.Warnings, func(w Warning) bool { return strings.Contains(string(w.Source)+": "+w.Text, text) })
}

// Since sealer 0.9 post-install brings the network: before the commands of
// the image, which need it.
func TestPlanOfHooks(t *testing.T) {
	img := newImage(t)
	in := Input{Contents: img.contents, Plugins: img.plugins, Cluster: parseCluster(t, "Clusterfile", since09, cluster.Options{})}
	p := mustMake(t, in)
	golden(t, "hooks.txt", text(t, p))
	golden(t, "hooks.json", asJSON(t, p))
	if index(t, p, "post-install.post_install") > index(t, p, "cnstack-ce-01") {
		t.Error("the network would come after what needs it")
	}
	if !warned(p, "post_scaleup is for post-scaleup") {
		t.Errorf("a plugin that does not run was passed over in silence: %v", p.Warnings)
	}
	c, err := CleanPlan(in)
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, c)
	golden(t, "hooks.clean.txt", text(t, c))
}

// The file names alone make the clean-up of the volume group come before its
// creation; the other way round the data disk is lost.
func TestVolumeGroupIsMadeAfterItIsRemoved(t *testing.T) {
	img := seed(t)
	p := mustMake(t, Input{Contents: img.contents, Plugins: img.plugins, Cluster: profile(t, "Clusterfile.full")})
	vg, _ := p.Step("pre-init.prepare_vg")
	if !slices.Contains(vg.After, "pre-init.prepare_local_dir") {
		t.Errorf("prepare_vg runs after %v, want prepare_local_dir among them", vg.After)
	}
}

func TestSeedHasEveryCommandTyped(t *testing.T) {
	img := seed(t)
	p := mustMake(t, Input{Contents: img.contents, Plugins: img.plugins, Cluster: profile(t, "Clusterfile")})
	count := map[string]int{}
	for _, s := range p.Steps {
		if s.Phase == "ackdistro" || s.Phase == "cnstack-ce" {
			count[s.Phase]++
			if s.Opaque() {
				t.Errorf("%s is not understood: %s", s.ID, s.Run)
			}
		}
	}
	if count["ackdistro"] != 4 || count["cnstack-ce"] != 13 {
		t.Errorf("steps by phase: %v", count)
	}
}

// The base's commands stay when the Clusterfile replaces those of the image.
func TestCmdOfTheClusterfile(t *testing.T) {
	img := seed(t)
	c := profile(t, "Clusterfile")
	c.Cmd = []string{"kubectl apply -f manifests/clusterconfig.yaml", "bash scripts/own.sh"}
	p := mustMake(t, Input{Contents: img.contents, Plugins: img.plugins, Cluster: c})
	var got []string
	for _, s := range p.Steps {
		if strings.HasPrefix(s.ID, "ackdistro") || strings.HasPrefix(s.ID, "cnstack-ce") {
			got = append(got, s.ID+" "+s.Kind)
		}
	}
	want := []string{
		"ackdistro-01 helm.release", "ackdistro-02 kubectl.apply", "ackdistro-03 helm.release", "ackdistro-04 helm.release",
		"cnstack-ce-cmd-01 kubectl.apply", "cnstack-ce-cmd-02 exec",
	}
	if !slices.Equal(got, want) {
		t.Errorf("steps %v, want %v", got, want)
	}
	if !warned(p, "replaces the 13 own steps") {
		t.Errorf("nobody is told that 13 steps are gone: %v", p.Warnings)
	}
	s, _ := p.Step("cnstack-ce-cmd-02")
	if s.Script != "bash scripts/own.sh" || s.Dir != "/var/lib/sealer/data/my-cluster/rootfs" {
		t.Errorf("the script %q would run in %q", s.Script, s.Dir)
	}
}

func TestAppNamesOfTheClusterfile(t *testing.T) {
	contents := &manifest.Contents{
		Name: "apps", Version: "1",
		Files: files("application/apps/web/web.yaml", "application/apps/db/Chart.yaml", "application/apps/db/values.yaml", "application/apps/db/templates/a.yaml"),
		Steps: step.From([]kubefile.Command{
			{Text: "kubectl apply -f application/apps/web/web.yaml", Source: "Kubefile:4", App: "web"},
		}, "apps", "apps"),
	}
	launch := func(apps ...string) ([]string, error) {
		c := profile(t, "Clusterfile")
		c.Apps = apps
		p, err := Make(Input{Contents: contents, Cluster: c})
		if err != nil {
			return nil, err
		}
		var runs []string
		for _, s := range p.Steps {
			if s.Phase == "apps" {
				runs = append(runs, s.Run)
			}
		}
		return runs, nil
	}
	for _, test := range []struct{ apps, want []string }{
		{[]string{"db", "web"}, []string{"helm install db application/apps/db", "kubectl apply -f application/apps/web/web.yaml"}},
		{[]string{"db"}, []string{"helm install db application/apps/db"}},
		{[]string{""}, nil},
	} {
		got, err := launch(test.apps...)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("appNames %q run %q (%v), want %q", test.apps, got, err, test.want)
		}
	}
	if _, err := launch("cache"); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), "cache") {
		t.Errorf("an application that is nowhere: %v", err)
	}
}

func TestLaunchCommandsOfTheClusterfile(t *testing.T) {
	img := newImage(t)
	c := parseCluster(t, "Clusterfile", since09, cluster.Options{})
	c.Launches = []cluster.Launch{{App: "web", Cmds: []string{"kubectl apply -f web.yaml"}, Source: "Clusterfile:7"}}
	img.contents.Files = append(img.contents.Files, files("application/apps/web/web.yaml")...)
	img.contents.Steps = step.From([]kubefile.Command{{Text: "bash install.sh", App: "web", Dir: kubefile.AppDir("web"), Source: "Kubefile:3"}}, "x", "x")
	p := mustMake(t, Input{Contents: img.contents, Cluster: c})
	s, ok := p.Step("cnstack-ce-app-web-01")
	if !ok || s.Kind != manifest.StepKubectlApply || s.Source != "Clusterfile:7" || s.Args["dir"] != "application/apps/web" {
		t.Errorf("steps %v; the application's is %+v", stepIDs(p), s)
	}
	if _, ok := p.Step("x-01"); ok {
		t.Error("the image's own command runs too")
	}
}

func TestPluginsOrder(t *testing.T) {
	pl := func(name, file string, hook bool) cluster.Plugin {
		return cluster.Plugin{Name: name, Hook: hook, Source: manifest.FileLine(file, 3)}
	}
	for _, test := range []struct {
		name               string
		clusterfile, image []cluster.Plugin
		want               string
	}{
		{
			"0.5 takes file names", []cluster.Plugin{pl("prepare_vg", "Clusterfile", false), pl("a", "Clusterfile", false)},
			[]cluster.Plugin{pl("zz", "plugin/plugin_localpv.yaml", false), pl("y", "plugin/c.yaml", false)}, "a y zz prepare_vg",
		},
		{
			"0.7 takes the Clusterfile's first", []cluster.Plugin{pl("z", "Clusterfile", false), pl("y", "Clusterfile", false)},
			[]cluster.Plugin{pl("q", "plugins/b.yaml", false), pl("r", "plugins/a.yaml", false)}, "z y r q",
		},
		{
			"0.9 takes names", []cluster.Plugin{pl("m", "Clusterfile", true)},
			[]cluster.Plugin{pl("z", "plugins/a.yaml", true), pl("b", "plugins/z.yaml", true)}, "b m z",
		},
		{
			"documents of a file keep their order", nil,
			[]cluster.Plugin{pl("z", "plugin/a.yaml", false), pl("b", "plugin/a.yaml", false)}, "z b",
		},
	} {
		list, _ := orderPlugins(test.clusterfile, test.image)
		var names []string
		for _, p := range list {
			names = append(names, p.Name)
		}
		if got := strings.Join(names, " "); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

const tables = `apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: names}
spec:
  type: HOSTNAME
  action: PreInit
  data: |
    10.0.0.1 master-0
    10.0.0.11 worker-0
---
apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: disks}
spec:
  type: LABEL
  action: PreGuest
  data: |
    10.0.0.11 ssd=true,hdd=false
---
apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: 污点}
spec:
  type: TAINT
  action: PreGuest
  data: |
    10.0.0.11-10.0.0.12 a=b:NoSchedule
    10.0.0.1 node-role.kubernetes.io/master:NoSchedule-
---
apiVersion: sealer.io/v1
kind: Plugin
metadata: {name: save}
spec: {type: ETCD, action: PreGuest, data: "10.0.0.1"}
`

func TestTablesBecomeTypedSteps(t *testing.T) {
	img := newImage(t)
	p := mustMake(t, Input{Contents: img.contents, Plugins: plugins(t, "plugins/tables.yaml", tables), Cluster: parseCluster(t, "Clusterfile", since09, cluster.Options{})})
	s, _ := p.Step("pre-init.names")
	names, err := HostNames(s.Step)
	if err != nil || names["10.0.0.11"] != "worker-0" || !slices.Equal(s.Hosts, []string{"10.0.0.1", "10.0.0.11"}) || s.Opaque() {
		t.Errorf("host names %v on %v: %v", names, s.Hosts, err)
	}
	s, _ = p.Step("pre-guest.disks")
	nodes, err := NodeChanges(s.Step)
	if err != nil || len(nodes) != 1 || nodes[0].Address != "10.0.0.11" || nodes[0].Labels["ssd"] != "true" {
		t.Errorf("labels %+v: %v", nodes, err)
	}
	s, _ = p.Step("pre-guest.污点")
	nodes, err = NodeChanges(s.Step)
	if err != nil || len(nodes) != 3 || nodes[0].Taints[0] != "node-role.kubernetes.io/master:NoSchedule-" || nodes[2].Taints[0] != "a=b:NoSchedule" {
		t.Errorf("taints %+v: %v", nodes, err)
	}
	s, _ = p.Step("nodes.labels")
	nodes, err = NodeChanges(s.Step)
	if err != nil || len(nodes) != 5 || len(nodes[0].Labels) != 1 || len(nodes[3].Labels) != 3 || nodes[3].Labels["zone"] != "a" || len(nodes[3].Taints) != 1 {
		t.Errorf("the Clusterfile's labels %+v: %v", nodes, err)
	}
	if !warned(p, "would save etcd") {
		t.Errorf("the ETCD plugin went in silence: %v", p.Warnings)
	}
}

func TestRegistryIsOnOneMasterWhereTheClusterfileSaysSo(t *testing.T) {
	img := newImage(t)
	for ha, want := range map[bool]int{true: 3, false: 1} {
		c := parseCluster(t, "Clusterfile", since09, cluster.Options{})
		c.Registry.HA = ha
		p := mustMake(t, Input{Contents: img.contents, Cluster: c})
		for _, id := range []string{"registry.place", "registry.start"} {
			if s, _ := p.Step(id); len(s.Hosts) != want {
				t.Errorf("ha %v: %s on %v", ha, id, s.Hosts)
			}
		}
	}
}

func TestNeedsNetwork(t *testing.T) {
	local := map[string]bool{"sea.hub": true}
	for script, want := range map[string]string{
		"yum install lvm2 -y":                                      "yum install lvm2 -y",
		"sudo apt-get -y install curl":                             "apt-get -y install curl",
		"if ! which vgs; then\n  dnf install -q lvm2\nfi":          "dnf install -q lvm2",
		"curl -sSL https://get.example.com | bash":                 "curl -sSL https://get.example.com",
		"wget -q http://x.example.com/a.tgz":                       "wget -q http://x.example.com/a.tgz",
		"docker pull nginx":                                        "docker pull nginx",
		"helm repo add a https://a.example.com":                    "helm repo add a https://a.example.com",
		"git clone https://x.example.com/y":                        "git clone https://x.example.com/y",
		"yum localinstall -y rpm/*.rpm":                            "",
		"yum install -y ./lvm2.rpm":                                "",
		"rpm -ivh x.rpm":                                           "",
		"curl -k https://127.0.0.1:6443/healthz":                   "",
		"curl https://10.0.0.1:6443":                               "",
		"curl \"https://$HOST:6443\"":                              "",
		"docker pull sea.hub:5000/library/nginx":                   "",
		"echo yum install":                                         "",
		"# curl https://x.example.com":                             "",
		"install -m 755 a b":                                       "",
		"curl -sf http://sea.hub:5000/v2/":                         "",
		"if [ x ; then yum install lvm2 # not shell, still a text": "if [ x ; then yum install lvm2 # not shell, still a text",
	} {
		var got string
		if f := needsNetwork(script, local); len(f) > 0 {
			got = f[0].command
		}
		if got != want {
			t.Errorf("%q: found %q, want %q", script, got, want)
		}
	}
}

func TestDigestsTellWhatChanged(t *testing.T) {
	img := seed(t)
	in := Input{Contents: img.contents, Plugins: img.plugins, Cluster: profile(t, "Clusterfile.full"), IndexDigest: digest.FromString("1")}
	p := mustMake(t, in)
	var known []Known
	for _, s := range p.Steps {
		known = append(known, Known{s.ID, s.Digest(), s.Tasks()})
	}
	if again := mustMake(t, in); again.Digest() != p.Digest() || len(again.Changes(known)) > 0 {
		t.Errorf("the same input gives another plan: %v", again.Changes(known))
	}
	changes := func(edit func(*Input)) string {
		in := in
		in.Cluster = profile(t, "Clusterfile.full")
		c := *in.Contents
		in.Contents = &c
		edit(&in)
		q := mustMake(t, in)
		if q.Digest() == p.Digest() {
			t.Error("the digest of the plan does not change")
		}
		var out []string
		for _, c := range q.Changes(known) {
			out = append(out, c.String())
		}
		return strings.Join(out, ", ")
	}
	for _, test := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"another bundle", func(in *Input) { in.IndexDigest = digest.FromString("2") }, "registry.place (changed), registry.start (changed), rootfs.pull (changed)"},
		{"another values file", func(in *Input) { in.Cluster.Configs[1].Data += "\nmore: true" }, "rootfs.files (changed), cnstack-ce-03 (changed)"},
		{"another script", func(in *Input) { in.Cluster.Plugins[0].Data += "\necho" }, "pre-init.prepare_vg (changed)"},
		{"one host less", func(in *Input) { in.Cluster.Hosts = in.Cluster.Hosts[:2] },
			"preflight (changed), registry.trust (hosts -10.0.0.3), rootfs.pull (hosts -10.0.0.3), rootfs.files (hosts -10.0.0.3), pre-init.prepare_iptables (hosts -10.0.0.3), " +
				"pre-init.prepare_local_dir (hosts -10.0.0.3), pre-init.prepare_vg (hosts -10.0.0.3), kubeadm.join-nodes (hosts -10.0.0.3), nodes.labels (changed)"},
		{"no own plugins", func(in *Input) { in.Cluster.Plugins = nil }, "pre-init.prepare_vg (gone), post-install.install-open-local (gone)"},
		{"another order", func(in *Input) {
			s := slices.Clone(in.Contents.Steps)
			s[4], s[5] = s[5], s[4]
			in.Contents.Steps = s
		}, "cnstack-ce-02 (moved)"},
		{"another chart", func(in *Input) {
			f := slices.Clone(in.Contents.Files)
			for i := range f {
				if f[i].Path == "charts/localpv/Chart.yaml" {
					f[i].Digest = digest.FromString("another")
				}
			}
			in.Contents.Files = f
		}, "cnstack-ce-01 (changed)"},
	} {
		if got := changes(test.edit); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A longer time is no reason to begin anew.
func TestTimeoutsAreNotPartOfTheDigest(t *testing.T) {
	s := Step{Step: manifest.Step{ID: "a", Kind: "exec", Run: "true", TimeoutSeconds: 5}}
	longer := s
	longer.TimeoutSeconds, longer.Summary, longer.Source = 500, "x", "y"
	if s.Digest() != longer.Digest() {
		t.Error("the step became another one")
	}
}

func TestIDsAreUniqueWhateverABundleSays(t *testing.T) {
	img := newImage(t)
	img.contents.Steps = []manifest.Step{
		{ID: "check", Phase: "cnstack-ce", Kind: manifest.StepNamespace, Source: "bundle.yaml:3", Summary: "x", Args: map[string]any{"name": "a"}},
		{ID: "preflight", Phase: "cnstack-ce", Kind: manifest.StepNamespace, Source: "bundle.yaml:4", Summary: "x", Args: map[string]any{"name": "b"}},
	}
	p := mustMake(t, Input{Contents: img.contents, Cluster: parseCluster(t, "Clusterfile", since09, cluster.Options{})})
	index(t, p, "preflight_2")
}

func TestMissingFilesAreWarnedAbout(t *testing.T) {
	img := newImage(t)
	img.contents.Steps = step.From([]kubefile.Command{{Text: "helm install x charts/x", Source: "Kubefile:5"}}, "a", "a")
	c := parseCluster(t, "Clusterfile", since09, cluster.Options{})
	if p := mustMake(t, Input{Contents: img.contents, Cluster: c}); !warned(p, "Kubefile:5: charts/x is not in the bundle") {
		t.Errorf("warnings %v", p.Warnings)
	}
}

// Images of both generations share file names; what counts is what only one
// of them has.
func TestRuntimeScripts(t *testing.T) {
	for _, test := range []struct{ files, want string }{
		{"scripts/init.sh", "runtime.init runtime.trust"},
		{"scripts/init.sh scripts/docker.sh scripts/init-kube.sh", "runtime.init runtime.trust"},
		{"scripts/docker.sh scripts/init-kube.sh", "runtime.docker runtime.kube runtime.trust"},
		{"scripts/init.sh scripts/docker.sh scripts/containerd.sh scripts/init-kube.sh scripts/uninstall-docker.sh", "runtime.docker runtime.kube runtime.trust"},
		{"scripts/containerd.sh scripts/init-kube.sh", "runtime.containerd runtime.kube runtime.trust"},
		{"scripts/init-kube.sh", "runtime.kube runtime.trust"},
		{"bin/kubectl", ""},
	} {
		img := newImage(t)
		img.contents.Files, img.contents.Steps = files(strings.Fields(test.files)...), nil
		p := mustMake(t, Input{Contents: img.contents, Cluster: profile(t, "Clusterfile")})
		var got []string
		for _, id := range stepIDs(p) {
			if strings.HasPrefix(id, "runtime.") {
				got = append(got, id)
			}
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: steps %v, want %s", test.files, got, test.want)
		}
	}
}

func TestRuntimeThatTheImageHasNot(t *testing.T) {
	img := newImage(t)
	img.contents.Files = files("scripts/init-kube.sh", "scripts/docker.sh")
	c := parseCluster(t, "Clusterfile", since09, cluster.Options{})
	if _, err := Make(Input{Contents: img.contents, Cluster: c}); !errors.Is(err, ErrPlan) || !strings.Contains(err.Error(), "containerd") {
		t.Errorf("got %v", err)
	}
}

// No secret of the Clusterfile may show in a plan.
func TestPlansHoldNoSecrets(t *testing.T) {
	img := newImage(t)
	c := parseCluster(t, "Clusterfile", strings.ReplaceAll(since09, "passwd: secret", "passwd: hunter2hunter2"), cluster.Options{})
	c.Registry.Password = "hunter2hunter2"
	p := mustMake(t, Input{Contents: img.contents, Plugins: img.plugins, Cluster: c})
	data, err := json.Marshal(p)
	if err != nil || strings.Contains(string(data)+string(text(t, p)), "hunter2") {
		t.Errorf("the plan shows the password (%v)", err)
	}
}
