package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/install/host"
	"bundle/install/node/agent"
	"bundle/manifest/cluster"
	"bundle/manifest/kubeadm"
)

// TestMain is our own program on a host, too: its hidden command.
func TestMain(m *testing.M) {
	if os.Getenv("BUNDLE_TEST_AGENT") == "" {
		os.Exit(m.Run())
	}
	r, err := runAgent(os.Args[2:])
	enc := json.NewEncoder(os.Stdout)
	if err != nil {
		code, hint := "failed", ""
		if errors.Is(err, agent.ErrDamaged) {
			code = "damaged"
		}
		if h, ok := errors.AsType[*agent.Error](err); ok {
			hint = h.Hint()
		}
		_ = enc.Encode(map[string]any{"error": map[string]string{"code": code, "message": err.Error(), "hint": hint}})
		os.Exit(1)
	}
	_ = enc.Encode(r)
}

func runAgent(args []string) (any, error) {
	var o agent.Options
	var d, registries, credentials string
	f := flag.NewFlagSet("node", flag.ExitOnError)
	f.String("progress", "", "")
	f.StringVar(&registries, "registry", "", "")
	f.StringVar(&o.CAFile, "ca", "", "")
	f.StringVar(&credentials, "credentials", "", "")
	f.StringVar(&o.Ref, "ref", "", "")
	f.StringVar(&d, "digest", "", "")
	f.StringVar(&o.To, "to", "", "")
	_ = f.Parse(args[1:])
	if args[0] == "files" {
		return agent.Files(context.Background(), o.To, os.Stdin)
	}
	if credentials == "-" {
		var c struct{ Username, Password string }
		if err := json.NewDecoder(os.Stdin).Decode(&c); err != nil {
			return nil, err
		}
		o.Username, o.Password = c.Username, c.Password
	}
	o.Registries, o.Digest, o.HTTP.Retries = strings.Split(registries, ","), digest.Digest(d), -1
	o.Progress = func(done, total int64) { fmt.Fprintf(os.Stderr, "{\"done\":%d,\"total\":%d}\n", done, total) }
	return agent.Pull(context.Background(), o)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lab is a cluster whose hosts are folders of this machine, with a kubeadm
// that writes what the real one writes and an API server that knows the nodes
// that it made.
type lab struct {
	t     *testing.T
	dir   string
	nodes string // a file for each node, with its address
	hosts map[string]*testHost
	down  bool // the API server does not answer
	ca    []byte
	srv   *httptest.Server
	c     *cluster.Cluster
	n     map[string]*Nodes // by address: each host has a root of its own
}

// testHost is this machine under another name, with a root in a folder.
type testHost struct {
	host.Host
	l    *lab
	root string
	logs string
	// before, if set, runs before every script.
	before func(host.Command)
}

func newLab(t *testing.T, masters, workers int) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are worked on as root")
	}
	l := &lab{t: t, dir: t.TempDir(), hosts: map[string]*testHost{}, n: map[string]*Nodes{}}
	l.nodes = filepath.Join(l.dir, "nodes")
	must(t, os.MkdirAll(l.nodes, 0o755))
	ca, pair := authority(t)
	l.ca = ca
	must(t, os.WriteFile(filepath.Join(l.dir, "ca.crt"), l.ca, 0o644))
	l.srv = httptest.NewUnstartedServer(http.HandlerFunc(l.api))
	l.srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	l.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	l.srv.StartTLS()
	t.Cleanup(l.srv.Close)
	l.c = &cluster.Cluster{Name: "my-cluster", DataRoot: cluster.DefaultDataRoot}
	for i := range masters + workers {
		c := cluster.Host{Address: fmt.Sprintf("10.0.0.%d", i+1), Roles: []string{cluster.RoleNode}}
		if i < masters {
			c.Roles[0] = cluster.RoleMaster
		}
		l.c.Hosts = append(l.c.Hosts, c)
		l.addHost(c.Address)
	}
	return l
}

func (l *lab) addHost(addr string) {
	h := &testHost{l: l, root: filepath.Join(l.dir, addr), logs: filepath.Join(l.dir, "logs-"+addr)}
	h.Host = host.Local(addr, host.Options{LogDir: h.logs})
	l.t.Cleanup(func() { h.Host.Close() })
	l.hosts[addr] = h
	must(l.t, os.MkdirAll(filepath.Join(h.root, "bin"), 0o755))
	must(l.t, os.MkdirAll(filepath.Join(h.root, "etc"), 0o755))
	h.fake("uname", "echo host-"+strings.ReplaceAll(addr, ".", "-"))
	h.fake("getent", "exit 0")
	h.fake("systemctl", `echo "systemctl $*" >>"$ROOT/calls"; if [ "$1" = is-active ]; then echo activating; fi`)
	h.fake("journalctl", `cat "$ROOT/journal" 2>/dev/null`)
	h.fake("kubeadm", fmt.Sprintf(kubeadmFake, l.nodes, l.dir, addr))
	n, err := New(Options{Input: kubeadm.Input{Cluster: l.c}, Root: h.root, APITimeout: 50 * time.Millisecond, Program: filepath.Join(h.root, "bin/bundle")})
	must(l.t, err)
	l.n[addr] = n
	must(l.t, os.WriteFile(filepath.Join(l.dir, "admin.conf"), l.kubeconfig(), 0o600))
	h.fake("bundle", "BUNDLE_TEST_AGENT=1 exec "+os.Args[0]+` "$@"`)
}

// kubeadmFake does what the files fail-init, fail-join and so on, which hold
// an output, do not make it fail at.
const kubeadmFake = `
nodes=%s lab=%s addr=%s
echo "kubeadm $*" >>"$ROOT/calls"
stat -c '%%a %%n' "$CONFIG" "$CONFIG.issue" 2>/dev/null >>"$ROOT/modes"
k="$ROOT/etc/kubernetes"
mkdir -p "$k/pki" "$ROOT/var/lib/kubelet"
config=""
for a in "$@"; do if [ "$last" = --config ]; then config="$a"; fi; last="$a"; done
name="$(awk '/^  name:/ {print $2}' "$config" 2>/dev/null)"
case "$1" in
version) echo v1.34.4 ;;
init|join)
	if [ "$2" = phase ]; then cp "$config" "$ROOT/issued"; echo "[upload-certs] Using certificate key:"; grep certificateKey "$config"; exit; fi
	cp "$config" "$ROOT/$1.yaml"
	cp "$lab/admin.conf" "$k/kubelet.conf"
	if [ -e "$ROOT/fail-$1" ]; then cat "$ROOT/fail-$1"; rm "$ROOT/fail-$1"; exit 1; fi
	if [ "$1" = init ] || grep -q controlPlane: "$config"; then cp "$lab/admin.conf" "$k/"; cp "$lab/ca.crt" "$k/pki/ca.crt"; fi
	echo "$addr" >"$nodes/$name"
	;;
token) cp "$config" "$ROOT/issued"; grep token: "$config" ;;
reset) rm -rf "$k"/*.conf "$k/manifests" "$k/pki" "$ROOT"/var/lib/kubelet/* ;;
esac
`

func (h *testHost) fake(name, script string) {
	must(h.l.t, os.WriteFile(filepath.Join(h.root, "bin", name), []byte("#!/bin/bash\n"+script+"\n"), 0o755))
}

func (h *testHost) Run(ctx context.Context, c host.Command) error {
	if h.before != nil {
		h.before(c)
	}
	c.Script = "export PATH=" + h.root + "/bin:$PATH\n" + c.Script
	return h.Host.Run(ctx, c)
}

// DialContext leads to the one API server of the lab.
func (h *testHost) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr != "apiserver.cluster.local:6443" {
		return nil, fmt.Errorf("nobody listens on %s", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, network, h.l.srv.Listener.Addr().String())
}

func (h *testHost) file(p string) string { return filepath.Join(h.root, p) }

func (h *testHost) put(p, text string) {
	h.l.t.Helper()
	must(h.l.t, os.MkdirAll(filepath.Dir(h.file(p)), 0o755))
	must(h.l.t, os.WriteFile(h.file(p), []byte(text), 0o644))
}

func (h *testHost) get(p string) string {
	b, _ := os.ReadFile(h.file(p))
	return string(b)
}

// ran are the commands of kubeadm and systemctl that changed something, and
// forgets them.
func (h *testHost) ran() string {
	var list []string
	for line := range strings.Lines(h.get("calls")) {
		f := strings.Fields(line)
		if f[1] != "version" && f[1] != "is-active" {
			list = append(list, strings.Join(f[1:min(3, len(f))], " "))
		}
	}
	h.put("calls", "")
	return strings.Join(list, ", ")
}

func (l *lab) api(w http.ResponseWriter, r *http.Request) {
	if l.down {
		http.Error(w, "etcd is not there", http.StatusInternalServerError)
		return
	}
	if r.Header.Get("Authorization") != "Bearer admin" {
		http.Error(w, "who are you", http.StatusUnauthorized)
		return
	}
	name, isNode := strings.CutPrefix(r.URL.Path, "/api/v1/nodes/")
	if !isNode {
		fmt.Fprint(w, "ok")
		return
	}
	addr, err := os.ReadFile(filepath.Join(l.nodes, name))
	switch {
	case err != nil:
		http.NotFound(w, r)
	case r.Method == http.MethodDelete:
		_ = os.Remove(filepath.Join(l.nodes, name))
	default:
		fmt.Fprintf(w, `{"status":{"addresses":[{"type":"InternalIP","address":%q}],"conditions":[{"type":"Ready","status":"True"}]}}`, strings.TrimSpace(string(addr)))
	}
}

// kubeconfig is one of the lab's API server, under the name that hosts know.
func (l *lab) kubeconfig() []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: c
  cluster:
    certificate-authority-data: %s
    server: https://apiserver.cluster.local:6443
contexts: [{name: a, context: {cluster: c, user: u}}]
current-context: a
users: [{name: u, user: {token: admin}}]
`, base64.StdEncoding.EncodeToString(l.ca))
}

// authority makes the certificate of a cluster's CA, and the API server's.
func authority(t *testing.T) ([]byte, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	must(t, err)
	own := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"apiserver.cluster.local"}, NotAfter: ca.NotAfter}
	server, err := x509.CreateCertificate(rand.Reader, own, ca, key.Public(), key)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{server}, PrivateKey: key}
}

// said is everything that a host's scripts printed or that its log holds.
func (l *lab) said() string {
	var b strings.Builder
	for _, h := range l.hosts {
		b.WriteString(h.get("calls"))
		_ = filepath.Walk(h.logs, func(p string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				text, _ := os.ReadFile(p)
				b.Write(text)
			}
			return nil
		})
	}
	return b.String()
}

func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}
