package preflight

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bundle/install/host"
	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/cluster"
)

var update = flag.Bool("update", false, "rewrite golden files")

// shell runs commands with a shell of this machine, and nothing else.
type shell struct {
	argv []string
	host.Host
}

func (s shell) Run(ctx context.Context, c host.Command) error {
	cmd := exec.CommandContext(ctx, s.argv[0], s.argv[1:]...)
	cmd.Stdin = strings.NewReader(c.Script)
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	return cmd.Run()
}

// script answers with a text.
type script struct {
	host.Host
	answer string
	err    error
}

func (s script) Run(_ context.Context, c host.Command) error {
	_, _ = io.WriteString(c.Stdout, s.answer)
	return s.err
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func parse(t testing.TB, text string) *Facts {
	t.Helper()
	f, err := ParseFacts([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f.Before = f.Time.Add(-100 * time.Millisecond)
	f.After = f.Time.Add(100 * time.Millisecond)
	return f
}

// TestFactsOfThisMachine runs the script in every shell that is here and holds
// what it says against what the Go runtime and the kernel say.
func TestFactsOfThisMachine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, argv := range [][]string{{"bash"}, {"bash", "--posix"}, {"dash"}, {"mksh"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			continue
		}
		ran++
		t.Run(strings.Join(argv, " "), func(t *testing.T) {
			q := Query{
				Rootfs: "/var/lib/none/rootfs", Paths: []string{"/", "/var/lib/none/rootfs", "/dev/null/x"},
				Devices: []string{"/dev/none"}, Commands: []string{"sed", "no-such-command"}, Modules: []string{"no_such_module"},
			}
			f, err := Gather(t.Context(), shell{argv: argv}, q)
			if err != nil {
				t.Fatal(err)
			}
			if f.HostName != name || f.CPUs < 1 || f.Memory < 1<<20 || f.Kernel == "" || f.Platform.Arch == "" {
				t.Errorf("facts are %+v", f)
			}
			if off := time.Until(f.Time).Abs(); off > time.Minute {
				t.Errorf("the clock is off by %s", off)
			}
			if f.Time.Before(f.Before) || f.Time.After(f.After) {
				t.Errorf("time %s is not between %s and %s", f.Time, f.Before, f.After)
			}
			if len(f.Disks) != 3 || f.Disks[0].Size == 0 || f.Disks[1].Mount == "" || f.Disks[1].Free == 0 {
				t.Errorf("disks are %+v", f.Disks)
			}
			found := false
			for _, l := range f.Listeners {
				if int(l.Addr.Port()) == port {
					found = l.PID == os.Getpid() && l.Process != "" && l.Addr.Addr().IsLoopback()
				}
			}
			if !found {
				t.Errorf("our port %d is not among %+v", port, f.Listeners)
			}
			if !f.Commands["sed"] || f.Commands["no-such-command"] || f.Modules["no_such_module"] != "missing" {
				t.Errorf("commands %v, modules %v", f.Commands, f.Modules)
			}
			if len(f.Devices) != 1 || f.Devices[0].There {
				t.Errorf("devices are %+v", f.Devices)
			}
		})
	}
	if ran == 0 {
		t.Skip("no shell here")
	}
}

// TestFactsThroughARealHost sends the script the way an install does.
func TestFactsThroughARealHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("needs bash")
	}
	h := host.Local("127.0.0.1", host.Options{LogDir: t.TempDir()})
	defer h.Close()
	f, err := Gather(t.Context(), h, Query{Paths: []string{"/", "/var/lib/etcd"}, Commands: []string{"bash"}})
	if err != nil {
		t.Fatal(err)
	}
	if !f.Root || len(f.Disks) != 2 || !f.Commands["bash"] || f.Before.After(f.After) {
		t.Errorf("facts are %+v", f)
	}
	if c := clocksOf([]HostFacts{{Host: "127.0.0.1", Facts: f}}); c.skew(c.list[1]) != 0 {
		t.Errorf("our own clock is off by %s", c.skew(c.list[1]))
	}
}

// TestScriptTouchesNothing wants no command in the script that writes.
func TestScriptTouchesNothing(t *testing.T) {
	for i, line := range strings.Split(Script, "\n") {
		for _, word := range []string{"mktemp", "mkdir", "touch ", "tee ", "rm ", "dd ", ">>"} {
			if strings.Contains(line, word) {
				t.Errorf("gather.sh:%d: %s", i+1, line)
			}
		}
		rest := strings.NewReplacer("2>/dev/null", "", ">/dev/null", "", "2>&1", "").Replace(line)
		if strings.Contains(rest, ">") && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			t.Errorf("gather.sh:%d writes: %s", i+1, line)
		}
	}
}

// TestFactsOfKnownSystems reads what the script printed on systems that
// customers have.
func TestFactsOfKnownSystems(t *testing.T) {
	for _, name := range []string{"centos-7.9", "ubuntu-20.04", "debian-12", "kylin-v10"} {
		t.Run(name, func(t *testing.T) {
			f, err := ParseFacts([]byte(fixture(t, name)))
			if err != nil {
				t.Fatal(err)
			}
			f.Time = f.Time.UTC()
			got, err := json.MarshalIndent(struct {
				*Facts
				Platform  string
				Listeners []Listener
				Units     []Unit
				Links     []Link
				Routes    []string
			}{f, f.Platform.String(), f.Listeners, f.Units, f.Links, f.Routes}, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", got)
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	p := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(p, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference\n%s", name, got)
	}
}

// TestAnswersThatBreakOff wants an error and no half of the facts.
func TestAnswersThatBreakOff(t *testing.T) {
	whole := fixture(t, "debian-12")
	for name, answer := range map[string]string{
		"nothing":  "",
		"banner":   "Welcome\n",
		"cut":      whole[:len(whole)/2],
		"no begin": strings.Replace(whole, "=begin", "=other", 1),
		"endless":  whole + strings.Repeat(" x\n", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Gather(t.Context(), script{answer: answer}, Query{}); !errors.Is(err, ErrFacts) {
				t.Errorf("error is %v", err)
			}
		})
	}
	broken := errors.New("host 10.0.0.1: connection lost")
	if _, err := Gather(t.Context(), script{answer: whole, err: broken}, Query{}); !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Gather(ctx, script{answer: whole, err: fs.ErrClosed}, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// TestWholeSecondsWidenTheMoment: busybox has no nanoseconds.
func TestWholeSecondsWidenTheMoment(t *testing.T) {
	answer := strings.Replace(fixture(t, "debian-12"), "1767323044.923456789", fmt.Sprintf("%d.%%N", time.Now().Unix()), 1)
	f, err := Gather(t.Context(), script{answer: answer}, Query{})
	if err != nil {
		t.Fatal(err)
	}
	if c := clocksOf([]HostFacts{{Host: "h", Facts: f}}); c.skew(c.list[1]) != 0 {
		t.Errorf("skew is %s", c.skew(c.list[1]))
	}
}

func FuzzFacts(f *testing.F) {
	for _, name := range []string{"centos-7.9", "ubuntu-20.04", "debian-12", "kylin-v10"} {
		f.Add([]byte(fixture(f, name)))
	}
	f.Add([]byte("=begin\n=disk\n p /\n k a b 1 2 3 4% /x\n=clock\n 99999999999999999999.1\n=listen\n 0: 00:0 1 0A\n=end\n"))
	f.Add([]byte("=begin\n=os\n PRETTY_NAME=\"\x1b[31mred\x00\xff\"\n=uname\n \n \n=devices\n size 1\n d /dev/x\n size 9223372036854775807\n=end"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		facts, err := ParseFacts(answer)
		if err != nil {
			if !errors.Is(err, ErrFacts) {
				t.Fatal(err)
			}
			return
		}
		facts.Before, facts.After = facts.Time, facts.Time
		n := needs(t)
		n.Hosts = n.Hosts[:1]
		r := Judge(n, []HostFacts{{Host: n.Hosts[0].Address, Facts: facts}})
		var text bytes.Buffer
		if err := r.Text(&text, true); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsFunc(text.String(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }) {
			t.Errorf("a control character in %q", text.String())
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
	})
}

// contents is a small bundle for two platforms.
func contents() *manifest.Contents {
	return &manifest.Contents{
		Name: "demo", Version: "1.0", Platforms: []string{"linux/amd64", "linux/arm64"},
		Images: []manifest.Image{
			{Name: "registry.k8s.io/pause:3.9", Digest: "sha256:a", Platforms: []string{"linux/amd64", "linux/arm64"}, Size: 2 << 30},
			{Name: "example.com/pause:3.9", Digest: "sha256:a", Platforms: []string{"linux/amd64", "linux/arm64"}, Size: 2 << 30},
		},
		Files: []manifest.File{
			{Path: "bin/kubelet", Type: "file", Size: 100 << 20},
			{Path: "etc", Type: "dir"},
			{Path: "etc/kubeadm.yml", Type: "file", Size: 10},
		},
	}
}

func theCluster() *cluster.Cluster {
	c := &cluster.Cluster{Name: "my-cluster", DataRoot: cluster.DefaultDataRoot, Runtime: "containerd"}
	for i, role := range []string{cluster.RoleMaster, cluster.RoleNode, cluster.RoleNode, cluster.RoleNode} {
		c.Hosts = append(c.Hosts, cluster.Host{Address: fmt.Sprintf("10.0.0.%d", i+1), Roles: []string{role}})
	}
	return c
}

var steps = []plan.Step{
	{Step: manifest.Step{Kind: plan.KindBundlePlace}, Hosts: []string{"10.0.0.1"}},
	{Step: manifest.Step{Kind: plan.KindRegistryStart}, Hosts: []string{"10.0.0.1"}},
	{
		Step:   manifest.Step{Kind: plan.KindHostScript, Source: "Clusterfile:30"},
		Hosts:  []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"},
		Script: "# vgcreate on /dev/vdz is not done\nVG_DEV=/dev/vdc\nvgcreate open-local-pool-0 $VG_DEV\nls /dev/vdy\n",
	},
}

func needs(testing.TB) Needs {
	return NeedsOf(Inputs{
		Contents: contents(), BundleSize: 3 << 30, Cluster: theCluster(), Steps: steps,
		NodePorts: []int{30088, 10250}, KubeVersion: "v1.28.2",
	})
}

func four(t testing.TB) []HostFacts {
	var list []HostFacts
	for i, name := range []string{"centos-7.9", "ubuntu-20.04", "debian-12", "kylin-v10"} {
		f := parse(t, fixture(t, name))
		// All answers came within the same second.
		f.Before = time.Unix(1767323044, 0)
		f.After = time.Unix(1767323046, 0)
		list = append(list, HostFacts{Host: fmt.Sprintf("10.0.0.%d", i+1), Facts: f})
	}
	return list
}
