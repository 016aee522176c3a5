package site

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"bundle/install/host"
	"bundle/manifest/cluster"
	"bundle/registry/serve"
)

// secrets are what the servers of one cluster have in common.
type secrets struct {
	caCert, caKey []byte
	pool          *x509.CertPool
	user          string
	password      cluster.Secret
}

// authorization is the header that containerd sends; empty where everybody
// may pull.
func (c *secrets) authorization() string {
	if c.user == "" {
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.password.Reveal()))
}

// keeper reads or makes the secrets once.
type keeper struct {
	site *Site
	mu   sync.Mutex
	have *secrets
}

// login is registry.json, on the operator and on the servers.
type login struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

const (
	tlsFolder = "tls"
	loginFile = "registry.json"
	maxPEM    = 64 << 10
)

// Adopt takes over the authority and the password that an earlier install
// left on a server, where the operator's folder has none. It changes nothing
// on the host.
func (s *Site) Adopt(ctx context.Context, h host.Host) (Outcome, error) {
	s.secrets.mu.Lock()
	defer s.secrets.mu.Unlock()
	did, err := s.secrets.adopt(ctx, h)
	if did {
		return Outcome{Changed: true, Detail: "the registry's authority was taken over from the host"}, err
	}
	return Outcome{Detail: "nothing to take over"}, err
}

// Credentials gives the user and the password of the registry, and its
// certificate authority in PEM. The user is empty where everybody may pull.
// It errs where the registry was never started.
func (s *Site) Credentials() (user string, password cluster.Secret, ca []byte, err error) {
	c, err := s.secrets.get(context.Background(), nil)
	if err != nil {
		return "", "", nil, err
	}
	return c.user, c.password, c.caCert, nil
}

// get gives the secrets. On a server they are made where there are none.
func (k *keeper) get(ctx context.Context, server host.Host) (*secrets, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.have != nil {
		return k.have, nil
	}
	if !k.kept() {
		if server == nil {
			return nil, &Error{
				Text: fmt.Sprintf("%s has no certificate authority of the registry yet", k.dir()),
				Err:  ErrOptions, hint: "start the registry first: run the install with --from registry.start",
			}
		}
		if _, err := k.adopt(ctx, server); err != nil {
			return nil, err
		}
	}
	c, err := k.load()
	if err != nil {
		return nil, &Error{Text: "the registry's secrets cannot be kept: " + err.Error(), Err: err}
	}
	k.have = c
	return c, nil
}

func (k *keeper) dir() string { return filepath.Join(k.site.o.State, tlsFolder) }

// kept tells whether the operator's folder has an authority.
func (k *keeper) kept() bool {
	for _, n := range []string{"ca.crt", "ca.key"} {
		if _, err := os.Stat(filepath.Join(k.dir(), n)); err != nil {
			return false
		}
	}
	return true
}

// adopt copies a server's authority and password into the operator's folder.
func (k *keeper) adopt(ctx context.Context, h host.Host) (bool, error) {
	if k.kept() {
		return false, nil
	}
	p := k.site.p
	var data [3][]byte
	for i, name := range []string{p.caCert, p.caKey, p.secret} {
		b, err := h.ReadFile(ctx, name, maxPEM)
		if errors.Is(err, fs.ErrNotExist) {
			if i == 2 {
				continue
			}
			return false, nil
		}
		if err != nil {
			return false, wrapHost(ctx, h, "read "+name, err)
		}
		data[i] = b
	}
	pair, err := tls.X509KeyPair(data[0], data[1])
	if err != nil || !pair.Leaf.IsCA {
		// Half of a pair, from a crash: the server makes it anew.
		return false, nil
	}
	for i, name := range []string{filepath.Join(k.dir(), "ca.crt"), filepath.Join(k.dir(), "ca.key"), filepath.Join(k.site.o.State, loginFile)} {
		if data[i] == nil {
			continue
		}
		if err := writePrivate(name, data[i]); err != nil {
			return false, &Error{Text: "the registry's secrets cannot be kept: " + err.Error(), Err: err}
		}
	}
	return true, nil
}

// load reads the operator's folder and makes what is not there.
func (k *keeper) load() (*secrets, error) {
	if err := os.MkdirAll(k.site.o.State, 0o700); err != nil {
		return nil, err
	}
	if _, _, err := serve.OwnCertificate(k.dir(), nil); err != nil {
		return nil, err
	}
	c := &secrets{pool: x509.NewCertPool()}
	var err error
	if c.caCert, err = os.ReadFile(filepath.Join(k.dir(), "ca.crt")); err != nil {
		return nil, err
	}
	if c.caKey, err = os.ReadFile(filepath.Join(k.dir(), "ca.key")); err != nil {
		return nil, err
	}
	if !c.pool.AppendCertsFromPEM(c.caCert) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	r := k.site.o.Registry
	if r.Username == "" {
		return c, nil
	}
	c.user, c.password = r.Username, r.Password
	if c.password == "" {
		if c.password, err = k.password(); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// password gives the one that was made for the user, or makes it.
func (k *keeper) password() (cluster.Secret, error) {
	name := filepath.Join(k.site.o.State, loginFile)
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var l login
	if err == nil {
		if err := json.Unmarshal(data, &l); err != nil {
			return "", fmt.Errorf("%s cannot be understood: %w", name, err)
		}
	}
	if l.Username == k.site.o.Registry.Username && l.Password != "" && len(l.Password) <= maxPassword {
		return cluster.Secret(l.Password), nil
	}
	var random [24]byte
	_, _ = rand.Read(random[:])
	l = login{Username: k.site.o.Registry.Username, Password: base64.RawURLEncoding.EncodeToString(random[:])}
	data, _ = json.Marshal(l)
	return cluster.Secret(l.Password), writePrivate(name, append(data, '\n'))
}

// writePrivate puts a file of this machine for this user alone, in one step.
func writePrivate(name string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".bundle-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// secretFiles are what a server has to have of the secrets.
func (s *Site) secretFiles(c *secrets) []edit {
	list := []edit{
		own(s.p.caKey, 0o600, c.caKey),
		own(s.p.caCert, 0o644, c.caCert),
	}
	if c.user == "" {
		return list
	}
	l, _ := json.Marshal(login{Username: c.user, Password: c.password.Reveal()})
	return append(list,
		own(s.p.secret, 0o600, append(l, '\n')),
		edit{path: s.p.htpasswd, mode: 0o600, text: func(old []byte) ([]byte, error) { return htpasswd(old, c) }})
}

// htpasswd gives the server's password file; the old one where it is right,
// since every hash of the same password is another.
func htpasswd(old []byte, c *secrets) ([]byte, error) {
	prefix := []byte(c.user + ":")
	if hash, ok := bytes.CutPrefix(bytes.TrimSpace(old), prefix); ok && bytes.Count(old, []byte("\n")) == 1 {
		if bcrypt.CompareHashAndPassword(hash, []byte(c.password.Reveal())) == nil {
			return old, nil
		}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(c.password.Reveal()), bcrypt.DefaultCost)
	if err != nil {
		return nil, errors.New("cannot hold the registry's password")
	}
	return append(append(prefix, hash...), '\n'), nil
}

// pause waits, or ends early with the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
