package peers

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The three hosts of the multi-node profile. Nothing answers there, and
// nothing is to be asked.
var site = []string{
	"-f", "../../testdata/cnstack-ce/deploy/Clusterfile.multi",
	"--set", "MASTER_IP_1=192.0.2.1", "--set", "WORKER_IP_1=192.0.2.2", "--set", "WORKER_IP_2=192.0.2.3", "--set", "PASSWD=x",
}

// offline are the commands that must not need a network, with what the site
// engineer would give them.
func offline(t *testing.T) map[string][]string {
	t.Helper()
	on := func(args ...string) []string { return append(args, site...) }
	return map[string][]string{
		"verify":   {"verify", fix.product, "--key", fix.key},
		"inspect":  {"inspect", fix.product},
		"images":   {"images", fix.product},
		"steps":    {"steps", fix.product},
		"why":      {"why", "pause", fix.product},
		"extract":  {"extract", fix.product, "--to", filepath.Join(shortDir(t), "layout")},
		"plan":     on("plan", fix.product, "--key", fix.key),
		"rehearse": on("rehearse", fix.product, "--key", fix.key),
	}
}

// TestNoConnection watches the system calls: no command asks anybody but this
// machine's own loopback, not even a name server.
func TestNoConnection(t *testing.T) {
	need(t, "strace")
	for name, args := range offline(t) {
		t.Run(name, func(t *testing.T) {
			noneBeyondLoopback(t, straced(t, args...))
		})
	}
	t.Run("serve", func(t *testing.T) {
		trace := filepath.Join(shortDir(t), "trace")
		// -D: the signal that ends the server goes to it, not to strace.
		args := append(straceArgs(trace), "-D", fix.bundle, "serve", fix.product, "--key", fix.key, "--addr", "127.0.0.1:0", "-o", "json")
		addr, stop, err := startJSON(exec.Command("strace", args...))
		if err != nil {
			t.Fatal(err)
		}
		for _, img := range images(t, fix.product) {
			host, rest, _ := strings.Cut(img.Name, "/")
			repo := rest[:strings.LastIndex(rest, ":")]
			resp, err := http.Get("http://" + addr + "/v2/" + repo + "/manifests/" + img.Digest + "?ns=" + host)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", img.Name, resp.Status)
			}
		}
		stop()
		noneBeyondLoopback(t, trace)
	})
}

// TestWithoutNetwork runs them where there is none at all.
func TestWithoutNetwork(t *testing.T) {
	needRoot(t)
	need(t, "unshare", "ip")
	if out, err := exec.Command("unshare", "-n", "true").CombinedOutput(); err != nil {
		t.Skipf("no network namespace can be made: %s", out)
	}
	for name, args := range offline(t) {
		t.Run(name, func(t *testing.T) {
			run(t, "unshare", append([]string{"-n", "sh", "-c", `ip link set lo up && exec "$@"`, "sh", fix.bundle}, args...)...)
		})
	}
}

func straceArgs(file string) []string {
	return []string{"-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-e", "signal=none", "-o", file}
}

func straced(t *testing.T, args ...string) (trace string) {
	t.Helper()
	trace = filepath.Join(shortDir(t), "trace")
	if out, err := try(t, "strace", append(append(straceArgs(trace), fix.bundle), args...)...); err != nil {
		if strings.Contains(err.Error(), "PTRACE") {
			t.Skipf("nothing can be traced here: %v", err)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	return trace
}

var (
	family   = regexp.MustCompile(`sa_family=(AF_\w+)`)
	loopback = regexp.MustCompile(`inet_addr\("127\.\d+\.\d+\.\d+"\)|inet_pton\(AF_INET6, "(::1|::ffff:127\.\d+\.\d+\.\d+)"`)
)

// beyond tells whether a line of strace addresses anything but the kernel and
// this machine's loopback. What goes over a connection has no address of its
// own.
func beyond(line string) bool {
	m := family.FindStringSubmatch(line)
	return m != nil && m[1] != "AF_UNSPEC" && m[1] != "AF_NETLINK" && !loopback.MatchString(line)
}

func TestBeyond(t *testing.T) {
	for line, want := range map[string]bool{
		`1 connect(7, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.2")}, 16) = 0`:                                                                        true,
		`1 sendto(7, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, 16) = 1`:                                                               true,
		`1 connect(7, {sa_family=AF_UNIX, sun_path="/var/run/docker.sock"}, 23) = 0`:                                                                                           true,
		`1 connect(7, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "2001:db8::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 EINTR (x)`: true,
		`1 connect(7, {sa_family=AF_INET, sin_port=htons(5000), sin_addr=inet_addr("127.0.0.1")}, 16) = 0`:                                                                     false,
		`1 connect(7, {sa_family=AF_INET6, sin6_port=htons(5000), sin6_flowinfo=htonl(0), inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = 0`:                   false,
		`1 sendto(7, "\1", 1, 0, NULL, 0) = 1`:                                  false,
		`1 sendto(3, [{nlmsg_len=20}], 20, 0, {sa_family=AF_NETLINK}, 12) = 20`: false,
	} {
		if got := beyond(line); got != want {
			t.Errorf("beyond(%s) = %v", line, got)
		}
	}
}

func noneBeyondLoopback(t *testing.T, trace string) {
	t.Helper()
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if beyond(line) {
			t.Errorf("beyond this machine: %s", strings.TrimSpace(line))
		}
	}
}
