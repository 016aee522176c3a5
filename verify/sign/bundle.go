package sign

import (
	"bytes"
	"crypto"
	"encoding/json"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// MediaType is the one version of Sigstore bundles that is made and taken.
const MediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// MaxBundle bounds a Sigstore bundle, in bytes (docs/format.md).
const MaxBundle = 1 << 20

// maxDepth bounds how deep the JSON of a bundle nests; a real one has 9.
const maxDepth = 32

func newBundle(key *PublicKey, message, sig []byte, hash crypto.Hash) ([]byte, error) {
	algorithm := map[crypto.Hash]protocommon.HashAlgorithm{
		crypto.SHA256: protocommon.HashAlgorithm_SHA2_256,
		crypto.SHA384: protocommon.HashAlgorithm_SHA2_384,
		crypto.SHA512: protocommon.HashAlgorithm_SHA2_512,
	}[hash]
	sum, err := hashOf(hash, message)
	if err != nil {
		return nil, err
	}
	return encode(&protobundle.Bundle{
		MediaType:            MediaType,
		VerificationMaterial: keyMaterial(key),
		Content: &protobundle.Bundle_MessageSignature{
			MessageSignature: &protocommon.MessageSignature{
				MessageDigest: &protocommon.HashOutput{Algorithm: algorithm, Digest: sum},
				Signature:     sig,
			},
		},
	})
}

// keyMaterial names a key in a bundle.
func keyMaterial(key *PublicKey) *protobundle.VerificationMaterial {
	return &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{Hint: key.Hint()},
		},
	}
}

// Canonical gives the one spelling of a Sigstore bundle that an archive may
// hold: the protobuf JSON mapping with sorted keys, no white space and no
// escapes that are not needed. Bundles of other tools go through it before
// they are added. Errors wrap [ErrBundle].
func Canonical(data []byte) ([]byte, error) {
	b, err := parse(data)
	if err != nil {
		return nil, err
	}
	return encode(b)
}

// Check makes sure that data is a Sigstore bundle in canonical form. Errors
// wrap [ErrBundle].
func Check(data []byte) error {
	canonical, err := Canonical(data)
	if err != nil {
		return err
	}
	if !bytes.Equal(canonical, data) {
		return &fault{class: ErrBundle, text: "it is not written in canonical form"}
	}
	return nil
}

func parse(data []byte) (*protobundle.Bundle, error) {
	if len(data) > MaxBundle {
		return nil, &fault{class: ErrBundle, text: fmt.Sprintf("it is longer than %d bytes", MaxBundle)}
	}
	if depth(data) > maxDepth {
		return nil, &fault{class: ErrBundle, text: "its JSON nests too deep"}
	}
	b := new(protobundle.Bundle)
	if err := protojson.Unmarshal(data, b); err != nil {
		return nil, &fault{class: ErrBundle, text: "it is no Sigstore bundle in JSON", cause: err}
	}
	if b.GetMediaType() != MediaType {
		return nil, &fault{class: ErrBundle, text: fmt.Sprintf("it has media type %.80q, not %s", b.GetMediaType(), MediaType)}
	}
	return b, nil
}

// depth gives how deep JSON nests, without trusting that it is well-formed.
func depth(data []byte) (deepest int) {
	open, inString, escaped := 0, false, false
	for _, c := range data {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case c == '}' || c == ']':
			open--
		}
	}
	return deepest
}

// encode writes canonical JSON. protojson promises no stable bytes (it even
// adds spaces at random), so its output is read back and written by
// encoding/json, which sorts keys.
func encode(b *protobundle.Bundle) ([]byte, error) {
	loose, err := protojson.Marshal(b)
	if err != nil {
		return nil, &fault{class: ErrBundle, text: "it cannot be written as JSON", cause: err}
	}
	var value any
	d := json.NewDecoder(bytes.NewReader(loose))
	d.UseNumber()
	if err = d.Decode(&value); err != nil {
		return nil, &fault{class: ErrBundle, text: "it cannot be written as JSON", cause: err}
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err = e.Encode(value); err != nil {
		return nil, &fault{class: ErrBundle, text: "it cannot be written as JSON", cause: err}
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
