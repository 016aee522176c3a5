package sign

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
)

// fakeService is a key service in memory.
type fakeService struct {
	*signature.ECDSASignerVerifier
	broken bool
}

func (f fakeService) CreateKey(context.Context, string) (crypto.PublicKey, error) {
	return nil, errors.ErrUnsupported
}
func (f fakeService) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.ErrUnsupported
}
func (f fakeService) SupportedAlgorithms() []string { return nil }
func (f fakeService) DefaultAlgorithm() string      { return "" }
func (f fakeService) PublicKey(o ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return f.ECDSASignerVerifier.PublicKey(o...)
}

func (f fakeService) SignMessage(m io.Reader, o ...signature.SignOption) ([]byte, error) {
	if f.broken {
		return []byte("no signature"), nil
	}
	return f.ECDSASignerVerifier.SignMessage(m, o...)
}

// Keys of a service must sign with whatever hash the service has set for
// them, and a service that answers nonsense must not end up in a bundle.
func TestService(t *testing.T) {
	ctx := context.Background()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	kms.AddProvider("bundletest://", func(_ context.Context, ref string, _ crypto.Hash, _ ...signature.RPCOption) (kms.SignerVerifier, error) {
		if strings.HasSuffix(ref, "down") {
			return nil, errors.New("connection refused")
		}
		sv, err := signature.LoadECDSASignerVerifier(key, crypto.SHA384)
		return fakeService{sv, strings.HasSuffix(ref, "broken")}, err
	})
	s, err := LoadSigner(ctx, "bundletest://good", LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := SignIndex(ctx, s, []byte("index"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := LoadPublicKeys(ctx, "bundletest://good")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.VerifyWith(keys[0], []byte("index")); err != nil || m.Hash != crypto.SHA384 {
		t.Errorf("hash %v, error %v", m.Hash, err)
	}
	if s, err = LoadSigner(ctx, "bundletest://broken", LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := SignIndex(ctx, s, []byte("index")); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "bundletest://broken") {
		t.Errorf("error %v", err)
	}
	if _, err := LoadSigner(ctx, "bundletest://down", LoadOptions{}); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error %v", err)
	}
}
