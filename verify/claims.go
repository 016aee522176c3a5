package verify

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"time"

	"bundle/verify/sign"
)

// Claim is what one signature says of itself. Nothing of it is proven.
type Claim struct {
	// Name of the signature's member.
	Name string `json:"name"`
	// KeyID of the key that the signature names, in hex; empty if none.
	KeyID string `json:"keyID,omitempty"`
	// Identity and Issuer of the certificate, if there is one, and the time
	// in which it is valid.
	Identity  string     `json:"identity,omitempty"`
	Issuer    string     `json:"issuer,omitempty"`
	NotBefore *time.Time `json:"notBefore,omitempty"`
	NotAfter  *time.Time `json:"notAfter,omitempty"`
	// ThisIndex: the signature says that it is over this bundle's index.
	ThisIndex bool `json:"thisIndex"`
	// Problem says why the signature cannot be read.
	Problem string `json:"problem,omitempty"`
}

// Claims reads what the signatures of a bundle say of themselves, for people
// who want to know who signed before they decide whom to trust.
func Claims(index []byte, signatures [][]byte) []Claim {
	claims := make([]Claim, 0, len(signatures))
	for _, e := range embedded(signatures) {
		claims = append(claims, claim(index, e))
	}
	return claims
}

func claim(index []byte, e Evidence) Claim {
	c := Claim{Name: e.Name}
	m, err := sign.ParseMessage(e.Data)
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	c.ThisIndex = m.Covers(index)
	if m.Certificate == nil {
		if sum, err := base64.StdEncoding.DecodeString(m.Hint); err == nil {
			c.KeyID = hex.EncodeToString(sum)
		}
		return c
	}
	cert, err := x509.ParseCertificate(m.Certificate)
	if err != nil {
		c.Problem = "its certificate cannot be read"
		return c
	}
	c.Identity, c.Issuer = certificateNames(cert)
	c.NotBefore, c.NotAfter = &cert.NotBefore, &cert.NotAfter
	if key, err := sign.NewPublicKey(e.Name, cert.PublicKey); err == nil {
		c.KeyID = key.ID()
	}
	return c
}
