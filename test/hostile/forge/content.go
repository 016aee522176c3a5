package forge

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
)

// Media types of the content.
const (
	typeIndex     = "application/vnd.oci.image.index.v1+json"
	typeManifest  = "application/vnd.oci.image.manifest.v1+json"
	typeConfig    = "application/vnd.oci.image.config.v1+json"
	typeLayer     = "application/vnd.oci.image.layer.v1.tar"
	typeLayerGzip = "application/vnd.oci.image.layer.v1.tar+gzip"
	typeLayout    = "application/vnd.bundle.layout.v1+json"
	typeInventory = "application/vnd.bundle.config.v1+json"
)

func digestOf(p []byte) string {
	sum := sha256.Sum256(p)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Descriptor names a blob. Fields are in OCI's order.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    map[string]string `json:"platform,omitempty"`
}

// Index is an OCI index.
type Index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Manifest is an OCI manifest.
type Manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	ArtifactType  string       `json:"artifactType,omitempty"`
	Config        Descriptor   `json:"config"`
	Layers        []Descriptor `json:"layers"`
}

// object is JSON whose fields json sorts by name.
type object map[string]any

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types, so a fault of this program
	}
	return b
}

func describe(mediaType string, content []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: digestOf(content), Size: int64(len(content))}
}

// key makes the private key of a name, the same every time.
func key(name string) *ecdsa.PrivateKey {
	sum := sha256.Sum256([]byte("bundle test vectors, to be trusted by nobody: " + name))
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
	if err != nil {
		panic(err)
	}
	return k
}

func publicDER(k *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic(err)
	}
	return der
}

// PublicKey is the key that the vectors are signed with, in PEM.
func PublicKey() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(key(trusted))})
}

// trusted is the name of that key, stranger of another.
const (
	trusted  = "trusted"
	stranger = "stranger"
)

// sign makes a Sigstore bundle over message.
func sign(name string, message []byte) []byte {
	return encode(signature(name, message))
}

func signature(name string, message []byte) object {
	k := key(name)
	sum := sha256.Sum256(message)
	// Without randomness the signature is RFC 6979's.
	sig, err := k.Sign(nil, sum[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	hint := sha256.Sum256(publicDER(k))
	b64 := base64.StdEncoding.EncodeToString
	return object{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"messageSignature":     object{"messageDigest": object{"algorithm": "SHA2_256", "digest": b64(sum[:])}, "signature": b64(sig)},
		"verificationMaterial": object{"publicKey": object{"hint": b64(hint[:])}},
	}
}

// layerTar is a tar of one file of zeros, more than 1 MiB, so that it is packed
// into two frames.
func layerTar() []byte {
	const size = 1<<20 + 70<<10
	return bytes.Join([][]byte{ustar("etc/zeros", size, '0'), make([]byte, size+1024)}, nil)
}
