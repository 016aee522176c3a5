package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// Files of a key pair: what is added to the prefix, and who may read them.
const (
	privateSuffix = ".key"
	publicSuffix  = ".pub"
	privateMode   = 0o600
	publicMode    = 0o644
)

// GenerateKey makes an ECDSA P-256 key pair as `cosign generate-key-pair`
// does: the private key encrypted with password (which may be empty) in a PEM
// block of type ENCRYPTED SIGSTORE PRIVATE KEY, the public key in PKIX PEM.
func GenerateKey(password []byte) (private, public []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("no key can be made: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("no key can be made: %w", err)
	}
	return keyPair(key, der, password)
}

// GenerateSM2 makes an SM2 key pair in the same form. cosign reads neither half
// of it.
func GenerateSM2(password []byte) (private, public []byte, err error) {
	key, err := sm2Scheme{}.generate()
	if err != nil {
		return nil, nil, fmt.Errorf("no key can be made: %w", err)
	}
	der, err := sm2Scheme{}.marshalPrivate(key)
	if err != nil {
		return nil, nil, fmt.Errorf("no key can be made: %w", err)
	}
	return keyPair(key, der, password)
}

// keyPair encrypts a private key and gives it with its public half.
func keyPair(key crypto.Signer, der, password []byte) (private, public []byte, err error) {
	defer clear(der)
	box, err := encrypted.Encrypt(der, password)
	if err != nil {
		return nil, nil, fmt.Errorf("the new key cannot be encrypted: %w", err)
	}
	pub, err := NewPublicKey("new key", key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: sigstoreKeyType, Bytes: box}), pub.PEM(), nil
}

// KeyFiles gives the names of the files that [WriteKeyPair] writes.
func KeyFiles(prefix string) (private, public string) {
	return prefix + privateSuffix, prefix + publicSuffix
}

// WriteKeyPair writes PREFIX.key (mode 0600) and PREFIX.pub (mode 0644),
// each whole or not at all. Without force it overwrites neither and the error
// wraps [ErrExists]: a lost private key cannot be had back.
func WriteKeyPair(prefix string, private, public []byte, force bool) error {
	privateFile, publicFile := KeyFiles(prefix)
	if !force {
		for _, name := range []string{privateFile, publicFile} {
			if _, err := os.Lstat(name); err == nil {
				return exists(name)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("key file %s cannot be written: %w", name, err)
			}
		}
	}
	if err := writeFile(privateFile, private, privateMode, force); err != nil {
		return err
	}
	return writeFile(publicFile, public, publicMode, force)
}

func exists(name string) error {
	return &fault{class: ErrExists, text: fmt.Sprintf("%s exists and would be overwritten; move it away, choose another name, or force it", name)}
}

// writeFile puts data under name in one step that survives a crash.
func writeFile(name string, data []byte, mode os.FileMode, force bool) (err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("key file %s cannot be written: %w", name, err)
	}
	temp := f.Name()
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temp)
			if !errors.Is(err, ErrExists) {
				err = fmt.Errorf("key file %s cannot be written: %w", name, err)
			}
		}
	}()
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if force {
		err = os.Rename(temp, name)
	} else {
		// A link, unlike a rename, fails if the name was taken meanwhile.
		if err = os.Link(temp, name); errors.Is(err, fs.ErrExist) {
			return exists(name)
		} else if err == nil {
			err = os.Remove(temp)
		} else {
			// Some file systems (FAT) know no links.
			err = os.Rename(temp, name)
		}
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
