package receipt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/verify"
	"bundle/verify/sign"
)

// What a receipt says to be.
const (
	// PredicateType is a name, not an address.
	PredicateType = "https://bundle.invalid/receipt/v1"

	statementType = "https://in-toto.io/Statement/v1"
	payloadType   = "application/vnd.in-toto+json"
)

// MaxSize bounds a receipt, in bytes.
const MaxSize = sign.MaxBundle

var (
	// ErrReceipt says that bytes are no receipt.
	ErrReceipt = errors.New("not a receipt")
	// ErrUntrusted says that none of the keys has signed the receipt, or that
	// it is about another bundle.
	ErrUntrusted = errors.New("the receipt is not trusted")
)

// Operations that a receipt is about.
const (
	Verify  = "verify"
	Install = "install"
)

// Outcomes of an operation.
const (
	OK          = "ok"
	Failed      = "failed"
	Interrupted = "interrupted"
)

// Receipt is what was done, with which bundles. Field names are stable
// (docs/receipt.md).
type Receipt struct {
	// Operation is [Verify] or [Install].
	Operation string `json:"operation"`
	// Time is when it ended, UTC.
	Time time.Time `json:"time"`
	// Tool is the version of the program.
	Tool     string   `json:"tool"`
	Operator Operator `json:"operator"`
	// Outcome is [OK], [Failed] or [Interrupted]; Error says more.
	Outcome string `json:"outcome"`
	Error   string `json:"error,omitempty"`
	// Bundles are the subjects of the statement.
	Bundles []Bundle `json:"bundles"`
	// Cluster comes with [Install].
	Cluster *Cluster `json:"cluster,omitempty"`
}

// Operator is who worked from where, as the system has it.
type Operator struct {
	User string `json:"user"`
	Host string `json:"host"`
}

// Bundle is one bundle, and what was found out about it.
type Bundle struct {
	Name        string        `json:"name"`
	Version     string        `json:"version"`
	IndexDigest digest.Digest `json:"indexDigest"`
	// Signature and Content are nil where that was not looked at.
	Signature *verify.Signature `json:"signature,omitempty"`
	Content   *Content          `json:"content,omitempty"`
}

// Content is the verdict about the bytes.
type Content struct {
	Status verify.ContentStatus `json:"status"`
	Blobs  int                  `json:"blobs"`
	Bytes  int64                `json:"bytes"`
	// Problems counts them.
	Problems int `json:"problems"`
}

// Cluster is how an install went.
type Cluster struct {
	Name     string    `json:"name"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Runs is how often the install was started.
	Runs  int    `json:"runs"`
	Steps []Step `json:"steps"`
	// Acceptance are its items; nil where it was not held.
	Acceptance []Item `json:"acceptance,omitempty"`
	// Images are those that ran at the acceptance.
	Images []Image `json:"images,omitempty"`
}

// Step is one step of the plan, over all hosts.
type Step struct {
	ID       string    `json:"id"`
	Status   string    `json:"status"`
	Hosts    []string  `json:"hosts"`
	Changed  bool      `json:"changed,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
}

// Item is one thing that an acceptance looked at.
type Item struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Summary string `json:"summary"`
}

// Image is one image that runs.
type Image struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Pods   int    `json:"pods"`
	// OK: it is one of the bundle's.
	OK bool `json:"ok"`
}

// statement is the in-toto statement around a receipt.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     Receipt   `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// subjects are the bundles by the digests of their indexes.
func (r *Receipt) subjects() []subject {
	var list []subject
	for _, b := range r.Bundles {
		list = append(list, subject{Name: b.Name + ":" + b.Version, Digest: map[string]string{b.IndexDigest.Algorithm().String(): b.IndexDigest.Encoded()}})
	}
	return list
}

// About makes the part of a receipt that a verification found.
func About(rep *verify.Report) Bundle {
	return Bundle{
		Name: rep.Name, Version: rep.Version, IndexDigest: rep.IndexDigest, Signature: &rep.Signature,
		Content: &Content{Status: rep.Content.Status, Blobs: rep.Content.Blobs, Bytes: rep.Content.Bytes, Problems: len(rep.Content.Problems) + rep.Content.Omitted},
	}
}

// Sign makes a receipt: a Sigstore bundle in canonical form. Errors wrap
// [ErrReceipt] where r cannot be one.
func Sign(ctx context.Context, s *sign.Signer, r Receipt) ([]byte, error) {
	r.Time = r.Time.UTC().Round(0)
	if err := r.check(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(statement{statementType, r.subjects(), PredicateType, r})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return sign.SignEnvelope(ctx, s, payloadType, payload)
}

// check makes sure that a receipt says what it is about.
func (r *Receipt) check() error {
	if len(r.Bundles) == 0 {
		return fmt.Errorf("%w: it names no bundle", ErrReceipt)
	}
	for _, b := range r.Bundles {
		if b.IndexDigest.Validate() != nil || b.IndexDigest.Algorithm() != digest.SHA256 {
			return fmt.Errorf("%w: a bundle whose index cannot be read has none", ErrReceipt)
		}
	}
	if !slices.Contains([]string{Verify, Install}, r.Operation) || !slices.Contains([]string{OK, Failed, Interrupted}, r.Outcome) {
		return fmt.Errorf("%w: it is about %.40q with the outcome %.40q", ErrReceipt, r.Operation, r.Outcome)
	}
	return nil
}

// Check verifies a receipt with one of the keys, and only then reads it. It
// gives the key. Errors wrap [ErrReceipt] or [ErrUntrusted].
func Check(data []byte, keys []*sign.PublicKey) (*Receipt, *sign.PublicKey, error) {
	env, err := sign.ParseEnvelope(data)
	if err == nil && env.PayloadType != payloadType {
		err = fmt.Errorf("its payload is of type %.80q", env.PayloadType)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	i := slices.IndexFunc(keys, func(k *sign.PublicKey) bool { return env.VerifyWith(k) == nil })
	if i < 0 {
		return nil, nil, fmt.Errorf("%w: none of the given keys has signed it", ErrUntrusted)
	}
	r, err := parse(env.Payload)
	if err != nil {
		return nil, nil, err
	}
	return r, keys[i], nil
}

// parse reads a statement whose signature was checked. Fields that are not
// known are taken: later versions may add some.
func parse(payload []byte) (*Receipt, error) {
	var s statement
	d := json.NewDecoder(bytes.NewReader(payload))
	if err := d.Decode(&s); err != nil {
		return nil, fmt.Errorf("%w: its statement is no JSON of one: %w", ErrReceipt, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows its statement", ErrReceipt)
	}
	if s.Type != statementType || s.PredicateType != PredicateType {
		return nil, fmt.Errorf("%w: it is a statement of type %.80q", ErrReceipt, s.PredicateType)
	}
	r := &s.Predicate
	if err := r.check(); err != nil {
		return nil, err
	}
	same := slices.EqualFunc(s.Subject, r.subjects(), func(a, b subject) bool {
		return a.Name == b.Name && len(a.Digest) == 1 && len(b.Digest) == 1 && a.Digest["sha256"] == b.Digest["sha256"]
	})
	if !same {
		return nil, fmt.Errorf("%w: its subjects are not the bundles that it tells of", ErrReceipt)
	}
	return r, nil
}
