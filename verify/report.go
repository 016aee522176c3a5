package verify

import (
	"fmt"

	"github.com/opencontainers/go-digest"
)

// Report is what a verification found. Its JSON form is pinned in
// docs/json.md, "verify".
type Report struct {
	// OK: trusted (or told not to ask) and whole.
	OK bool `json:"ok"`
	// Bundle is the path that was checked, "-" for standard input.
	Bundle string `json:"bundle"`
	// With are further files that blobs of the bundle were taken from: the
	// bases of a delta.
	With []string `json:"with,omitempty"`
	// Name and Version are what the index says; empty if it is not trusted or
	// cannot be read.
	Name    string `json:"name"`
	Version string `json:"version"`
	// IndexDigest is the sha256 of index.json: what was signed.
	IndexDigest digest.Digest `json:"indexDigest"`
	Signature   Signature     `json:"signature"`
	Content     Content       `json:"content"`

	want    *Want
	wantAll bool
}

// Status says what the signatures are worth.
type Status string

// The values of Status.
const (
	StatusVerified  Status = "verified"
	StatusUnsigned  Status = "unsigned"
	StatusUntrusted Status = "untrusted"
	// StatusSkipped: nobody asked.
	StatusSkipped Status = "skipped"
)

// Signature is what a [Policy] found.
type Signature struct {
	Status Status `json:"status"`
	// Signers whose signature is valid and trusted.
	Signers []Signer `json:"signers"`
	// Reasons say, one sentence each, why signatures were not accepted. There
	// may be some beside valid signers.
	Reasons []string `json:"reasons,omitempty"`
	// Policy is what a policy file found; nil where there was none.
	Policy *PolicyResult `json:"policy,omitempty"`
}

// PolicyResult says which policy has judged, and what it counted.
type PolicyResult struct {
	Name   string        `json:"name"`
	Serial int64         `json:"serial"`
	Digest digest.Digest `json:"digest"`
	Roles  []RoleResult  `json:"roles"`
}

// RoleResult says who of a role has signed.
type RoleResult struct {
	Name string `json:"name"`
	// Need is how many of its signers must have signed.
	Need    int      `json:"need"`
	Present []string `json:"present"`
	Missing []string `json:"missing,omitempty"`
	// Expired and Revoked do not count, whether they signed or not. Expired
	// are also those whose time has not come yet.
	Expired []string `json:"expired,omitempty"`
	Revoked []string `json:"revoked,omitempty"`
}

// Signer is who made a valid signature.
type Signer struct {
	// KeyID is the SHA-256 of the public key's PKIX encoding, in hex.
	KeyID string `json:"keyID"`
	// Identity is the certificate's subject, or where the key came from.
	Identity string `json:"identity"`
	// Issuer vouches for Identity; empty for keys.
	Issuer string `json:"issuer,omitempty"`
}

// ContentStatus says what the bytes are worth.
type ContentStatus string

// The values of ContentStatus.
const (
	ContentWhole      ContentStatus = "whole"
	ContentDamaged    ContentStatus = "damaged"
	ContentIncomplete ContentStatus = "incomplete"
	// ContentUnchecked: the signature did not satisfy the policy, so nothing
	// else was looked at.
	ContentUnchecked ContentStatus = "unchecked"
)

// Content is what was found in the bytes.
type Content struct {
	Status ContentStatus `json:"status"`
	// Blobs and Bytes are what the bundle lists, without the layout blob.
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
	// Problems are sorted: first what concerns the bundle as a whole, then by
	// place in the file, then what is missing.
	Problems []Problem `json:"problems"`
	// Omitted counts problems beyond the first maxProblems.
	Omitted int `json:"omitted,omitempty"`
}

// ProblemKind says what is wrong.
type ProblemKind string

// The values of ProblemKind.
const (
	// ProblemDamaged: bytes differ, or are cut off.
	ProblemDamaged ProblemKind = "damaged"
	// ProblemMissing: required, and not in the bundle.
	ProblemMissing ProblemKind = "missing"
	// ProblemUnexpected: in the bundle, and nothing asks for it.
	ProblemUnexpected ProblemKind = "unexpected"
	// ProblemMalformed: the bytes are those that were signed, and they make no
	// sense: a fault of the tool that built the bundle, or an attack.
	ProblemMalformed ProblemKind = "malformed"
)

// Problem is one thing that is wrong.
type Problem struct {
	Kind ProblemKind `json:"kind"`
	// Object is the name a person knows: "image registry.k8s.io/pause:3.9
	// (layer 2 of 3)", "chart aecp-1.0.0", "index.json". Several that share a
	// blob are listed, with a comma between them.
	Object string        `json:"object"`
	Digest digest.Digest `json:"digest"`
	// File is the file that is hit where that is not the bundle's own but one
	// of With.
	File string `json:"file,omitempty"`
	// Offset and Length are the bytes of the file that are concerned; both
	// are 0 where no place can be named.
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
	// Reason is one clause that says more.
	Reason string `json:"reason,omitempty"`
}

// String is the problem in one line.
func (p Problem) String() string {
	s := p.Object + ": " + string(p.Kind)
	if p.Reason != "" {
		s += ", " + p.Reason
	}
	if p.Length > 0 {
		file := p.File
		if file == "" {
			file = "the file"
		}
		s += fmt.Sprintf(" (bytes %d to %d of %s)", p.Offset, p.Offset+p.Length-1, file)
	} else if p.File != "" {
		s += " (in " + p.File + ")"
	}
	return s
}

// maxProblems bounds a report. A file that was replaced by noise has as many
// problems as blobs.
const maxProblems = 1000
