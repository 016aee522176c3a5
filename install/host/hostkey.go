package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// maxKnownHosts bounds the file of pinned keys.
const maxKnownHosts = 16 << 20

// NewHostKey is a key that was pinned because the host had none.
type NewHostKey struct {
	// Host is what the user calls it, Address is with the port.
	Host, Address string
	// Type is the key's, such as ssh-ed25519; Fingerprint is SHA256:….
	Type, Fingerprint string
	// File is where it was pinned.
	File string
}

// keyring is a known_hosts file. All of a process share one for each path.
type keyring struct {
	path string
	mu   sync.Mutex
}

var keyrings sync.Map

func keyringAt(path string) *keyring {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	k, _ := keyrings.LoadOrStore(path, &keyring{path: path})
	return k.(*keyring)
}

// check asks the file about a key: nil if it is pinned, a
// [knownhosts.KeyError] with those that are if it is not.
func (k *keyring) check(addr string, key ssh.PublicKey) error {
	st, err := os.Stat(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return &knownhosts.KeyError{}
	}
	if err != nil {
		return err
	}
	if st.Size() > maxKnownHosts || !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no file of host keys", k.path)
	}
	ask, err := knownhosts.New(k.path)
	if err != nil {
		return err
	}
	return ask(addr, &net.TCPAddr{IP: net.IPv4zero}, key)
}

// pinned lists the keys of an address.
func (k *keyring) pinned(addr string) ([]knownhosts.KnownKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.check(addr, noKey{})
	if ke, ok := errors.AsType[*knownhosts.KeyError](err); ok {
		return ke.Want, nil
	}
	return nil, err
}

// pin adds a key in one step. It errs like check if another key came first.
func (k *keyring) pin(addr string, key ssh.PublicKey) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	dir := filepath.Dir(k.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := lockFile(k.path + ".lock")
	if err != nil {
		return err
	}
	defer unlock()
	err = k.check(addr, key)
	if ke, ok := errors.AsType[*knownhosts.KeyError](err); !ok || len(ke.Want) > 0 {
		return err
	}
	data, err := os.ReadFile(k.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(data) > 0 && !bytes.HasSuffix(data, []byte("\n")) {
		data = append(data, '\n')
	}
	data = append(data, knownhosts.Line([]string{addr}, key)+"\n"...)
	return replaceFile(k.path, data)
}

// replaceFile writes a file in one step.
func replaceFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// verify is the host key callback of one remote host.
func (r *remote) verify(addr string, _ net.Addr, key ssh.PublicKey) error {
	ring := keyringAt(r.o.KnownHosts)
	ring.mu.Lock()
	err := ring.check(addr, key)
	ring.mu.Unlock()
	print := ssh.FingerprintSHA256(key)
	if isUnknown(err) && r.o.Strict {
		return &Error{
			Host: r.name, Class: ErrHostKey,
			Reason: fmt.Sprintf("shows the %s key %s, and %s has none for %s", key.Type(), print, ring.path, addr),
			Next:   compareKey(key) + ", then add it to that file, or allow new keys",
		}
	}
	if isUnknown(err) {
		if err = ring.pin(addr, key); err == nil {
			r.log.note("pinned the %s key %s", key.Type(), print)
			r.o.OnNewHostKey(NewHostKey{Host: r.name, Address: addr, Type: key.Type(), Fingerprint: print, File: ring.path})
			return nil
		}
	}
	if err == nil {
		return nil
	}
	if ke, ok := errors.AsType[*knownhosts.KeyError](err); ok && len(ke.Want) > 0 {
		return r.wrongKey(addr, key.Type()+" key "+print, ke.Want, key)
	}
	if _, ok := errors.AsType[*knownhosts.RevokedError](err); ok {
		return &Error{
			Host: r.name, Class: ErrHostKey, Err: err,
			Reason: fmt.Sprintf("shows the %s key %s, which %s marks as revoked", key.Type(), print, ring.path),
			Next:   "give the host a new key, or reach the right host",
		}
	}
	return &Error{
		Host: r.name, Class: ErrHostKey, Err: err,
		Reason: fmt.Sprintf("shows a key that cannot be looked up or pinned in %s: %s", ring.path, printable(err.Error())),
		Next:   "mend that file, or name another one",
	}
}

// wrongKey is the error of a host that shows another key than before.
func (r *remote) wrongKey(addr, shown string, want []knownhosts.KnownKey, key ssh.PublicKey) error {
	var pinned []string
	for _, w := range want {
		pinned = append(pinned, fmt.Sprintf("%s (line %d of %s)", ssh.FingerprintSHA256(w.Key), w.Line, w.Filename))
	}
	return &Error{
		Host: r.name, Class: ErrHostKey,
		Reason: fmt.Sprintf("shows the %s, but pinned is %s: it was installed anew, or something else answers at its address",
			shown, strings.Join(pinned, ", ")),
		Next: fmt.Sprintf("%s; if it is right, forget the old one: ssh-keygen -R %s -f %s",
			compareKey(key), quote(knownhosts.Normalize(addr)), quote(r.o.KnownHosts)),
	}
}

// compareKey says how to see a host's own key.
func compareKey(key ssh.PublicKey) string {
	kind := "*"
	if key != nil {
		switch t := key.Type(); {
		case t == ssh.KeyAlgoED25519:
			kind = "ed25519"
		case t == ssh.KeyAlgoRSA:
			kind = "rsa"
		case strings.HasPrefix(t, "ecdsa-"):
			kind = "ecdsa"
		}
	}
	return "compare it on the host's own console: ssh-keygen -lf /etc/ssh/ssh_host_" + kind + "_key.pub"
}

// isUnknown tells whether the file has no key for the address.
func isUnknown(err error) bool {
	ke, ok := errors.AsType[*knownhosts.KeyError](err)
	return ok && len(ke.Want) == 0
}

// keyAlgorithms asks a host first for the kinds of keys that are pinned, so
// that one with several shows the one we know.
func keyAlgorithms(pinned []knownhosts.KnownKey) []string {
	all := ssh.SupportedAlgorithms().HostKeys
	var first []string
	for _, k := range pinned {
		switch t := k.Key.Type(); t {
		case ssh.KeyAlgoRSA:
			first = append(first, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			first = append(first, t)
		}
	}
	var list []string
	for _, a := range append(first, all...) {
		// Certificates of host keys are not looked at.
		if slices.Contains(all, a) && !slices.Contains(list, a) && !strings.Contains(a, "-cert-") {
			list = append(list, a)
		}
	}
	return list
}

// noKey is a key that nothing has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return []byte("none") }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }
