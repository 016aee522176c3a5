package plan

import (
	"fmt"
	"path"
	"slices"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

// own makes one of the installer's own steps, all of which can be run again.
func own(id, phase, kind string, hosts []string, summary string, a ...any) Step {
	return Step{
		Step:  manifest.Step{ID: id, Phase: phase, Kind: kind, Idempotent: true, Summary: fmt.Sprintf(summary, a...)},
		Hosts: hosts,
	}
}

func (b *builder) preflight() {
	s := own("preflight", PhasePreflight, KindPreflight, b.all(), "Look whether the hosts are fit; touch nothing")
	s.Together = true
	h := newSum()
	h.add(b.all()...)
	s.Content = h.String()
	b.add(s)
}

// Servers gives the addresses of the masters that serve the registry: all of
// them, or the first one where the Clusterfile wants only one.
func Servers(c *cluster.Cluster) []string {
	var out []string
	for _, h := range c.Hosts {
		if h.Master() && (len(out) == 0 || c.Registry.HA) {
			out = append(out, h.Address)
		}
	}
	return out
}

// registry adds the steps that make the bundle's registry answer on site.
func (b *builder) registry() {
	c := b.in.Cluster
	masters := Servers(c)
	pin := map[string]any{"indexDigest": b.in.IndexDigest.String()}
	s := own("registry.place", PhaseRegistry, KindBundlePlace, masters, "Put the bundle %s %s and the program that serves it on the host", b.in.Contents.Name, b.in.Contents.Version)
	s.Args = args(pin)
	b.add(s)
	name := c.Registry.URL()
	s = own("registry.start", PhaseRegistry, KindRegistryStart, masters, "Serve the bundle as the registry %s", name)
	s.Args = args(pin)
	s.Content = b.registryContent()
	b.add(s)
	s = own("registry.trust", PhaseRegistry, KindRegistryTrust, b.all(), "Make the host use and trust the registry %s", name)
	s.Content = b.registryContent()
	b.add(s)
	if e := c.Registry.External; e != "" {
		b.warn("", "images come from the registry %s of the site; push the bundle there first, with bundle push", e)
	}
}

// registryContent is the digest of the names that the registry has. Its
// password is left out: nothing that is kept may depend on a secret.
func (b *builder) registryContent() string {
	c := b.in.Cluster
	h := newSum()
	h.add(c.Registry.URL(), c.Registry.Username, c.Registry.External, fmt.Sprint(c.Registry.HA, c.Registry.Insecure))
	h.add(c.Registry.CertNames...)
	h.add(Servers(c)...)
	for _, a := range c.Aliases {
		h.add(append([]string{a.IP}, a.Names...)...)
	}
	return h.String()
}

// files adds the steps that bring the root file system.
func (b *builder) files() {
	s := own("rootfs.pull", PhaseRootfs, KindRootfsPull, b.all(), "Bring %s of the bundle to %s", count(len(b.in.Contents.Files), "file"), b.rootfs)
	s.Args = args(map[string]any{"indexDigest": b.in.IndexDigest.String()})
	b.add(s)

	configs := b.in.Cluster.Configs
	templates := 0
	for _, f := range b.in.Contents.Files {
		if path.Ext(f.Path) == ".tmpl" {
			templates++
		}
	}
	s = own("rootfs.files", PhaseRootfs, KindFilesWrite, b.all(), "Write %s and %s", count(len(configs), "file of the Clusterfile"), count(templates, "rendered template"))
	if len(configs) > 0 {
		s.Source = configs[0].Source
		paths := make([]string, len(configs))
		for i, c := range configs {
			paths[i] = c.Path
		}
		s.Args = args(map[string]any{"files": paths})
		s.Summary = fmt.Sprintf("Write %s of the Clusterfile and %s", count(len(configs), "file"), count(templates, "rendered template"))
	} else {
		s.Summary = fmt.Sprintf("Write %s", count(templates, "rendered template"))
	}
	h := newSum()
	b.changed(h, func(string) bool { return true })
	h.add(b.variables())
	s.Content = h.String()
	b.add(s)
}

// Scripts of the image that bring the container runtime and the kubelet.
const (
	scriptInit = "scripts/init.sh"      // up to sealer 0.8
	scriptKube = "scripts/init-kube.sh" // since 0.9
)

// since09 tells whether the image's scripts are those of sealer 0.9 and later.
// Such images often still have an init.sh, and older ones the scripts that
// init.sh calls; only the later ones can uninstall.
func (b *builder) since09() bool {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { _, ok := b.file("scripts/" + n + ".sh"); return ok })
	}
	return has("init-kube") && (has("uninstall-docker", "uninstall-containerd") || !has("init"))
}

// runtime adds the image's scripts that make a host ready for kubeadm.
func (b *builder) runtime() error {
	if kube, ok := b.file(scriptKube); ok && b.since09() {
		name, f, err := b.runtimeScript("")
		if err != nil {
			return err
		}
		if name != "" {
			b.script("runtime."+name, f, fmt.Sprintf("Install %s", name))
		}
		b.script("runtime.kube", kube, "Install the kubelet and what it needs")
		b.trustAgain()
		return nil
	}
	if f, ok := b.file(scriptInit); ok {
		s := b.hostScript("runtime.init", f, "Install the container runtime and the kubelet")
		s.Script = "chmod +x scripts/* && cd scripts && bash init.sh"
		s.Dir = b.rootfs
		b.add(s)
		b.trustAgain()
		return nil
	}
	b.warn("", "the image has neither %s nor %s; the hosts must have a container runtime, the kubelet and kubeadm already", scriptKube, scriptInit)
	return nil
}

// trustAgain repeats what the image's scripts may have undone: they bring the
// configuration of the container runtime.
func (b *builder) trustAgain() {
	s := own("runtime.trust", PhaseRuntime, KindRegistryTrust, b.all(), "Make the runtime trust the registry %s, whatever its own scripts wrote", b.in.Cluster.Registry.URL())
	s.Content = b.registryContent()
	b.add(s)
}

// runtimeScript finds the script of the container runtime; prefix is put in
// front of its name.
func (b *builder) runtimeScript(prefix string) (runtime string, f manifest.File, err error) {
	want := []string{"docker", "containerd"}
	if r := b.in.Cluster.Runtime; r != "" {
		want = []string{r}
	}
	for _, r := range want {
		if f, ok := b.file("scripts/" + prefix + r + ".sh"); ok {
			return r, f, nil
		}
	}
	if r := b.in.Cluster.Runtime; r != "" && prefix == "" {
		return "", f, &inputError{
			text: fmt.Sprintf("the Clusterfile asks for the container runtime %s, and the image has no scripts/%s.sh", r, r),
			hint: "choose another containerRuntime, or leave it out",
		}
	}
	return "", f, nil
}

// hostScript makes the step of a script of the image on all hosts.
func (b *builder) hostScript(id string, f manifest.File, summary string) Step {
	return Step{
		Step: manifest.Step{
			ID: id, Phase: PhaseRuntime, Kind: KindHostScript, Source: f.Source,
			Summary: summary + ": " + f.Path,
		},
		Hosts: b.all(),
	}
}

// script adds a script of the image that runs in its own folder.
func (b *builder) script(id string, f manifest.File, summary string) {
	s := b.hostScript(id, f, summary)
	s.Script, s.Dir = "bash "+quote(path.Join(b.rootfs, f.Path)), path.Join(b.rootfs, path.Dir(f.Path))
	h := newSum()
	h.add(f.Digest.String(), b.variables())
	s.Content = h.String()
	b.add(s)
}

// kubeadm adds the steps that make the nodes a cluster.
func (b *builder) kubeadm() {
	masters, nodes := b.masters(), b.nodes()
	content := b.kubeadmContent()
	s := own("kubeadm.init", PhaseKubeadm, KindKubeadmInit, masters[:1], "Make the first master, with kubeadm init")
	if docs := b.in.Cluster.Kubeadm; len(docs) > 0 {
		s.Source = docs[0].Source
	}
	s.Content = content
	b.add(s)
	if len(masters) > 1 {
		s := own("kubeadm.join-masters", PhaseKubeadm, KindKubeadmJoin, masters[1:], "Join the other masters, one after the other")
		s.Serial, s.Content = true, content
		s.Args = args(map[string]any{"role": "master"})
		b.add(s)
	}
	if len(nodes) > 0 {
		s := own("kubeadm.join-nodes", PhaseKubeadm, KindKubeadmJoin, nodes, "Join the nodes")
		s.Content = content
		s.Args = args(map[string]any{"role": "node"})
		b.add(s)
	}
}

func (b *builder) kubeadmContent() string {
	h := newSum()
	for _, d := range b.in.Cluster.Kubeadm {
		h.add(d.APIVersion, d.Kind, d.Text)
	}
	for _, f := range b.in.Contents.Files {
		if ok, _ := path.Match("etc/kubeadm*", f.Path); ok {
			h.add(f.Path, f.Digest.String())
		}
	}
	b.changed(h, func(name string) bool { ok, _ := path.Match("etc/kubeadm*", name); return ok })
	h.add(b.variables())
	h.add(b.masters()...)
	return h.String()
}

func (b *builder) check() {
	b.add(own("check", PhaseAcceptance, KindCheck, []string{b.master0()}, "Check nodes, releases, workloads and the digests of running images"))
}
