package policy

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"go.yaml.in/yaml/v3"

	"bundle/archive"
	"bundle/internal/authority"
	"bundle/verify"
	"bundle/verify/sign"
)

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func scalar(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// store is the content of a bundle in memory.
type store struct {
	t     *testing.T
	w     who
	blobs map[digest.Digest][]byte
	index ocispec.Index
}

func newStore(t *testing.T, w who) *store {
	return &store{t: t, w: w, blobs: map[digest.Digest][]byte{}}
}

func (s *store) put(data []byte) ocispec.Descriptor {
	d := digest.FromBytes(data)
	s.blobs[d] = data
	return ocispec.Descriptor{Digest: d, Size: int64(len(data))}
}

func (s *store) entry(d ocispec.Descriptor, kind, ref string) {
	d.Annotations = map[string]string{archive.AnnotationKind: kind, archive.AnnotationRef: ref}
	s.index.Manifests = append(s.index.Manifests, d)
}

func (s *store) image(ref string) digest.Digest {
	d := s.put([]byte("image " + ref))
	s.entry(d, archive.KindImage, ref)
	return d.Digest
}

func (s *store) read(_ context.Context, d digest.Digest, limit int64) ([]byte, error) {
	if data, ok := s.blobs[d]; ok {
		return data, nil
	}
	return nil, errors.New("not there")
}

func simplePayload(d digest.Digest) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, d)
}

func statementPayload(d digest.Digest, predicate string) []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, d.Encoded(), predicate)
}

// attach adds a manifest with one layer to an image.
func (s *store) attach(to digest.Digest, tag bool, layer ocispec.Descriptor) {
	a := artifact{Layers: []ocispec.Descriptor{layer}}
	ref := "registry.corp/app"
	if tag {
		ref += ":sha256-" + to.Encoded() + ".sig"
	} else {
		a.Subject = &ocispec.Descriptor{Digest: to}
	}
	raw, err := json.Marshal(a)
	if err != nil {
		s.t.Fatal(err)
	}
	s.entry(s.put(raw), archive.KindAttached, ref)
}

// simple signs as cosign did before version 3.
func (s *store) simple(to digest.Digest, tag bool, by string, payload []byte) {
	layer := s.put(payload)
	layer.MediaType = simpleSigning
	// The signature over a payload is that over an index: plain ECDSA.
	data, err := sign.SignIndex(context.Background(), s.w.get(s.t, by), payload)
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := sign.ParseMessage(data)
	if err != nil {
		s.t.Fatal(err)
	}
	layer.Annotations = map[string]string{signatureKey: base64.StdEncoding.EncodeToString(m.Signature)}
	s.attach(to, tag, layer)
}

// statement signs as cosign does since version 3.
func (s *store) statement(to digest.Digest, by string, payload []byte) {
	data, err := sign.SignEnvelope(context.Background(), s.w.get(s.t, by), inTotoType, payload)
	if err != nil {
		s.t.Fatal(err)
	}
	layer := s.put(data)
	layer.MediaType = sign.MediaType
	s.attach(to, false, layer)
}

// An image that must be signed passes only with a signature of the right
// person over its own digest.
func TestImages(t *testing.T) {
	w := who{}
	other := digest.FromString("other")
	const rules = "roles: {build: {signers: [ci]}}\nimages:\n  - {match: [registry.corp/free/*], unsigned: true}\n  - {match: [\"registry.corp/**\"], signers: [app, qa], threshold: 1}\n"
	p := parse(t, w.text(t, 1, "ci app qa", rules))
	strict := parse(t, strings.Replace(string(p.text), "threshold: 1", "threshold: 2", 1))
	revoked := parse(t, string(p.text)+"revoked: {keys: ["+w.get(t, "app").Public().ID()+"]}\n")
	for _, c := range []struct {
		name string
		p    *Policy
		make func(s *store, d digest.Digest)
		want string
	}{
		{"tag", p, func(s *store, d digest.Digest) { s.simple(d, true, "app", simplePayload(d)) }, ""},
		{"referrer", p, func(s *store, d digest.Digest) { s.simple(d, false, "qa", simplePayload(d)) }, ""},
		{"bundle", p, func(s *store, d digest.Digest) { s.statement(d, "app", statementPayload(d, cosignPredicate)) }, ""},
		{"nothing", p, func(*store, digest.Digest) {}, "image registry.corp/app:1 has 0 of the 1 signature it needs (missing: app, qa)"},
		{"stranger", p, func(s *store, d digest.Digest) { s.simple(d, true, "eve", simplePayload(d)) }, "missing: app, qa"},
		{"not for images", p, func(s *store, d digest.Digest) { s.simple(d, true, "ci", simplePayload(d)) }, "missing: app, qa"},
		{"of another image", p, func(s *store, d digest.Digest) { s.simple(d, true, "app", simplePayload(other)) }, "missing: app, qa"},
		{"statement of another image", p, func(s *store, d digest.Digest) { s.statement(d, "app", statementPayload(other, cosignPredicate)) }, "missing: app, qa"},
		{"an attestation", p, func(s *store, d digest.Digest) {
			s.statement(d, "app", statementPayload(d, "https://cosign.sigstore.dev/attestation/vuln/v1"))
		}, "missing: app, qa"},
		{"attached to another image", p, func(s *store, d digest.Digest) { s.simple(other, true, "app", simplePayload(d)) }, "missing: app, qa"},
		{"another payload", p, func(s *store, d digest.Digest) {
			s.simple(d, true, "app", []byte(strings.Replace(string(simplePayload(d)), "cosign container", "other container", 1)))
		}, "missing: app, qa"},
		{"garbage", p, func(s *store, d digest.Digest) {
			layer := s.put([]byte("{"))
			layer.MediaType = sign.MediaType
			s.attach(d, false, layer)
			layer.MediaType, layer.Annotations = simpleSigning, map[string]string{signatureKey: "???"}
			s.attach(d, true, layer)
			s.entry(s.put([]byte("[]")), archive.KindAttached, "registry.corp/app")
		}, "missing: app, qa"},
		{"one of two", strict, func(s *store, d digest.Digest) {
			s.simple(d, true, "app", simplePayload(d))
			s.statement(d, "app", statementPayload(d, cosignPredicate))
		}, "has 1 of the 2 signatures it needs (there: app; missing: qa)"},
		{"two of two", strict, func(s *store, d digest.Digest) {
			s.simple(d, true, "app", simplePayload(d))
			s.statement(d, "qa", statementPayload(d, cosignPredicate))
		}, ""},
		{"revoked", revoked, func(s *store, d digest.Digest) { s.simple(d, true, "app", simplePayload(d)) }, "missing: qa; revoked: app"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, w)
			s.image("docker.io/library/free:1")
			s.image("registry.corp/free/x:1")
			c.make(s, s.image("registry.corp/app:1"))
			reasons, err := judge(t, c.p, nil).EvaluateContent(context.Background(), &s.index, s.read)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(reasons, "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	s := newStore(t, w)
	for i := range 9 {
		s.image(fmt.Sprintf("registry.corp/app%d:1", i))
	}
	reasons, err := judge(t, p, nil).EvaluateContent(context.Background(), &s.index, s.read)
	if err != nil || len(reasons) != 6 || reasons[5] != "and so have 4 images more" {
		t.Errorf("%q, %v", reasons, err)
	}
	// What cannot be read is no judgement.
	s.entry(ocispec.Descriptor{Digest: other, Size: 1}, archive.KindAttached, "registry.corp/app")
	if _, err := judge(t, p, nil).EvaluateContent(context.Background(), &s.index, s.read); err == nil || !strings.Contains(err.Error(), "registry.corp/app0:1") {
		t.Errorf("error %v", err)
	}
}

// Identities must count like keys, for bundles and for images, and be revoked
// like keys.
func TestIdentities(t *testing.T) {
	const who1, issuer = "release@example.com", "https://issuer.example.com"
	w, a := who{}, authority.New(t)
	a.Stamps = true
	past := time.Now().Add(-30 * time.Minute)
	root := strings.ReplaceAll(string(a.TrustedRoot()), "\n", "")
	text := w.text(t, 1, "ci", "  release: {identity: "+who1+", issuer: "+issuer+", trustedRoot: '"+root+"'}\n"+
		"roles: {build: {signers: [ci, release]}}\nimages: [{match: [\"**\"], signers: [release]}]\n")
	idx := index("shop", "1")
	good := verify.Evidence{Name: "good", Data: a.Sign([]byte(idx), who1, issuer, past)}
	for _, c := range []struct {
		text string
		by   verify.Evidence
		want string
	}{
		{text, good, ""},
		{text, verify.Evidence{Name: "eve", Data: a.Sign([]byte(idx), "eve@example.com", issuer, past)}, "was made by eve@example.com"},
		{text, verify.Evidence{Name: "other", Data: a.Sign([]byte("other"), who1, issuer, past)}, "other signs another index"},
		{text + "revoked: {identities: [" + who1 + "]}\n", good, "revoked: release"},
	} {
		j, err := parse(t, c.text).Judge(Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := j.Evaluate(context.Background(), []byte(idx), []verify.Evidence{c.by})
		if got := strings.Join(s.Reasons, "; "); (s.Status == verify.StatusVerified) != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s, %q; want %q", s.Status, got, c.want)
		}
	}
	for want, sig := range map[string]func(d digest.Digest) []byte{
		"": func(d digest.Digest) []byte {
			return a.SignEnvelope(inTotoType, statementPayload(d, cosignPredicate), who1, issuer, past)
		},
		"missing: release": func(d digest.Digest) []byte {
			return a.SignEnvelope(inTotoType, statementPayload(d, cosignPredicate), "eve@example.com", issuer, past)
		},
		"(missing: release)": func(d digest.Digest) []byte {
			return a.SignEnvelope(inTotoType, statementPayload(d, "https://example.com/bad"), who1, issuer, past)
		},
		"signature it needs (missing: release)": func(digest.Digest) []byte {
			return a.SignEnvelope(inTotoType, statementPayload(digest.FromString("other"), cosignPredicate), who1, issuer, past)
		},
	} {
		s := newStore(t, w)
		d := s.image("registry.corp/app:1")
		layer := s.put(sig(d))
		layer.MediaType = sign.MediaType
		s.attach(d, false, layer)
		j, err := parse(t, text).Judge(Options{})
		if err != nil {
			t.Fatal(err)
		}
		reasons, err := j.EvaluateContent(context.Background(), &s.index, s.read)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(reasons, "; "); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
