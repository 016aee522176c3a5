package host

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func TestEveryWayToLogIn(t *testing.T) {
	dir := t.TempDir()
	plain := newKeyFile(t, filepath.Join(dir, "plain"), "")
	locked := newKeyFile(t, filepath.Join(dir, "locked"), secret.Reveal())
	home := t.TempDir()
	own := newKeyFile(t, filepath.Join(home, ".ssh", "id_ed25519"), "")
	socket, inAgent := newAgent(t)
	for _, test := range []struct {
		name   string
		server func(*server)
		target func(*Target)
		option func(*Options)
	}{
		{name: "password", target: func(*Target) {}},
		{name: "password in a dialogue", server: func(s *server) { s.interactive = true }},
		{name: "key", server: func(s *server) { s.key, s.password = plain, "" },
			target: func(t *Target) { t.Password, t.KeyFile = "", filepath.Join(dir, "plain") }},
		{name: "key with password", server: func(s *server) { s.key, s.password = locked, "" },
			target: func(t *Target) {
				t.Password, t.KeyFile, t.KeyPassword = "", filepath.Join(dir, "locked"), secret
			}},
		{name: "key of the home folder", server: func(s *server) { s.key, s.password = own, "" },
			target: func(t *Target) { t.Password, t.KeyFile = "", "~/.ssh/id_ed25519" }},
		{name: "key is not known there, password is", server: func(s *server) { s.key = own },
			target: func(t *Target) { t.KeyFile = filepath.Join(dir, "plain") }},
		{name: "key does not exist, password does", target: func(t *Target) { t.KeyFile = "/no/such/key" }},
		{name: "default key", server: func(s *server) { s.key, s.password = own, "" },
			target: func(t *Target) { t.Password = "" }},
		{name: "agent", server: func(s *server) { s.key, s.password = inAgent, "" },
			target: func(t *Target) { t.Password = "" },
			option: func(o *Options) { o.Agent = socket }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			if test.server != nil {
				test.server(s)
			}
			target := s.start()
			if target.Password == "" {
				target.Password = "not used"
			}
			if test.target != nil {
				test.target(&target)
			}
			o := options(t)
			o.Home = home
			if test.option != nil {
				test.option(&o)
			}
			if got := output(t, mustDial(t, target, o), "echo in"); got != "in\n" {
				t.Errorf("got %q", got)
			}
		})
	}
}

// newAgent is an SSH agent with one key.
func newAgent(t *testing.T) (string, ssh.PublicKey) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(ring, c)
				_ = c.Close()
			}()
		}
	}()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return socket, s.PublicKey()
}

func TestRefusedLoginsSayWhy(t *testing.T) {
	dir := t.TempDir()
	known := newKeyFile(t, filepath.Join(dir, "known"), "")
	newKeyFile(t, filepath.Join(dir, "other"), "")
	newKeyFile(t, filepath.Join(dir, "locked"), "the pass phrase")
	if err := os.WriteFile(filepath.Join(dir, "garbage"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	newKeyFile(t, filepath.Join(home, ".ssh", "id_rsa"), "the pass phrase")
	dead := filepath.Join(t.TempDir(), "agent")
	for _, test := range []struct {
		name   string
		server func(*server)
		target Target
		option func(*Options)
		want   string
		hint   string
		conns  int
	}{
		{name: "wrong password", target: Target{Password: secret},
			want: "10.0.0.7 refuses the login of user root with the password", hint: "check", conns: 1},
		{name: "no passwords", target: Target{Password: secret}, server: func(s *server) { s.key, s.password = known, "" },
			want: "10.0.0.7 refuses the login of user root with the password, and takes no passwords at all", hint: "PasswordAuthentication", conns: 1},
		{name: "wrong key and password", target: Target{Password: secret, KeyFile: dir + "/other", User: "admin"}, server: func(s *server) { s.key = known },
			want: "10.0.0.7 refuses the login of user admin with the key " + dir + "/other and the password", hint: "check", conns: 1},
		{name: "no key file", target: Target{KeyFile: "/no/such/key"},
			want: "10.0.0.7 cannot be logged in to: the key file /no/such/key does not exist"},
		{name: "locked key", target: Target{KeyFile: dir + "/locked"},
			want: "10.0.0.7 cannot be logged in to: the key " + dir + "/locked is locked by a password, and none is given", hint: "agent"},
		{name: "locked key, wrong password", target: Target{KeyFile: dir + "/locked", KeyPassword: secret},
			want: "10.0.0.7 cannot be logged in to: the key " + dir + "/locked is locked by a password, and the one given does not open it"},
		{name: "no key in the file", target: Target{KeyFile: dir + "/garbage"},
			want: "10.0.0.7 cannot be logged in to: the key " + dir + "/garbage is not usable"},
		{name: "nothing at all", want: "10.0.0.7 cannot be logged in to: no password, no key file, no SSH agent and no default key"},
		{name: "default key is locked", option: func(o *Options) { o.Home = home },
			want: "10.0.0.7 cannot be logged in to: the SSH agent does not answer, the key " + home + "/.ssh/id_rsa cannot be used: is locked by a password, and none is given"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			if test.server != nil {
				test.server(s)
			}
			at := s.start()
			target := test.target
			target.Name, target.Address, target.Port = at.Name, at.Address, at.Port
			o := options(t)
			if test.option != nil {
				test.option(&o)
				o.Agent = dead
			}
			if test.name == "nothing at all" {
				t.Setenv("SSH_AUTH_SOCK", "")
				o.Agent = ""
			}
			_, err := Dial(t.Context(), target, o)
			var e *Error
			if !errors.Is(err, ErrAuth) || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), test.want) {
				t.Fatalf("got %q, want %q", err, test.want)
			}
			if e.Hint() == "" || !strings.Contains(e.Hint(), test.hint) {
				t.Errorf("the hint is %q", e.Hint())
			}
			if strings.Contains(err.Error()+e.Hint()+readLog(t, o, "10.0.0.7"), secret.Reveal()) {
				t.Error("the secret is told")
			}
			if s.count() != test.conns {
				t.Errorf("%d connections, want %d: a refused login must not be repeated", s.count(), test.conns)
			}
		})
	}
}
