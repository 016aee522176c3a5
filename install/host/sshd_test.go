package host

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bundle/manifest/cluster"
)

// sshd is OpenSSH's server. Each connection gets one of its own, in a mount
// namespace with users that are only there.
type sshd struct {
	t      *testing.T
	dir    string
	target Target
	key    string // private key that root and the users let in

	mu    sync.Mutex
	procs map[*exec.Cmd]bool
	wg    sync.WaitGroup
}

// sshdPassword is that of all users.
const sshdPassword = "s3same open"

// newSSHD starts a server on a loopback port; config are further lines of its
// configuration, which win.
func newSSHD(t *testing.T, config ...string) *sshd {
	t.Helper()
	needRoot(t)
	for _, tool := range []string{"/usr/sbin/sshd", "sudo", "unshare", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if _, err := exec.LookPath("apt-get"); err != nil {
				t.Skipf("%s is missing, and there is no apt-get to install it", tool)
			}
			t.Fatalf("%s is missing: run scripts/test-deps.sh", tool)
		}
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("this machine gives no mount namespace, which keeps test users off it: %s", out)
	}
	s := &sshd{t: t, dir: t.TempDir(), procs: map[*exec.Cmd]bool{}}
	s.key = filepath.Join(s.dir, "id")
	pub := newKeyFile(t, s.key, "")
	s.write("authorized_keys", 0o644, pub.Type()+" "+base64Of(pub.Marshal())+"\n")
	newKeyFile(t, filepath.Join(s.dir, "host_key"), "")
	hash, err := exec.Command("openssl", "passwd", "-6", sshdPassword).Output()
	if err != nil {
		t.Fatal(err)
	}
	crypted := strings.TrimSpace(string(hash))
	passwd, shadow, group := "root:x:0:0:root:"+s.dir+"/root:/bin/bash\nsshd:x:990:65534::/run/sshd:/usr/sbin/nologin\n", "root:"+crypted+":19000:0:99999:7:::\nsshd:!:19000::::::\n", "root:x:0:\nnogroup:x:65534:\n"
	for i, user := range []string{"withpw", "nopw", "nosudo", "sh", "pty", "tty"} {
		home, shell := filepath.Join(s.dir, "home-"+user), "/bin/bash"
		if user == "sh" {
			shell = "/bin/sh"
		}
		id := 2000 + i
		passwd += fmt.Sprintf("%s:x:%d:%d::%s:%s\n", user, id, id, home, shell)
		shadow += fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", user, crypted)
		group += fmt.Sprintf("%s:x:%d:\n", user, id)
		if err := os.Mkdir(home, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = os.Chown(home, id, id)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "root"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("passwd", 0o644, passwd)
	s.write("shadow", 0o600, shadow)
	s.write("group", 0o644, group)
	s.write("sudoers", 0o440, "Defaults env_reset\nroot ALL=(ALL:ALL) ALL\nwithpw ALL=(ALL:ALL) ALL\nnopw ALL=(ALL:ALL) NOPASSWD: ALL\nsh ALL=(ALL:ALL) NOPASSWD: ALL\n"+
		"Defaults:pty use_pty\npty ALL=(ALL:ALL) ALL\nDefaults:tty requiretty\ntty ALL=(ALL:ALL) NOPASSWD: ALL\n")
	s.write("sshd_config", 0o644, strings.Join(append(config,
		"HostKey "+s.dir+"/host_key",
		"AuthorizedKeysFile "+s.dir+"/authorized_keys",
		"PermitRootLogin yes",
		"PasswordAuthentication yes",
		"KbdInteractiveAuthentication no",
		"UsePAM no",
		"StrictModes no",
		"UseDNS no",
		"LogLevel VERBOSE",
		"PidFile none",
	), "\n")+"\n")
	s.write("run.sh", 0o755, `set -e
mount -t tmpfs tmpfs /run
mkdir -m 0755 /run/sshd
for f in passwd shadow group sudoers; do mount --bind "$1/$f" /etc/$f; done
exec /usr/sbin/sshd -i -f "$1/sshd_config" -E "$1/log"
`)
	s.listen()
	return s
}

func (s *sshd) write(name string, mode os.FileMode, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

func (s *sshd) listen() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.target = Target{Name: "10.0.0.9", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, KeyFile: s.key}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.connection(c.(*net.TCPConn))
		}
	})
	s.t.Cleanup(func() {
		_ = l.Close()
		s.dropAll()
		s.wg.Wait()
		if s.t.Failed() {
			data, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Logf("sshd says:\n%s", data)
		}
	})
}

func (s *sshd) connection(c *net.TCPConn) {
	f, err := c.File()
	_ = c.Close()
	if err != nil {
		return
	}
	cmd := exec.Command("unshare", "-m", "--propagation", "private", "sh", s.dir+"/run.sh", s.dir)
	cmd.Stdin, cmd.Stdout = f, f
	stderr, _ := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	cmd.Stderr = stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	_ = f.Close()
	_ = stderr.Close()
	if err != nil {
		s.t.Errorf("sshd does not start: %v", err)
		return
	}
	s.mu.Lock()
	s.procs[cmd] = true
	s.mu.Unlock()
	s.wg.Go(func() {
		_ = cmd.Wait()
		s.mu.Lock()
		delete(s.procs, cmd)
		s.mu.Unlock()
	})
}

// dropAll kills the servers of all connections, as a crash of the host's sshd
// does. What they started goes on.
func (s *sshd) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cmd := range s.procs {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
}

// as is the target for another user, by password.
func (s *sshd) as(user string) Target {
	t := s.target
	t.User, t.KeyFile, t.Password = user, "", cluster.Secret(sshdPassword)
	return t
}

// TestRealSSHD does everything once against OpenSSH, as root by key and as a
// user by password and sudo.
func TestRealSSHD(t *testing.T) {
	s := newSSHD(t)
	for name, target := range map[string]Target{"root by key": s.target, "sudo with password": s.as("withpw")} {
		t.Run(name, func(t *testing.T) { exerciseHost(t, mustDial(t, target, options(t))) })
	}
}

func TestEveryUserBecomesRoot(t *testing.T) {
	s := newSSHD(t)
	for _, user := range []string{"root", "withpw", "nopw", "sh", "pty"} {
		t.Run(user, func(t *testing.T) {
			h := mustDial(t, s.as(user), options(t))
			if got := output(t, h, `echo "$(id -u) $HOME $PATH"; pwd`); got != "0 "+s.dir+"/root "+scriptPath+"\n"+s.dir+"/root\n" {
				t.Errorf("the script runs as %q", got)
			}
			exerciseStop(t, h)
			if user == "pty" {
				exerciseHost(t, h)
			}
		})
	}
}

func TestSudoThatSaysNo(t *testing.T) {
	s := newSSHD(t)
	_, err := Dial(soon(t), s.as("nosudo"), options(t))
	if !errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), "10.0.0.9 does not let the user become root by sudo: ") {
		t.Errorf("a user that may not gives %v", err)
	}
	_, err = Dial(soon(t), s.as("tty"), options(t))
	var e *Error
	if !errors.Is(err, ErrAuth) || !errors.As(err, &e) || !strings.Contains(e.Hint(), "requiretty") {
		t.Errorf("a user that needs a terminal gives %v", err)
	}
	wrong := s.as("withpw")
	wrong.SudoPassword = "not this one"
	_, err = Dial(soon(t), wrong, options(t))
	if !errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), "sudo") || strings.Contains(err.Error(), "not this") {
		t.Errorf("a wrong password gives %v", err)
	}
	// One wrong password is one wrong login, not three.
	if n := strings.Count(err.Error(), "incorrect"); n != 1 || !strings.Contains(err.Error(), "1 incorrect") {
		t.Errorf("sudo counted other than one: %v", err)
	}
}
