package serve

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	caFile     = "ca.crt"
	caKeyFile  = "ca.key"
	certFile   = "server.crt"
	keyFile    = "server.key"
	caLifetime = 10 * 365 * 24 * time.Hour
	// leafLifetime is below the 398 days that some clients accept at most.
	leafLifetime = 397 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is made anew.
	renewBefore = 30 * 24 * time.Hour
	// clockSkew is how far a host's clock may be behind ours.
	clockSkew = 24 * time.Hour
)

var errPEM = errors.New("no such block in the file")

// LoadCertificate makes the TLS settings for a certificate and a key in PEM
// files. Errors wrap [ErrOptions].
func LoadCertificate(cert, key string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%w: the certificate %s with the key %s: %w", ErrOptions, cert, key, err)
	}
	return modern(&tls.Config{Certificates: []tls.Certificate{pair}}), nil
}

// modern leaves only what keeps its secrets when the key is lost later and is
// authenticated as it is encrypted: TLS 1.3, and of 1.2 what is as good.
func modern(c *tls.Config) *tls.Config {
	c.MinVersion = tls.VersionTLS12
	c.CipherSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	return c
}

// OwnCertificate makes the TLS settings of a server with a certificate
// authority of its own, kept in dir: ca.crt is what clients must trust. On
// first use it makes an authority (ECDSA P-256, 10 years) and a certificate
// for every address and name of this host, for localhost and for names, which
// may be IP addresses too. Later it uses them again, and makes a new
// certificate when the old one comes near its end, also while the server runs,
// or does not cover a name or an address. It returns the path of ca.crt.
// Errors wrap [ErrOptions].
func OwnCertificate(dir string, names []string) (*tls.Config, string, error) {
	o := &ownTLS{dir: dir, names: append(localSANs(), names...), now: time.Now}
	if err := o.load(); err != nil {
		return nil, "", fmt.Errorf("%w: the server's own certificate in %s: %w", ErrOptions, dir, err)
	}
	return modern(&tls.Config{GetCertificate: o.certificate}), filepath.Join(dir, caFile), nil
}

// localSANs are the names and addresses under which this host may be reached.
func localSANs() []string {
	sans := []string{"localhost", "127.0.0.1", "::1"}
	if h, err := os.Hostname(); err == nil && h != "" {
		sans = append(sans, h)
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return sans
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			sans = append(sans, n.IP.String())
		}
	}
	return sans
}

type ownTLS struct {
	dir   string
	names []string
	now   func() time.Time

	mu   sync.Mutex
	leaf *tls.Certificate
}

func (o *ownTLS) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.now().Add(renewBefore).After(o.leaf.Leaf.NotAfter) {
		if err := o.loadLocked(); err != nil && o.now().After(o.leaf.Leaf.NotAfter) {
			return nil, err
		}
	}
	return o.leaf, nil
}

func (o *ownTLS) load() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.loadLocked()
}

func (o *ownTLS) loadLocked() error {
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	ca, err := o.authority()
	if err != nil {
		return err
	}
	leaf, err := readPair(filepath.Join(o.dir, certFile), filepath.Join(o.dir, keyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if leaf == nil || !o.usable(leaf.Leaf, ca.Leaf) {
		if leaf, err = o.issue(ca); err != nil {
			return err
		}
	}
	o.leaf = leaf
	return nil
}

// authority reads the authority, or makes it. One that ends soon is replaced;
// its ten years make that a matter of clients set up anew.
func (o *ownTLS) authority() (*tls.Certificate, error) {
	cert, key := filepath.Join(o.dir, caFile), filepath.Join(o.dir, caKeyFile)
	ca, err := readPair(cert, key)
	if err == nil && o.now().Add(renewBefore).Before(ca.Leaf.NotAfter) {
		return ca, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	host, _ := os.Hostname() // only a hint for who reads the certificate
	tpl := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "bundle registry CA", Organization: []string{host}},
		NotAfter:              o.now().Add(caLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	return o.create(tpl, nil, cert, key)
}

func (o *ownTLS) issue(ca *tls.Certificate) (*tls.Certificate, error) {
	tpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "bundle registry"},
		NotAfter:    o.now().Add(leafLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if tpl.NotAfter.After(ca.Leaf.NotAfter) {
		tpl.NotAfter = ca.Leaf.NotAfter
	}
	names := slices.Clone(o.names)
	slices.Sort(names)
	for _, n := range slices.Compact(names) {
		if ip := net.ParseIP(n); ip != nil {
			tpl.IPAddresses = append(tpl.IPAddresses, ip)
		} else if n != "" {
			tpl.DNSNames = append(tpl.DNSNames, n)
		}
	}
	return o.create(tpl, ca, filepath.Join(o.dir, certFile), filepath.Join(o.dir, keyFile))
}

// create signs tpl with parent, or with itself, and keeps both files. The key
// goes first: a crash in between leaves a pair that does not fit, which reads
// as if there was none.
func (o *ownTLS) create(tpl *x509.Certificate, parent *tls.Certificate, cert, key string) (*tls.Certificate, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if tpl.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, err
	}
	tpl.NotBefore = o.now().Add(-clockSkew)
	issuer, signer := tpl, crypto.PrivateKey(priv)
	if parent != nil {
		issuer, signer = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, issuer, priv.Public(), signer)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, err
	}
	if err := writeFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})); err != nil {
		return nil, err
	}
	if err := writeFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return nil, err
	}
	return readPair(cert, key)
}

// usable tells whether the leaf is of this authority, not near its end, and
// good for every name.
func (o *ownTLS) usable(leaf, ca *x509.Certificate) bool {
	if leaf.CheckSignatureFrom(ca) != nil || o.now().Add(renewBefore).After(leaf.NotAfter) {
		return false
	}
	for _, n := range o.names {
		if n != "" && leaf.VerifyHostname(n) != nil {
			return false
		}
	}
	return true
}

// readPair gives fs.ErrNotExist also for a pair that does not fit.
func readPair(cert, key string) (*tls.Certificate, error) {
	certPEM, err := os.ReadFile(cert)
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	if b, _ := pem.Decode(certPEM); b == nil {
		return nil, fmt.Errorf("%s: %w", cert, errPEM)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", cert, fs.ErrNotExist, err)
	}
	return &pair, nil
}

// writeFile puts b under name for this user alone, whole or not at all.
func writeFile(name string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
