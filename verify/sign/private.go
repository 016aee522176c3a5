package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// PEM types of cosign's private keys: what it writes now, and what it wrote
// up to version 1.
const (
	sigstoreKeyType = "ENCRYPTED SIGSTORE PRIVATE KEY"
	cosignKeyType   = "ENCRYPTED COSIGN PRIVATE KEY"
)

// PasswordFunc gives the password of the private key called name. It is
// called only for encrypted keys.
type PasswordFunc func(ctx context.Context, name string) ([]byte, error)

// LoadOptions say how [LoadSigner] opens a key. The zero value knows no
// password and warns nobody.
type LoadOptions struct {
	// Password is asked for the password of an encrypted key; nil means the
	// empty one.
	Password PasswordFunc
	// AtHand says that asking Password bothers nobody: it is asked first, and
	// what it gives is the only password that is tried. Else a person is asked
	// only for keys that the empty password does not open. Each try costs a
	// scrypt: some 64 MiB and a tenth of a second.
	AtHand bool
	// Warn is told, in one sentence, when other users may read the key file.
	Warn func(text string)
}

// LoadSigner opens the private key at ref: a file, env://VARIABLE, or the URI
// of a key management service whose sigstore provider the program imports.
//
// Files and variables hold PEM: cosign's encrypted keys (either PEM type), or
// ECDSA, Ed25519 and RSA keys that are not encrypted, as PKCS#8, SEC 1 or
// PKCS#1. Errors wrap [ErrKey] or [ErrPassword], name ref and never show
// anything of the key.
func LoadSigner(ctx context.Context, ref string, o LoadOptions) (*Signer, error) {
	if isService(ref) {
		sv, err := service(ctx, ref)
		if err != nil {
			return nil, err
		}
		public, err := servicePublicKey(ctx, ref, sv)
		if err != nil {
			return nil, err
		}
		return &Signer{public: public, service: sv}, nil
	}
	data, err := readKey(ref, o.Warn)
	if err != nil {
		return nil, err
	}
	key, err := parsePrivateKey(ctx, ref, data, o)
	if err != nil {
		return nil, err
	}
	return NewSigner(ref, key)
}

// parsePrivateKey reads the first PEM block that is no mere parameter.
func parsePrivateKey(ctx context.Context, name string, data []byte, o LoadOptions) (crypto.Signer, error) {
	block, rest := pem.Decode(data)
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, &fault{class: ErrKey, text: name + " holds no PEM private key"}
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, &fault{class: ErrKey, text: name + " holds something besides the private key; give the key a file of its own"}
	}
	if _, old := block.Headers["DEK-Info"]; old {
		return nil, encryptedElsewhere(name)
	}
	der := block.Bytes
	var key any
	var err error
	switch block.Type {
	case sigstoreKeyType, cosignKeyType:
		if der, err = decrypt(ctx, name, der, o); err != nil {
			return nil, err
		}
		key, err = parsePKCS8(der)
	case "PRIVATE KEY":
		key, err = parsePKCS8(der)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(der)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(der)
	default:
		return nil, wrongBlock(name, block.Type)
	}
	if err != nil {
		// The parser's own words may quote key bytes; they stay out.
		return nil, &fault{class: ErrKey, text: name + " holds a private key that cannot be read; it is damaged or of an unknown kind"}
	}
	if signer, ok := key.(crypto.Signer); ok && schemeOf(key) != nil {
		return signer, nil
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	case *rsa.PrivateKey:
		return k, nil
	}
	return nil, &fault{class: ErrKey, text: fmt.Sprintf("%s holds a key of type %T; ECDSA, Ed25519, RSA and SM2 are supported", name, key)}
}

func parsePKCS8(der []byte) (any, error) {
	key, err := parseScheme(func(s scheme) (crypto.Signer, error) { return s.parsePrivate(der) })
	if errors.Is(err, errOtherScheme) {
		return x509.ParsePKCS8PrivateKey(der)
	}
	return key, err
}

func decrypt(ctx context.Context, name string, box []byte, o LoadOptions) ([]byte, error) {
	if !o.AtHand || o.Password == nil {
		der, err := encrypted.Decrypt(box, nil)
		switch {
		case err == nil:
			return der, nil
		case !wrongPassword(err):
			return nil, unreadableBox(name, err)
		case o.Password == nil:
			return nil, &fault{class: ErrPassword, text: name + " is encrypted and no password was given"}
		}
	}
	pass, err := o.Password(ctx, name)
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	der, err := encrypted.Decrypt(box, pass)
	switch {
	case err == nil:
		return der, nil
	case !wrongPassword(err):
		return nil, unreadableBox(name, err)
	case len(pass) == 0:
		return nil, &fault{class: ErrPassword, text: "the password, which is empty, does not open " + name}
	}
	return nil, &fault{class: ErrPassword, text: "the password does not open " + name}
}

func unreadableBox(name string, err error) error {
	return &fault{class: ErrKey, text: fmt.Sprintf("%s holds an encrypted private key that cannot be read: %v", name, err), cause: err}
}

// wrongPassword tells the failure of a sound box apart from a damaged box,
// for which asking a person would be in vain. The library has no sentinel.
func wrongPassword(err error) bool {
	return strings.HasSuffix(err.Error(), "decryption failed")
}

func isPrivateBlock(pemType string) bool { return strings.HasSuffix(pemType, "PRIVATE KEY") }

// wrongBlock says what a PEM block is, where it is no private key we read.
func wrongBlock(name, pemType string) error {
	switch pemType {
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return &fault{class: ErrKey, text: fmt.Sprintf("%s holds a public key, and signing takes the private one (probably %s)", name, otherHalf(name))}
	case "CERTIFICATE":
		return &fault{class: ErrKey, text: name + " holds a certificate, and signing takes a private key"}
	case "ENCRYPTED PRIVATE KEY":
		return encryptedElsewhere(name)
	case "OPENSSH PRIVATE KEY":
		return &fault{class: ErrKey, text: name + " holds an OpenSSH key; convert a copy of it with: ssh-keygen -p -m PKCS8 -f COPY"}
	}
	return &fault{class: ErrKey, text: fmt.Sprintf("%s holds a PEM block of type %q, not a private key", name, pemType)}
}

func encryptedElsewhere(name string) error {
	return &fault{class: ErrKey, text: name + " holds a key encrypted by another tool; import it with: cosign import-key-pair --key " + name}
}

// otherHalf guesses the file of the other half of a key pair.
func otherHalf(name string) string {
	stem := strings.TrimSuffix(name, filepath.Ext(name))
	if filepath.Ext(name) == ".pub" {
		return stem + ".key"
	}
	return stem + ".pub"
}
