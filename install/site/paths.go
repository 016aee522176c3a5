package site

// CAFile is where every host keeps the authority of the registry.
const CAFile = "/var/lib/bundle/tls/ca.crt"

// paths are where things lie on a host.
type paths struct {
	root string
	// base and all below it is ours, but for folders below state.
	base, binary, bundles, keys, tls, registry, state string
	// records says what we changed outside of base, placed which bundles are
	// there, secret what another operator needs to go on.
	records, placed, secret string
	// caCert, caKey and htpasswd are what the server reads.
	caCert, caKey, htpasswd string
	// supervisor, pid, child and log are for hosts without systemd.
	supervisor, pid, child, log string

	unit, systemd, etc, hosts      string
	containerd, certs              string
	dockerDir, dockerCerts, daemon string
	kubeletLogin                   string
}

const home = "/var/lib/bundle"

// BundleFolder is where bundles lie on a server.
const BundleFolder = home + "/bundles"

func newPaths(root string) paths {
	base := root + home
	return paths{
		root: root, base: base,
		binary: base + "/bin/bundle", bundles: base + "/bundles", keys: base + "/keys",
		tls: base + "/tls", registry: base + "/registry", state: base + "/state",
		records: base + "/state/files.json", placed: base + "/state/bundles.json", secret: base + "/state/registry.json",
		caCert: base + "/tls/ca.crt", caKey: base + "/tls/ca.key", htpasswd: base + "/registry/htpasswd",
		supervisor: base + "/registry/supervise.sh", pid: base + "/registry/supervise.pid",
		child: base + "/registry/serve.pid", log: base + "/registry/serve.log",
		unit: root + "/etc/systemd/system/" + Unit, systemd: root + "/run/systemd/system",
		etc: root + "/etc", hosts: root + "/etc/hosts",
		containerd: root + "/etc/containerd/config.toml", certs: root + "/etc/containerd/certs.d",
		dockerDir: root + "/etc/docker", dockerCerts: root + "/etc/docker/certs.d", daemon: root + "/etc/docker/daemon.json",
		kubeletLogin: root + "/var/lib/kubelet/config.json",
	}
}
