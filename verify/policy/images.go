package policy

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/verify"
	"bundle/verify/sign"
)

// What cosign writes.
const (
	simpleSigning    = "application/vnd.dev.cosign.simplesigning.v1+json"
	signatureKey     = "dev.cosignproject.cosign/signature"
	payloadKind      = "cosign container image signature"
	sigstoreBundle   = "application/vnd.dev.sigstore.bundle."
	inTotoType       = "application/vnd.in-toto+json"
	cosignPredicate  = "https://sigstore.dev/cosign/sign/v1"
	statementTypeV1  = "https://in-toto.io/Statement/v1"
	statementTypeV01 = "https://in-toto.io/Statement/v0.1"
)

// Bounds on what is read of a signature.
const (
	maxManifest = 4 << 20
	maxPayload  = sign.MaxBundle
	maxLayers   = 100
	// maxImageReasons is how many images are named.
	maxImageReasons = 5
)

// signatureTag is the tag under which cosign finds the signatures of a digest.
var signatureTag = regexp.MustCompile(`^sha256-([0-9a-f]{64})\.sig$`)

// judgeImages checks the signatures that images brought along.
func (j *Judge) judgeImages(ctx context.Context, index *ocispec.Index, read verify.ReadBlob) ([]string, error) {
	if len(j.p.images) == 0 {
		return nil, nil
	}
	l := &looker{j: j, ctx: ctx, read: read, known: map[digest.Digest]map[*signer]bool{}}
	for _, r := range j.p.images {
		for _, s := range r.role.signers {
			if !slices.Contains(l.signers, s) {
				l.signers = append(l.signers, s)
			}
		}
	}
	now := j.o.Now()
	var reasons []string
	bad := 0
	for _, d := range index.Manifests {
		ref := d.Annotations[archive.AnnotationRef]
		if d.Annotations[archive.AnnotationKind] != archive.KindImage {
			continue
		}
		i := slices.IndexFunc(j.p.images, func(r imageRule) bool {
			return slices.ContainsFunc(r.match, func(p *pattern) bool { return p.image(ref) })
		})
		if i < 0 || j.p.images[i].unsigned {
			continue
		}
		r := j.p.images[i].role
		by, err := l.signed(index, d.Digest)
		if err != nil {
			return nil, fmt.Errorf("the signatures of image %.200q cannot be read: %w", ref, err)
		}
		reason := r.tally(now, j.revoked, func(s *signer) bool { return by[s] }).lack(r, "image "+printable(ref), now)
		if reason == "" {
			continue
		}
		if bad++; bad <= maxImageReasons {
			reasons = append(reasons, reason)
		}
	}
	if bad > maxImageReasons {
		reasons = append(reasons, fmt.Sprintf("and so have %d images more", bad-maxImageReasons))
	}
	return reasons, nil
}

// printable keeps control characters of a name away from a terminal.
func printable(s string) string { return strings.Trim(fmt.Sprintf("%.300q", s), `"`) }

// looker finds the signatures of images.
type looker struct {
	j       *Judge
	ctx     context.Context
	read    verify.ReadBlob
	signers []*signer
	// attached are the manifests that may hold signatures, by what they are
	// attached to; nil before they were listed.
	attached map[digest.Digest][]artifact
	// known are those who have signed a digest.
	known map[digest.Digest]map[*signer]bool
}

// artifact is the manifest of something that is attached.
type artifact struct {
	Subject *ocispec.Descriptor  `json:"subject"`
	Layers  []ocispec.Descriptor `json:"layers"`
}

// list reads the manifests of all that is attached.
func (l *looker) list(index *ocispec.Index) error {
	l.attached = map[digest.Digest][]artifact{}
	seen := map[digest.Digest]bool{}
	for _, d := range index.Manifests {
		if d.Annotations[archive.AnnotationKind] != archive.KindAttached || seen[d.Digest] {
			continue
		}
		ref := d.Annotations[archive.AnnotationRef]
		var of digest.Digest
		if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
			m := signatureTag.FindStringSubmatch(ref[i+1:])
			if m == nil {
				continue // an attestation or an SBOM
			}
			of = digest.NewDigestFromEncoded(digest.SHA256, m[1])
		}
		seen[d.Digest] = true
		if d.Digest.Validate() != nil {
			continue
		}
		raw, err := l.read(l.ctx, d.Digest, maxManifest)
		if err != nil {
			return err
		}
		var a artifact
		if json.Unmarshal(raw, &a) != nil || len(a.Layers) > maxLayers {
			continue
		}
		if of == "" && a.Subject != nil {
			of = a.Subject.Digest
		}
		l.attached[of] = append(l.attached[of], a)
	}
	return nil
}

// signed gives who of the signers has signed the image of a digest.
func (l *looker) signed(index *ocispec.Index, image digest.Digest) (map[*signer]bool, error) {
	if by, ok := l.known[image]; ok {
		return by, nil
	}
	if l.attached == nil {
		if err := l.list(index); err != nil {
			return nil, err
		}
	}
	by := map[*signer]bool{}
	if image.Validate() != nil {
		return by, nil
	}
	for _, a := range l.attached[image] {
		for _, layer := range a.Layers {
			old := layer.MediaType == simpleSigning
			if !old && !strings.HasPrefix(layer.MediaType, sigstoreBundle) || layer.Size > maxPayload || layer.Digest.Validate() != nil {
				continue
			}
			data, err := l.read(l.ctx, layer.Digest, maxPayload)
			if err != nil {
				return nil, err
			}
			if old {
				l.simple(by, image, data, layer.Annotations[signatureKey])
			} else {
				l.statement(by, image, data)
			}
		}
	}
	l.known[image] = by
	return by, nil
}

// simple is cosign's older form: a payload, and the signature in an
// annotation.
func (l *looker) simple(by map[*signer]bool, image digest.Digest, payload []byte, annotation string) {
	sig, err := base64.StdEncoding.DecodeString(annotation)
	if err != nil || len(sig) == 0 {
		return
	}
	for _, s := range l.signers {
		if s.key != nil && s.key.VerifyAnyHash(payload, sig) == nil && paysFor(payload, image) {
			by[s] = true
		}
	}
}

// paysFor tells whether a payload of cosign is about an image. It is asked
// only after the signature was checked.
func paysFor(payload []byte, image digest.Digest) bool {
	var p struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest digest.Digest `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	return json.Unmarshal(payload, &p) == nil && p.Critical.Type == payloadKind && p.Critical.Image.Digest == image
}

// statement is cosign's form since version 3: a Sigstore bundle with an
// in-toto statement that has the image as its subject. Only the predicate of a
// signature counts: an attestation may say that an image is bad.
func (l *looker) statement(by map[*signer]bool, image digest.Digest, data []byte) {
	env, err := sign.ParseEnvelope(data)
	if err != nil || env.PayloadType != inTotoType {
		return
	}
	for _, s := range l.signers {
		switch {
		case s.key != nil:
			if env.Certificate == nil && env.VerifyWith(s.key) == nil && states(env.Payload, image) {
				by[s] = true
			}
		case env.Certificate != nil:
			made, err := s.keyless.CheckStatement(image, verify.Evidence{Name: "the signature of an image", Data: data})
			if err == nil && !l.j.revoked.made(made) && states(env.Payload, image) {
				by[s] = true
			}
		}
	}
}

// states tells whether a statement of cosign is the signature of an image. It
// is asked only after the signature was checked.
func states(payload []byte, image digest.Digest) bool {
	var s struct {
		Type          string `json:"_type"`
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(payload, &s) != nil || s.PredicateType != cosignPredicate || s.Type != statementTypeV1 && s.Type != statementTypeV01 {
		return false
	}
	for _, subject := range s.Subject {
		if subject.Digest[image.Algorithm().String()] == image.Encoded() {
			return true
		}
	}
	return false
}
