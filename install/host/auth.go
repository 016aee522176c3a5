package host

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"bundle/manifest/cluster"
)

// maxKeyFile bounds a private key.
const maxKeyFile = 1 << 20

// defaultKeys are tried in the user's .ssh folder, best first.
var defaultKeys = []string{"id_ed25519", "id_ecdsa", "id_rsa"}

// auth is what can be tried to log in.
type auth struct {
	methods []ssh.AuthMethod
	// tried names it for messages.
	tried []string
	// missing says what could not be used.
	missing []string
	close   func()
}

// auth prepares the ways to log in: the key and the password that were given,
// or else the agent and the user's own keys.
func (r *remote) auth() (*auth, error) {
	a := &auth{close: func() {}}
	t := r.target
	var signers []ssh.Signer
	switch {
	case t.KeyFile != "":
		path := r.expand(t.KeyFile)
		s, err := readKey(path, t.KeyPassword)
		// Clusterfiles often name a key that nobody made beside a password.
		if errors.Is(err, fs.ErrNotExist) && t.Password != "" {
			break
		}
		if err != nil {
			return nil, r.badKey(path, err)
		}
		signers = append(signers, s)
		a.tried = append(a.tried, "the key "+path)
	case t.Password == "":
		if s := a.agent(r.o.Agent); len(s) > 0 {
			signers = append(signers, s...)
			a.tried = append(a.tried, "the keys of the SSH agent")
		}
		for _, name := range defaultKeys {
			path := filepath.Join(r.o.Home, ".ssh", name)
			s, err := readKey(path, t.KeyPassword)
			switch {
			case err == nil:
				signers = append(signers, s)
				a.tried = append(a.tried, "the key "+path)
			case !errors.Is(err, fs.ErrNotExist):
				a.missing = append(a.missing, fmt.Sprintf("the key %s cannot be used: %s", path, err))
			}
		}
	}
	if len(signers) > 0 {
		a.methods = append(a.methods, ssh.PublicKeys(signers...))
	}
	if t.Password != "" {
		a.methods = append(a.methods,
			ssh.Password(t.Password.Reveal()),
			ssh.KeyboardInteractive(answer(t.Password)))
		a.tried = append(a.tried, "the password")
	}
	if len(a.methods) == 0 {
		reason := "cannot be logged in to: no password, no key file, no SSH agent and no default key"
		if len(a.missing) > 0 {
			reason = "cannot be logged in to: " + strings.Join(a.missing, ", ")
		}
		return nil, &Error{Host: r.name, Class: ErrAuth, Reason: reason,
			Next: "give a password or a key file for the host, or start an SSH agent"}
	}
	return a, nil
}

// expand gives ~/ its meaning.
func (r *remote) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(r.o.Home, rest)
	}
	return path
}

func (r *remote) badKey(path string, err error) error {
	e := &Error{Host: r.name, Class: ErrAuth, Err: err, Next: "name a private key of OpenSSH that you can read"}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Reason = fmt.Sprintf("cannot be logged in to: the key file %s does not exist", path)
	case errors.Is(err, errLocked):
		e.Reason = fmt.Sprintf("cannot be logged in to: the key %s %s", path, err)
		e.Next = "give the password of the key, or put it into the SSH agent"
	default:
		e.Reason = fmt.Sprintf("cannot be logged in to: the key %s is not usable: %s", path, printable(err.Error()))
	}
	return e
}

// errLocked is a key whose password is missing or wrong.
var errLocked = errors.New("is locked by a password")

// readKey reads a private key.
func readKey(path string, password cluster.Secret) (ssh.Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	s, err := ssh.ParsePrivateKey(data)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); !locked {
		return s, err
	}
	if password == "" {
		return nil, fmt.Errorf("%w, and none is given", errLocked)
	}
	if s, err = ssh.ParsePrivateKeyWithPassphrase(data, []byte(password.Reveal())); err != nil {
		return nil, fmt.Errorf("%w, and the one given does not open it", errLocked)
	}
	return s, nil
}

// agent gives the keys of the SSH agent, which stays connected until close.
func (a *auth) agent(socket string) []ssh.Signer {
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		a.missing = append(a.missing, "the SSH agent does not answer")
		return nil
	}
	a.close = func() { _ = conn.Close() }
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		a.missing = append(a.missing, "the SSH agent gives no keys")
	}
	return signers
}

// answer gives the password to every question whose answer is not shown.
func answer(password cluster.Secret) ssh.KeyboardInteractiveChallenge {
	return func(_, _ string, questions []string, echos []bool) ([]string, error) {
		answers := make([]string, len(questions))
		for i := range questions {
			if !echos[i] {
				answers[i] = password.Reveal()
			}
		}
		return answers, nil
	}
}
