package kubeadm

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Defaults of what neither image nor Clusterfile says; they are sealer's.
const (
	DefaultPodCIDR     = "100.64.0.0/10"
	DefaultServiceCIDR = "10.96.0.0/22"
	DefaultVIP         = "10.103.97.2"
	DefaultVIPv6       = "1248:4003:10bb:6a01:83b9:6360:c66d:0002"
)

// vip is the address that sealer's workers reach the API server by. This
// installer does not set it up; certificates and templates still name it.
func (b *builder) vip() string {
	key, fallback := "IPvsVIPv4", DefaultVIP
	if isIPv6(b.master0()) {
		key, fallback = "IPvsVIPv6", DefaultVIPv6
	}
	if v := b.in.Env[key]; v != "" {
		if _, err := netip.ParseAddr(v); err == nil {
			return v
		}
		b.warn("%s is %.60q, which is no address; %s is used", key, v, fallback)
	}
	return fallback
}

// registry is where hosts find the images of the cluster, HOST:PORT.
func (b *builder) registry() string {
	r := b.in.Cluster.Registry
	if r.External != "" {
		return r.External
	}
	domain, port := r.Domain, r.Port
	if domain == "" {
		domain = "sea.hub"
	}
	if port == 0 {
		port = 5000
	}
	return net.JoinHostPort(domain, strconv.Itoa(port))
}

// cidrs are the address ranges that the Clusterfile asks for, or else the
// defaults. They are empty where neither fits the hosts.
func (b *builder) cidrs() (pod, service string) {
	pod, service = b.in.Cluster.PodCIDR, b.in.Cluster.ServiceCIDR
	if pod == "" {
		pod = b.in.Env["PodCIDR"]
	}
	if service == "" {
		service = b.in.Env["SvcCIDR"]
	}
	if isIPv6(b.master0()) {
		return pod, service
	}
	if pod == "" {
		pod = DefaultPodCIDR
	}
	if service == "" {
		service = DefaultServiceCIDR
	}
	return pod, service
}

// wantedSANs are the names that the API server's certificate must hold,
// besides those of the documents.
func (b *builder) wantedSANs() []string {
	sans := []string{"127.0.0.1", APIServerName}
	sans = append(sans, b.masters()...)
	sans = append(sans, b.in.Cluster.CertSANs...)
	sans = append(sans, list(b.in.Env["CertSANs"])...)
	sans = append(sans, b.vip())
	return unique(sans)
}

// sans puts the certificate's names of all inputs together: a name that one
// of them asks for must never be lost to another.
func (b *builder) sans(image set) {
	var all []string
	for _, s := range []set{b.over, image} {
		if d := s[kindCluster]; d != nil {
			all = append(all, list(d.look("apiServer", "certSANs"))...)
		}
	}
	all = unique(append(all, b.wantedSANs()...))
	out := make([]any, len(all))
	for i, s := range all {
		out[i] = s
	}
	b.ownDoc(kindCluster).at("apiServer")["certSANs"] = out
}

// ownDoc gives the document of one of kubeadm's own kinds, with a version.
func (b *builder) ownDoc(kind string) doc {
	d := b.docs.get(kind)
	d.fill("apiVersion", b.api)
	return d
}

// cluster fills in what all hosts share.
func (b *builder) cluster() error {
	d := b.ownDoc(kindCluster)
	d["kubernetesVersion"] = b.version.Text
	d.fill("controlPlaneEndpoint", net.JoinHostPort(APIServerName, "6443"))
	b.out.Endpoint = withPort(d.text("controlPlaneEndpoint"), "6443")
	if d.text("imageRepository") == "" {
		repo := repositoryOf(b.in.Images, b.version)
		if repo == "" && b.sealer {
			repo = b.registry()
			if b.legacy {
				repo += "/library"
			}
		}
		if repo != "" {
			d["imageRepository"] = repo
		}
	}
	if err := b.networking(d); err != nil {
		return err
	}
	return nil
}

// networking: a document of the Clusterfile goes before its other fields,
// those before the image.
func (b *builder) networking(d doc) error {
	pod, service := b.cidrs()
	n := d.at("networking")
	for _, f := range []struct{ key, asked, env, value, field string }{
		{"podSubnet", b.in.Cluster.PodCIDR, "PodCIDR", pod, "podCIDR"},
		{"serviceSubnet", b.in.Cluster.ServiceCIDR, "SvcCIDR", service, "svcCIDR"},
	} {
		own := ""
		if over := b.over[kindCluster]; over != nil {
			own = over.lookText("networking", f.key)
		}
		if own == "" && (f.asked != "" || b.in.Env[f.env] != "") {
			n[f.key] = f.value
		}
		if f.value != "" {
			n.fill(f.key, f.value)
		}
		got, _ := n[f.key].(string)
		if got == "" {
			return fmt.Errorf("the Clusterfile %w: the hosts have IPv6 addresses, and neither it nor the image says a %s; set spec.network.%s", ErrInput, f.field, f.field)
		}
		var clean []string
		for _, c := range list(got) {
			if _, err := netip.ParsePrefix(c); err != nil {
				return fmt.Errorf("the %s %.80q %w: it is not like 100.64.0.0/10", f.field, c, ErrInput)
			}
			clean = append(clean, c)
		}
		if len(clean) == 0 || len(clean) > 2 {
			return fmt.Errorf("the %s %.80q %w: one range, or one of each IP family, separated by a comma", f.field, got, ErrInput)
		}
		n[f.key] = strings.Join(clean, ",")
	}
	n.fill("dnsDomain", "cluster.local")
	return nil
}

// dualStack tells whether pods get addresses of both IP families.
func (b *builder) dualStack() bool {
	return strings.Contains(b.docs.get(kindCluster).lookText("networking", "podSubnet"), ",")
}

// kubelet makes kubelet and container runtime agree on the cgroup driver.
func (b *builder) kubelet() {
	driver := b.cgroupDriver(b.socket())
	if b.docs[kindKubelet] == nil && driver == "" {
		return
	}
	d := b.docs.get(kindKubelet)
	d.fill("apiVersion", "kubelet.config.k8s.io/v1beta1")
	if driver != "" {
		d.fill("cgroupDriver", driver)
	}
}

// proxy takes sealer's default, IPVS, where the kernel can do it.
func (b *builder) proxy() {
	d := b.docs[kindProxy]
	if d == nil {
		if !b.sealer {
			return
		}
		d = b.docs.get(kindProxy)
		if b.h.IPVS {
			d["mode"] = "ipvs"
		} else {
			b.warn("the kernel of %s has no IPVS: kube-proxy uses iptables", b.h.Address)
			d["mode"] = "iptables"
		}
	}
	d.fill("apiVersion", "kubeproxy.config.k8s.io/v1alpha1")
	if d.text("mode") != "ipvs" {
		return
	}
	// sealer's rule for its virtual address; without it kube-proxy would
	// take away what somebody else sets up there.
	own := netip.PrefixFrom(netip.MustParseAddr(b.vip()), netip.MustParseAddr(b.vip()).BitLen()).String()
	ipvs := d.at("ipvs")
	excluded, _ := ipvs["excludeCIDRs"].([]any)
	if !slices.Contains(list(excluded), own) {
		ipvs["excludeCIDRs"] = append(excluded, own)
	}
}

func unique(in []string) []string {
	var out []string
	for _, s := range in {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func withPort(endpoint, port string) string {
	if _, _, err := net.SplitHostPort(endpoint); err == nil {
		return endpoint
	}
	return net.JoinHostPort(strings.Trim(endpoint, "[]"), port)
}
