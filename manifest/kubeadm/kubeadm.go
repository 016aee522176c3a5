package kubeadm

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"bundle/manifest/cluster"
)

// APIServerName is the name that every host knows the API server by, unless a
// document says another controlPlaneEndpoint.
const APIServerName = "apiserver.cluster.local"

// Paths of an image that have to do with kubeadm.
const (
	// ConfigPath is the file of later images, rendered.
	ConfigPath = "etc/kubeadm.yml"
	// AuditPolicyPath is put to /etc/kubernetes on control planes.
	AuditPolicyPath = "statics/audit-policy.yml"
)

// Input is what a cluster's configuration is made of.
type Input struct {
	// Rootfs is the root file system, with the Clusterfile's Configs in it
	// and templates rendered; the templates themselves are still there. Nil
	// is an empty one.
	Rootfs fs.FS
	// Cluster is what the Clusterfile asks for.
	Cluster *cluster.Cluster
	// Env are the variables of all hosts: those of the bundle, under those of
	// the Clusterfile.
	Env map[string]string
	// Images are the names of the bundle's images; where no document says an
	// imageRepository, it is found among them.
	Images []string
}

// Host is one host as kubeadm will find it.
type Host struct {
	// Address is the host's name in the Clusterfile.
	Address string
	// HostName is what the host calls itself.
	HostName string
	// SocketPath is what the image's scripts said the socket of the container
	// runtime is (/etc/sealerio/cri/socket-path); empty where they did not.
	SocketPath string
	// Sockets are those of container runtimes that are there.
	Sockets []string
	// Cgroups is the cgroup driver of each runtime, "systemd" or "cgroupfs",
	// by "docker" and "containerd".
	Cgroups map[string]string
	// Kubeadm is what the kubeadm on the host says its version is; empty
	// where it is not known.
	Kubeadm string
	// IPVS tells whether the kernel can do it.
	IPVS bool
}

// Ticket lets a host join.
type Ticket struct {
	Token   cluster.Secret
	CAHash  string         // "sha256:HEX" of the public key of the cluster's CA
	CertKey cluster.Secret // for control planes
}

// Config is the configuration for one run of kubeadm.
type Config struct {
	// Text is what --config names. That of a join holds the token.
	Text []byte
	// Version of Kubernetes.
	Version Version
	// NodeName is the name of the host's node.
	NodeName string
	// Endpoint is HOST:PORT of the API server, as all hosts know it.
	Endpoint string
	// Local is HOST:PORT of the API server that runs on the host itself, if it
	// is a control plane.
	Local string
	// CRISocket is the container runtime's.
	CRISocket string
	// IgnorePreflight are checks of kubeadm that only warn.
	IgnorePreflight []string
	// AuditPolicy tells that the image has [AuditPolicyPath].
	AuditPolicy bool
	Warnings    []string
}

// CRISocketFlag is the socket as kubeadm's flag --cri-socket takes it.
func (c *Config) CRISocketFlag() string { return withScheme(c.CRISocket, c.Version) }

// Init gives the configuration of kubeadm init on h, which is master0.
func Init(in Input, h Host) (*Config, error) {
	b, err := newBuilder(in, h)
	if err != nil {
		return nil, err
	}
	b.kubelet()
	b.proxy()
	return b.finish(kindInit, kindCluster, kindKubelet, kindProxy)
}

// Join gives the configuration of kubeadm join on h, as a control plane if
// the Clusterfile says that it is a master.
func Join(in Input, h Host, t Ticket) (*Config, error) {
	b, err := newBuilder(in, h)
	if err != nil {
		return nil, err
	}
	b.out.Warnings = b.out.Warnings[b.shared:] // Init has said the others
	if err := b.join(t); err != nil {
		return nil, err
	}
	return b.finish(kindJoin)
}

// Issue gives the configuration with which master0, h, makes a ticket valid:
// for "kubeadm token create" and "kubeadm init phase upload-certs".
func Issue(in Input, h Host, t Ticket, ttl string) (*Config, error) {
	b, err := newBuilder(in, h)
	if err != nil {
		return nil, err
	}
	init := b.docs.get(kindInit)
	init["bootstrapTokens"] = []any{map[string]any{
		"token": t.Token.Reveal(), "ttl": ttl, "description": "made by bundle for one join",
		"usages": []any{"signing", "authentication"},
		"groups": []any{"system:bootstrappers:kubeadm:default-node-token"},
	}}
	if t.CertKey != "" {
		init["certificateKey"] = t.CertKey.Reveal()
	}
	return b.finish(kindInit, kindCluster)
}

// builder puts the documents of one host together.
type builder struct {
	in      Input
	h       Host
	target  cluster.Host
	version Version
	tool    Version // kubeadm's own
	legacy  bool    // the image has templates of its own kind
	sealer  bool    // the image is one of sealer's, of whatever age
	api     string  // version of all documents of kubeadm's own kinds
	docs    set
	over    set // those of the Clusterfile alone
	shared  int // how many of the warnings are not this host's own
	out     Config
}

func (b *builder) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.out.Warnings, text) {
		b.out.Warnings = append(b.out.Warnings, text)
	}
}

func newBuilder(in Input, h Host) (*builder, error) {
	if in.Cluster == nil || len(in.Cluster.Hosts) == 0 {
		return nil, fmt.Errorf("the Clusterfile %w: it names no hosts", ErrInput)
	}
	b := &builder{in: in, h: h, docs: set{}, over: set{}}
	i := slices.IndexFunc(in.Cluster.Hosts, func(t cluster.Host) bool { return t.Address == h.Address })
	if i < 0 {
		return nil, fmt.Errorf("host %s %w: it is not in the Clusterfile", h.Address, ErrInput)
	}
	b.target = in.Cluster.Hosts[i]
	if err := b.load(); err != nil {
		return nil, err
	}
	if err := b.cluster(); err != nil {
		return nil, err
	}
	b.shared = len(b.out.Warnings)
	return b, b.node()
}

// read gives a file of the root file system, nil where it is not there.
func (b *builder) read(name string) ([]byte, error) {
	if b.in.Rootfs == nil {
		return nil, nil
	}
	info, err := fs.Stat(b.in.Rootfs, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s %w: %s", name, ErrInput, reason(err))
	}
	if info.Size() > maxText {
		return nil, fmt.Errorf("%s %w: it has %d bytes, at most %d are read", name, ErrInput, info.Size(), maxText)
	}
	data, err := fs.ReadFile(b.in.Rootfs, name)
	if err != nil {
		return nil, fmt.Errorf("%s %w: %s", name, ErrInput, reason(err))
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// load reads the documents of image and Clusterfile and lays them over each
// other.
func (b *builder) load() error {
	if err := b.loadClusterfile(); err != nil {
		return err
	}
	config, err := b.read(ConfigPath)
	if err != nil {
		return err
	}
	image := set{}
	if config != nil {
		b.sealer = true
		if image, err = parseDocuments(ConfigPath, config, func(kind string) {
			b.warn("%s has a document of the kind %q, which kubeadm does not read", ConfigPath, kind)
		}); err != nil {
			return err
		}
	}
	if err := b.findVersion(image); err != nil {
		return err
	}
	if config == nil {
		if image, err = b.loadTemplates(); err != nil {
			return err
		}
	}
	for _, kind := range kinds {
		if d := image[kind]; d != nil {
			if ownGroup(kind) {
				d.fill("apiVersion", ForTemplates(b.tool))
			}
			if err := checkAPI("the image's configuration", kind, d); err != nil {
				return err
			}
		}
		d, warnings, err := settle(kind, image[kind], b.over[kind], b.tool)
		if err != nil {
			return err
		}
		for _, w := range warnings {
			b.warn("%s", w)
		}
		if d != nil {
			textArgs(d)
			b.docs[kind] = d
		}
	}
	b.oneAPI()
	b.sans(image)
	return nil
}

// oneAPI brings all documents of kubeadm's own kinds to one version.
func (b *builder) oneAPI() {
	newest := -1
	for kind, d := range b.docs {
		if ownGroup(kind) {
			newest = max(newest, apiIndex(d.text("apiVersion")))
		}
	}
	if newest < 0 {
		b.api = Native(b.tool)
		return
	}
	b.api = apis[newest].name
	for kind, d := range b.docs {
		raise(kind, d, b.api)
	}
}

func (b *builder) loadClusterfile() error {
	for _, given := range b.in.Cluster.Kubeadm {
		name := string(given.Source)
		if name == "" {
			name = "the Clusterfile"
		}
		d, err := parseDocument(name, trimMarker(given.Text))
		if err != nil {
			return err
		}
		kind := d.text("kind")
		if !slices.Contains(kinds, kind) {
			b.warn("%s: kubeadm does not read the kind %q; it is left out", name, kind)
			continue
		}
		if err := checkAPI(name, kind, d); err != nil {
			return err
		}
		if b.over[kind] != nil {
			d = merge(b.over[kind], d)
		}
		b.over[kind] = d
	}
	return nil
}

// findVersion takes the version from the first of: the Clusterfile, the
// image's document, Metadata, kubeadm on the host.
func (b *builder) findVersion(image set) error {
	var found string
	for _, s := range []set{b.over, image} {
		if d := s[kindCluster]; d != nil && found == "" {
			found = d.text("kubernetesVersion")
		}
	}
	raw, err := b.read(tmplCluster)
	if err != nil {
		return err
	}
	if m := versionLine.FindSubmatch(raw); m != nil && found == "" {
		found = string(m[1])
	}
	if found == "" {
		raw, err := b.read(MetadataPath)
		if err != nil {
			return err
		}
		if raw != nil {
			b.sealer = true
			m, err := ParseMetadata(raw)
			if err != nil {
				return err
			}
			found = m.Version
		}
	}
	if found == "" {
		found = b.h.Kubeadm
	}
	if found == "" {
		return fmt.Errorf("%w: neither %s of the image nor a ClusterConfiguration nor kubeadm on %s says one", ErrVersion, MetadataPath, b.h.Address)
	}
	v, err := ParseVersion(found)
	if err != nil {
		return err
	}
	if v.Major != 1 || !v.AtLeast(oldest) {
		return fmt.Errorf("%w: %s is older than %s", ErrVersion, v, oldestAt)
	}
	b.version, b.tool = v, v
	if tool, err := ParseVersion(b.h.Kubeadm); err == nil {
		b.tool = tool
	}
	return nil
}

// versionLine finds the version that a template has without asking for it.
var versionLine = regexp.MustCompile(`(?m)^kubernetesVersion:[ \t]*["']*(v?[0-9][0-9A-Za-z.+-]*)`)

// loadTemplates renders the templates of images before sealer 0.7.
func (b *builder) loadTemplates() (set, error) {
	image := set{}
	data := b.templateData()
	for _, t := range templateKinds {
		text, err := b.read(t.name)
		if err != nil {
			return nil, err
		}
		if text == nil {
			continue
		}
		b.legacy, b.sealer = true, true
		d, err := parseTemplate(t.name, text, data, func(s string) { b.warn("%s", s) })
		if err != nil {
			return nil, err
		}
		if kind := d.text("kind"); kind != "" && kind != t.kind {
			return nil, fmt.Errorf("%s %w: it is a %.60s and not a %s", t.name, ErrInput, kind, t.kind)
		}
		d["kind"] = t.kind
		image[t.kind] = merge(image[t.kind], d)
	}
	return image, nil
}

// templateData is what those templates may ask for.
func (b *builder) templateData() map[string]any {
	pod, service := b.cidrs()
	master := ""
	if b.target.Master() && b.h.Address != b.master0() {
		master = b.h.Address
	}
	socket := b.runtimeSocket()
	var etcd []string
	for _, m := range b.masters() {
		etcd = append(etcd, "https://"+net.JoinHostPort(m, "2379"))
	}
	return map[string]any{
		"Master0": b.master0(), "Master": master, "Masters": b.masters(),
		"VIP": b.vip(), "Version": b.version.Text, "ApiServer": APIServerName,
		"PodCIDR": pod, "SvcCIDR": service, "CertSANS": b.wantedSANs(),
		"EtcdServers": strings.Join(etcd, ","),
		"Repo":        b.registry() + "/library", "KubeadmAPI": ForTemplates(b.tool),
		"CriSocket": socket, "CriCGroupDriver": b.cgroupDriver(socket), "CgroupDriver": b.cgroupDriver(socket),
		// The real ones are put in later, whatever the template does.
		"TokenDiscovery": "aaaaaa.aaaaaaaaaaaaaaaa", "TokenDiscoveryCAHash": "sha256:" + strings.Repeat("0", 64),
	}
}

func (b *builder) master0() string { return b.in.Cluster.Hosts[0].Address }

func (b *builder) masters() []string {
	var list []string
	for _, h := range b.in.Cluster.Hosts {
		if h.Master() {
			list = append(list, h.Address)
		}
	}
	return list
}

// finish writes the documents of some kinds.
func (b *builder) finish(only ...string) (*Config, error) {
	var err error
	b.out.Version = b.version
	if b.in.Rootfs != nil {
		if info, err := fs.Stat(b.in.Rootfs, AuditPolicyPath); err == nil && info.Mode().IsRegular() {
			b.out.AuditPolicy = true
		}
	}
	if b.sealer {
		// As sealer does: the oldest kernels that its images run on lack
		// options that kubeadm asks for.
		b.out.IgnorePreflight = []string{"SystemVerification"}
	}
	b.out.Text, err = b.docs.encode(only...)
	if err != nil {
		return nil, err
	}
	return &b.out, nil
}

// isIPv6 tells the family of an address.
func isIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Unmap().Is6()
}

// repositoryOf gives the repository that holds an image kube-apiserver,
// preferring the one of the version.
func repositoryOf(images []string, v Version) string {
	var found string
	for _, image := range images {
		image, _, _ = strings.Cut(image, "@")
		name, tag := image, ""
		if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
			name, tag = image[:i], image[i+1:]
		}
		if path.Base(name) != "kube-apiserver" {
			continue
		}
		if found = path.Dir(name); tag == v.Text {
			return found
		}
	}
	return found
}
