package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is one machine: systemd as its first process, sshd, and a network, a
// file system and control groups of its own.
type Host struct {
	Name, IP string

	lan   *LAN
	ended chan struct{}
	cmd   *exec.Cmd
}

func (h *Host) dir() string       { return filepath.Join(h.lan.dir, h.Name) }
func (h *Host) root() string      { return filepath.Join(h.dir(), "root") }
func (h *Host) namespace() string { return h.lan.ID + "-" + h.Name }

// apart are folders that programs put file systems of their own on, so they
// must not lie on an overlay.
var apart = []string{"var/lib/containerd", "var/lib/kubelet", "var/lib/etcd"}

// prepare makes the host's network and file system.
func (h *Host) prepare(ctx context.Context) error {
	for _, d := range []string{"root", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(h.dir(), d), 0o755); err != nil {
			return err
		}
	}
	ns, lan := h.namespace(), h.lan.Namespace()
	for _, line := range []string{
		"ip netns add " + ns,
		"ip link add " + h.Name + " netns " + lan + " type veth peer name eth0 netns " + ns,
		"ip -n " + lan + " link set " + h.Name + " master br0 up",
		"ip -n " + ns + " link set lo up",
		"ip -n " + ns + " addr add " + h.IP + "/24 dev eth0",
		"ip -n " + ns + " link set eth0 up",
		// kubeadm picks the address of the default route; it leads nowhere.
		"ip -n " + ns + " route add default via " + operatorIP,
		"mount -t overlay overlay -o lowerdir=" + h.lan.base + ",upperdir=" + filepath.Join(h.dir(), "upper") +
			",workdir=" + filepath.Join(h.dir(), "work") + " " + h.root(),
	} {
		f := strings.Fields(line)
		if _, err := output(ctx, f[0], f[1:]...); err != nil {
			return err
		}
	}
	key, err := os.ReadFile(h.lan.KeyFile() + ".pub")
	if err != nil {
		return err
	}
	id, err := output(ctx, "systemd-id128", "new")
	if err != nil {
		return err
	}
	for path, content := range map[string]string{
		"etc/hostname":                            h.Name + "\n",
		"etc/hosts":                               "127.0.0.1 localhost\n" + h.IP + " " + h.Name + "\n",
		"etc/resolv.conf":                         "nameserver " + operatorIP + "\n",
		"etc/machine-id":                          id,
		"etc/ssh/sshd_config.d/root.conf":         "PermitRootLogin yes\nPasswordAuthentication yes\nUseDNS no\n",
		"root/.ssh/authorized_keys":               string(key),
		"etc/systemd/system/test-host.service":    testHostUnit,
		"usr/local/sbin/test-host":                testHostScript,
		"etc/systemd/system/ssh.service.d/x.conf": "[Service]\nEnvironment=SSHD_OPTS=\n",
	} {
		path = filepath.Join(h.root(), path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(h.root(), "root/.ssh"), 0o700); err != nil {
		return err
	}
	for _, d := range apart {
		if err := errors.Join(os.MkdirAll(filepath.Join(h.root(), d), 0o700), os.MkdirAll(h.apart(d), 0o700)); err != nil {
			return err
		}
	}
	wants := filepath.Join(h.root(), "etc/systemd/system/sysinit.target.wants")
	if err := os.MkdirAll(wants, 0o755); err != nil {
		return err
	}
	if err := os.Symlink("../test-host.service", filepath.Join(wants, "test-host.service")); err != nil {
		return err
	}
	// Hosts that were cloned would have all keys in common.
	keys, err := filepath.Glob(filepath.Join(h.root(), "etc/ssh/ssh_host_*"))
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := os.Remove(k); err != nil {
			return err
		}
	}
	if _, err := output(ctx, "ssh-keygen", "-A", "-f", h.root()); err != nil {
		return err
	}
	_, err = pipe(ctx, "root:"+Password+"\n", "chroot", h.root(), "chpasswd")
	return err
}

func (h *Host) apart(d string) string {
	return filepath.Join(h.dir(), strings.ReplaceAll(d, "/", "-"))
}

const testHostUnit = `[Unit]
Description=what makes this a host of a test
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /usr/local/sbin/test-host
`

// testHostScript makes the control groups writable, and hides the settings of
// the whole kernel behind files that hold what kubelet wants, so that it does
// not change the machine that the test runs on.
const testHostScript = `mount --make-rshared /
for c in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,rw,bind $c 2>/dev/null; done
mkdir -p /run/test-host/sys
# What /sys says of network interfaces has to be this host's, not the machine's.
mount -t sysfs sysfs /run/test-host/sys
for d in class/net devices/virtual/net; do mount --bind /run/test-host/sys/$d /sys/$d; done
umount /run/test-host/sys
for kv in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	f=/run/test-host/$(echo ${kv%=*} | tr / _)
	echo ${kv#*=} >$f
	mount --bind $f /proc/sys/${kv%=*}
done
exit 0
`

// Boot starts the host.
func (h *Host) Boot(ctx context.Context) error {
	console, err := os.OpenFile(filepath.Join(h.dir(), "console.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = console.Close() }()
	groups, err := h.controlGroups()
	if err != nil {
		return err
	}
	// The shell moves itself into the host's groups, then becomes its monitor.
	script := `for g in ` + strings.Join(groups, " ") + `; do echo $$ >$g/cgroup.procs; done; exec "$@"`
	args := []string{"-c", script, "sh", "systemd-nspawn", "-q", "--register=no", "--keep-unit", "--boot",
		"-M", h.namespace(), "-D", h.root(), "--hostname=" + h.Name, "--network-namespace-path=/run/netns/" + h.namespace(),
		"--capability=all", "--system-call-filter=@known", "--private-users=no", "--resolv-conf=off", "--timezone=off",
		"--link-journal=no", "--console=pipe", "--bind=/dev/kmsg"}
	for _, d := range apart {
		args = append(args, "--bind="+h.apart(d)+":/"+d)
	}
	h.cmd = exec.Command("sh", args...)
	h.cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=1")
	h.cmd.Stdout, h.cmd.Stderr = console, console
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	h.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		// The host dies with the thread that started it.
		runtime.LockOSThread()
		err := h.cmd.Start()
		started <- err
		if err == nil {
			_ = h.cmd.Wait()
		}
		close(h.ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("host %s does not start: %w", h.Name, err)
	}
	return nil
}

// hierarchies are the control group trees of this machine.
func hierarchies() []string {
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		return []string{"/sys/fs/cgroup"}
	}
	procs, _ := filepath.Glob("/sys/fs/cgroup/*/cgroup.procs")
	var out []string
	seen := map[string]bool{}
	for _, p := range procs {
		// cpu and cpuacct may be two names of one.
		d, err := filepath.EvalSymlinks(filepath.Dir(p))
		if err == nil && !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	return out
}

// controlGroups makes one of the host's own in every tree: without, all
// kubelets would share theirs.
func (h *Host) controlGroups() ([]string, error) {
	var groups []string
	for _, tree := range hierarchies() {
		g := filepath.Join(tree, h.namespace())
		if err := os.MkdirAll(g, 0o755); err != nil {
			return nil, err
		}
		for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
			if v, err := os.ReadFile(filepath.Join(tree, f)); err == nil {
				_ = os.WriteFile(filepath.Join(g, f), bytes.TrimSpace(v), 0o644)
			}
		}
		for f, v := range map[string]string{"cgroup.clone_children": "1", "memory.use_hierarchy": "1"} {
			if _, err := os.Stat(filepath.Join(g, f)); err == nil {
				_ = os.WriteFile(filepath.Join(g, f), []byte(v), 0o644)
			}
		}
		groups = append(groups, g)
	}
	return groups, nil
}

// wait returns when the host has booted and lets the operator in.
func (h *Host) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		out, err := h.Run(ctx, "systemctl is-system-running || true")
		if state := strings.TrimSpace(out); err == nil && (state == "running" || state == "degraded") {
			return nil
		}
		select {
		case <-h.ended:
			console, _ := os.ReadFile(filepath.Join(h.dir(), "console.log"))
			return fmt.Errorf("host %s ended:\n%s", h.Name, console)
		case <-ctx.Done():
			return fmt.Errorf("host %s lets nobody in (%s): %w", h.Name, strings.TrimSpace(out), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ssh is the command line that leads to the host.
func (h *Host) ssh() []string {
	return []string{"netns", "exec", h.lan.Namespace(), "ssh", "-i", h.lan.KeyFile(),
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
		"-o", "ConnectTimeout=3", "-o", "BatchMode=yes", "root@" + h.IP}
}

// Run runs a script on the host, as the operator does: by SSH.
func (h *Host) Run(ctx context.Context, script string) (string, error) {
	out, err := pipe(ctx, script, "ip", append(h.ssh(), "bash -s")...)
	if err != nil {
		return out, fmt.Errorf("on %s: %w", h.Name, err)
	}
	return out, nil
}

// Path is where a file of the host is seen from outside.
func (h *Host) Path(path string) string {
	for _, d := range apart {
		if rest, ok := strings.CutPrefix(path, "/"+d); ok && (rest == "" || rest[0] == '/') {
			return h.apart(d) + rest
		}
	}
	return h.root() + path
}

// PowerOff takes the host from the network at once, as pulling both plugs
// does: what is sent to it is lost.
func (h *Host) PowerOff(ctx context.Context) error {
	if _, err := output(ctx, "ip", "-n", h.lan.Namespace(), "link", "set", h.Name, "down"); err != nil {
		return err
	}
	err := killGroup(h.namespace())
	<-h.ended
	return err
}

// removeHost ends the host whose folder it is and removes what it had outside
// that folder.
func removeHost(ctx context.Context, id, dir string) error {
	name := id + "-" + filepath.Base(dir)
	if err := killGroup(name); err != nil {
		return err
	}
	_ = syscall.Unmount(filepath.Join(dir, "root"), syscall.MNT_DETACH)
	var problems []error
	if _, err := os.Stat("/run/netns/" + name); err == nil {
		_, err := output(ctx, "ip", "netns", "del", name)
		problems = append(problems, err)
	}
	for _, tree := range hierarchies() {
		problems = append(problems, removeGroup(filepath.Join(tree, name)))
	}
	return errors.Join(problems...)
}

// killGroup kills all processes of a host. Its monitor's death alone would
// leave it running.
func killGroup(name string) error {
	dir := filepath.Join(hierarchies()[0], name)
	for range 200 {
		var pids []int
		for _, g := range subgroups(dir) {
			raw, _ := os.ReadFile(filepath.Join(g, "cgroup.procs"))
			for _, f := range strings.Fields(string(raw)) {
				if pid, err := strconv.Atoi(f); err == nil {
					pids = append(pids, pid)
				}
			}
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("processes of %s do not end", name)
}

// subgroups gives a control group and all in it, outer ones first.
func subgroups(dir string) []string {
	var dirs []string
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, p)
		}
		return nil
	})
	return dirs
}

// removeGroup removes a control group and those in it, when their last
// processes have ended.
func removeGroup(dir string) error {
	var err error
	for range 100 {
		dirs := subgroups(dir)
		for i := len(dirs) - 1; i >= 0; i-- {
			_ = syscall.Rmdir(dirs[i])
		}
		if _, err = os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("control group %s is still in use", dir)
}
