package kubeadm

import (
	"fmt"
	"net"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Sockets of container runtimes, with the scheme left away.
const (
	socketContainerd = "/run/containerd/containerd.sock"
	socketDocker     = "/var/run/docker.sock"
	socketDockershim = "/var/run/dockershim.sock"
	socketCRIDockerd = "/var/run/cri-dockerd.sock"
	socketCRIO       = "/var/run/crio/crio.sock"
)

// Sockets are where a host is looked at for container runtimes.
var Sockets = []string{socketContainerd, socketCRIDockerd, socketDocker, socketCRIO}

// dockerSocket is how Kubernetes of v reaches docker.
func dockerSocket(v Version) string {
	if v.AtLeast(24) {
		return socketCRIDockerd
	}
	return socketDockershim
}

// offered are the sockets of the host as kubeadm is to know them.
func (b *builder) offered() []string {
	var out []string
	for _, s := range b.h.Sockets {
		switch {
		case s != socketDocker:
			out = append(out, s)
		case !b.version.AtLeast(24):
			out = append(out, socketDockershim) // the kubelet makes it
		}
	}
	return unique(out)
}

// runtimeSocket is the socket that the host, or else the Clusterfile, or else
// the version asks for.
func (b *builder) runtimeSocket() string {
	if s := bareSocket(b.h.SocketPath); s != "" {
		return s
	}
	runtime := b.in.Cluster.Runtime
	if runtime == "" {
		runtime = b.in.Env["ContainerRuntime"]
	}
	switch runtime {
	case "containerd":
		return socketContainerd
	case "docker":
		return dockerSocket(b.version)
	}
	// Docker brings a containerd whose socket is there as well.
	offered := b.offered()
	for _, s := range []string{socketDockershim, socketCRIDockerd, socketContainerd, socketCRIO} {
		if slices.Contains(offered, s) {
			return s
		}
	}
	if b.version.AtLeast(20) {
		return socketContainerd
	}
	return socketDockershim
}

// socket is the one that kubeadm is told: the host's own word, the
// documents', or the runtime's. One that is not there gives way to the only
// one that is.
func (b *builder) socket() string {
	s := bareSocket(b.h.SocketPath)
	for _, kind := range []string{kindInit, kindJoin} {
		if d := b.docs[kind]; d != nil && s == "" {
			s = bareSocket(d.lookText("nodeRegistration", "criSocket"))
		}
	}
	if s == "" {
		s = b.runtimeSocket()
	}
	offered := b.offered()
	if len(offered) == 1 && offered[0] != s && samePlace(offered[0]) != samePlace(s) {
		b.warn("%s has no container runtime at %s; the one at %s is used", b.h.Address, s, offered[0])
		s = offered[0]
	}
	return s
}

// samePlace treats /run and /var/run as the one folder they are.
func samePlace(s string) string { return strings.TrimPrefix(s, "/var") }

// bareSocket drops the scheme, and what is no path.
func bareSocket(s string) string {
	s = strings.TrimPrefix(strings.TrimSpace(s), "unix://")
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, " \t\r\n\"'\\") {
		return ""
	}
	return path.Clean(s)
}

// withScheme is how kubeadm wants a socket to be written.
func withScheme(s string, v Version) string {
	if v.AtLeast(24) {
		return "unix://" + s
	}
	return s
}

func (b *builder) cgroupDriver(socket string) string {
	if d := b.in.Env["CgroupDriver"]; d == "systemd" || d == "cgroupfs" {
		return d
	}
	name := "containerd"
	if strings.Contains(path.Base(socket), "docker") {
		name = "docker"
	}
	if d := b.h.Cgroups[name]; d == "systemd" || d == "cgroupfs" {
		return d
	}
	return ""
}

var nodeNameForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// nodeName is the host's name in lower case, as kubeadm has it, or its
// address where the Clusterfile asks for that.
func (b *builder) nodeName() (string, error) {
	name := strings.ToLower(strings.TrimSpace(b.h.HostName))
	if b.in.Env["UseIPasNodeName"] == "true" {
		name = b.h.Address
	}
	if !nodeNameForm.MatchString(name) {
		return "", fmt.Errorf("host %s %w as a node: its name %.80q has other than letters, digits, '-' and '.'", b.h.Address, ErrInput, name)
	}
	return name, nil
}

// node fills in what is this host's own, for init.
func (b *builder) node() error {
	var err error
	if b.out.NodeName, err = b.nodeName(); err != nil {
		return err
	}
	b.out.CRISocket = b.socket()
	d := b.ownDoc(kindInit)
	endpoint := d.at("localAPIEndpoint")
	endpoint["advertiseAddress"] = b.h.Address
	endpoint.fill("bindPort", 6443)
	b.out.Local = net.JoinHostPort(b.h.Address, fmt.Sprint(endpoint["bindPort"]))
	return b.register(d)
}

// register fills in how the node presents itself.
func (b *builder) register(d doc) error {
	n := d.at("nodeRegistration")
	n["name"] = b.out.NodeName
	n["criSocket"] = withScheme(b.out.CRISocket, b.version)
	if !b.dualStack() {
		// So that the node's InternalIP is the address of the Clusterfile on
		// hosts with several networks.
		setArg(d, n, "kubeletExtraArgs", "node-ip", b.h.Address)
	}
	return b.taints(n)
}

// join fills in the join document.
func (b *builder) join(t Ticket) error {
	d := b.ownDoc(kindJoin)
	discovery := d.at("discovery")
	delete(discovery, "file")
	delete(discovery, "tlsBootstrapToken")
	discovery["bootstrapToken"] = map[string]any{
		"apiServerEndpoint": b.out.Endpoint,
		"token":             t.Token.Reveal(),
		"caCertHashes":      []any{t.CAHash},
	}
	if t.Token == "" || t.CAHash == "" {
		return fmt.Errorf("the join of %s %w: it has no token, or no digest of the cluster's CA", b.h.Address, ErrInput)
	}
	if b.target.Master() {
		control := d.at("controlPlane")
		endpoint := doc(control).at("localAPIEndpoint")
		endpoint["advertiseAddress"] = b.h.Address
		endpoint.fill("bindPort", 6443)
		b.out.Local = net.JoinHostPort(b.h.Address, fmt.Sprint(endpoint["bindPort"]))
		control["certificateKey"] = t.CertKey.Reveal()
		if t.CertKey == "" {
			return fmt.Errorf("the join of %s %w: a control plane needs the key of the certificates", b.h.Address, ErrInput)
		}
	} else {
		delete(d, "controlPlane")
	}
	return b.register(d)
}

// The taint that keeps ordinary pods from control planes, under both names.
const (
	taintMaster  = "node-role.kubernetes.io/master"
	taintControl = "node-role.kubernetes.io/control-plane"
)

// taints registers the node with what the Clusterfile asks for, so that no
// pod gets there before.
func (b *builder) taints(n doc) error {
	if len(b.target.Taints) == 0 {
		return nil
	}
	taints, given := n["taints"].([]any)
	if !given && b.target.Master() {
		taints = defaultTaints(b.version)
	}
	for _, text := range b.target.Taints {
		t, remove, err := ParseTaint(text)
		if err != nil {
			return err
		}
		taints = slices.DeleteFunc(slices.Clone(taints), func(v any) bool {
			m, _ := v.(map[string]any)
			key, _ := m["key"].(string)
			effect, _ := m["effect"].(string)
			return sameTaintKey(key, t.Key, remove) && (t.Effect == "" || effect == t.Effect)
		})
		if !remove {
			e := map[string]any{"key": t.Key, "effect": t.Effect}
			if t.Value != "" {
				e["value"] = t.Value
			}
			taints = append(taints, e)
		}
	}
	if taints == nil {
		taints = []any{}
	}
	n["taints"] = taints
	return nil
}

// sameTaintKey takes the old and the new name of the control plane's taint
// for one where it is removed.
func sameTaintKey(a, b string, remove bool) bool {
	control := func(s string) bool { return s == taintMaster || s == taintControl }
	return a == b || remove && control(a) && control(b)
}

func defaultTaints(v Version) []any {
	var keys []string
	if !v.AtLeast(25) {
		keys = append(keys, taintMaster)
	}
	if v.AtLeast(24) {
		keys = append(keys, taintControl)
	}
	var out []any
	for _, k := range keys {
		out = append(out, map[string]any{"key": k, "effect": "NoSchedule"})
	}
	return out
}

// Taint is one taint of a node.
type Taint struct{ Key, Value, Effect string }

var taintKeyForm = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`)

// ParseTaint reads "key=value:Effect", "key:Effect", or with a trailing "-"
// one to remove, which may leave the effect out. Errors wrap [ErrInput].
func ParseTaint(text string) (t Taint, remove bool, err error) {
	s, remove := strings.CutSuffix(strings.TrimSpace(text), "-")
	s, t.Effect, _ = strings.Cut(s, ":")
	t.Key, t.Value, _ = strings.Cut(s, "=")
	ok := len(t.Key) <= 317 && taintKeyForm.MatchString(t.Key)
	switch t.Effect {
	case "NoSchedule", "PreferNoSchedule", "NoExecute":
	case "":
		ok = ok && remove
	default:
		ok = false
	}
	if !ok || len(t.Value) > 63 {
		return Taint{}, false, fmt.Errorf("taint %.120q %w: it is not like key=value:NoSchedule, or key:NoSchedule- to remove one", text, ErrInput)
	}
	return t, remove, nil
}
