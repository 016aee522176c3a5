package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/verify"
	"bundle/verify/sign"
)

// Options say how a policy is applied. The zero value remembers nothing.
type Options struct {
	// State is the memory of the target; nil where there is none.
	State *State
	// Notice is told in one sentence what a person should know: that another
	// policy has taken this one's place.
	Notice func(text string)
	// Now is the clock; nil means the machine's.
	Now func() time.Time
}

// Judge applies a policy to bundles. It implements [verify.ContentPolicy] and
// is safe for concurrent use.
type Judge struct {
	o Options

	mu sync.Mutex
	// p is the policy that holds now: the one that was given, or a successor.
	p *Policy
	// given is the serial of the one that was given.
	given   int64
	memory  memory
	revoked *Revocations
	// lists are the revocations that came in lists; they are remembered.
	lists *Revocations
	// accepted are the bundles that passed, by name.
	accepted map[string]accepted
}

var _ verify.ContentPolicy = (*Judge)(nil)

// Judge prepares a policy for use. Where the state holds a successor of the
// policy, that is what is applied. Errors wrap [ErrState].
func (p *Policy) Judge(o Options) (*Judge, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	j := &Judge{o: o, p: p, given: p.Serial, lists: &Revocations{}, accepted: map[string]accepted{}}
	if o.State != nil {
		j.memory = o.State.of(p.Name)
		next, err := j.memory.successor(o.State.path)
		if err != nil {
			return nil, err
		}
		if next != nil && next.Serial > p.Serial {
			j.succeed(next)
		}
		j.lists = j.memory.revocations()
	}
	j.revoked = j.p.revoked.with(j.lists)
	return j, nil
}

// succeed puts another policy in the place of the present one.
func (j *Judge) succeed(next *Policy) {
	j.o.Notice(fmt.Sprintf("policy %s of serial %d takes the place of serial %d", next.Name, next.Serial, j.p.Serial))
	j.p = next
	j.revoked = next.revoked.with(j.lists)
}

// Evaluate implements [verify.Policy].
func (j *Judge) Evaluate(_ context.Context, index []byte, signatures []verify.Evidence) verify.Signature {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.takeStatements(signatures)
	c := j.count(index, signatures)
	p := j.p
	out := verify.Signature{
		Status: verify.StatusUntrusted, Signers: []verify.Signer{},
		Policy: &verify.PolicyResult{Name: p.Name, Serial: p.Serial, Digest: p.Digest, Roles: []verify.RoleResult{}},
	}
	now := j.o.Now()
	short := false
	for _, r := range p.roles {
		t := r.tally(now, j.revoked, func(s *signer) bool { _, ok := c.by[s]; return ok })
		out.Policy.Roles = append(out.Policy.Roles, t.result(r))
		if reason := t.lack(r, "role "+r.name, now); reason != "" {
			short = true
			out.Reasons = append(out.Reasons, reason)
		}
	}
	for _, s := range c.order {
		out.Signers = append(out.Signers, c.by[s])
	}
	d := digest.FromBytes(index)
	if j.revoked.indexes[d] {
		out.Reasons = append(out.Reasons, fmt.Sprintf("its index %s is revoked", d))
	}
	if short {
		out.Reasons = append(out.Reasons, c.reasons...)
	}
	if len(out.Reasons) > 0 {
		return out
	}
	out.Status = verify.StatusVerified
	return out
}

// EvaluateContent implements [verify.ContentPolicy]: it judges name and
// version, and the signatures that images brought along. It is not asked about
// a base that only completes a newer bundle, which may well be too old itself.
func (j *Judge) EvaluateContent(ctx context.Context, index *ocispec.Index, read verify.ReadBlob) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	name, version := index.Annotations[archive.AnnotationName], index.Annotations[archive.AnnotationVersion]
	if reason := j.judgeVersion(name, version); reason != "" {
		return []string{reason}, nil
	}
	reasons, err := j.judgeImages(ctx, index, read)
	if err != nil || len(reasons) > 0 {
		return reasons, err
	}
	if v, err := semver.NewVersion(version); err == nil {
		if old, ok := j.accepted[name]; !ok || older(old.Version, v) {
			j.accepted[name] = accepted{Version: version, Time: j.o.Now().UTC().Truncate(time.Second)}
		}
	}
	return nil, nil
}

// judgeVersion holds name and version against the policy and against what was
// accepted before.
func (j *Judge) judgeVersion(name, version string) string {
	var rule bundleRule
	if len(j.p.bundles) > 0 {
		i := slices.IndexFunc(j.p.bundles, func(b bundleRule) bool { return b.name.re.MatchString(name) })
		if i < 0 {
			return fmt.Sprintf("policy %s accepts no bundle with the name %.100q", j.p.Name, name)
		}
		rule = j.p.bundles[i]
	}
	v, err := semver.NewVersion(version)
	old, known := j.memory.Bundles[name]
	switch {
	case rule.least != nil && err != nil:
		return fmt.Sprintf("version %.100q of %.100q is no semantic version, and policy %s asks for at least %s", version, name, j.p.Name, rule.least.Original())
	case rule.least != nil && v.LessThan(rule.least):
		return fmt.Sprintf("version %s of %s is older than %s, the oldest that policy %s accepts", version, name, rule.least.Original(), j.p.Name)
	case rule.rollback || !known:
		return ""
	case err != nil:
		return fmt.Sprintf("version %.100q of %s is no semantic version, and %s was accepted here before", version, name, old.Version)
	case newer(old.Version, v):
		return fmt.Sprintf("version %s of %s is older than %s, which was accepted here at %s", version, name, old.Version, old.Time.Format(time.RFC3339))
	}
	return ""
}

// newer and older compare a version that was accepted with another; a text
// that is no version is neither.
func newer(old string, v *semver.Version) bool {
	o, err := semver.NewVersion(old)
	return err == nil && o.GreaterThan(v)
}

func older(old string, v *semver.Version) bool {
	o, err := semver.NewVersion(old)
	return err != nil || o.LessThan(v)
}

// count is who has signed.
type count struct {
	by    map[*signer]verify.Signer
	order []*signer
	// reasons say why signatures did not count, as far as it is worth telling.
	reasons []string
}

// count finds out which signers of the roles have signed the index.
func (j *Judge) count(index []byte, signatures []verify.Evidence) count {
	var signers []*signer
	for _, r := range j.p.roles {
		for _, s := range r.signers {
			if !slices.Contains(signers, s) {
				signers = append(signers, s)
			}
		}
	}
	c := count{by: map[*signer]verify.Signer{}}
	for _, e := range signatures {
		if _, err := sign.ParseEnvelope(e.Data); err == nil {
			continue // a statement is no signature of the index
		}
		m, err := sign.ParseMessage(e.Data)
		if err != nil {
			c.reasons = append(c.reasons, fmt.Sprintf("%s cannot be used: %v", e.Name, err))
			continue
		}
		if !m.Covers(index) {
			c.reasons = append(c.reasons, e.Name+" signs another index: the index was changed after signing, or the signature belongs to another bundle")
			continue
		}
		var why error
		for _, s := range signers {
			made, err := s.made(m, index, e)
			if err != nil {
				why = err
				continue
			}
			why = nil
			if j.revoked.made(made) {
				c.reasons = append(c.reasons, fmt.Sprintf("%s was made with a key that is revoked (%.16s)", e.Name, made.KeyID))
			} else if _, twice := c.by[s]; !twice {
				c.by[s] = made
				c.order = append(c.order, s)
			}
			break
		}
		// Keys that nobody asked for are no fault; why a certificate does not
		// pass is worth telling.
		if why != nil && m.Certificate != nil {
			c.reasons = append(c.reasons, why.Error())
		}
	}
	return c
}

// made tells whether the signer made a signature over the index.
func (s *signer) made(m *sign.Message, index []byte, e verify.Evidence) (verify.Signer, error) {
	if s.keyless != nil {
		return s.keyless.Check(index, e)
	}
	if m.Certificate != nil {
		return verify.Signer{}, fmt.Errorf("%s was made with a certificate, and %s is a key", e.Name, s.name)
	}
	if err := m.VerifyWith(s.key, index); err != nil {
		return verify.Signer{}, err
	}
	return verify.Signer{KeyID: s.key.ID(), Identity: s.name}, nil
}

// tally is where the signers of a role stand.
type tally struct{ present, missing, expired, revoked []string }

func (r *role) tally(now time.Time, revoked *Revocations, has func(*signer) bool) tally {
	var t tally
	for _, s := range r.signers {
		switch closed := s.closed(now); {
		case revoked.signer(s):
			t.revoked = append(t.revoked, s.name)
		case closed != "":
			t.expired = append(t.expired, s.name+" "+closed)
		case has(s):
			t.present = append(t.present, s.name)
		default:
			t.missing = append(t.missing, s.name)
		}
	}
	return t
}

// lack is the sentence about a role that has not signed; empty where it has.
func (t tally) lack(r role, what string, now time.Time) string {
	if closed := r.closed(now); closed != "" {
		if strings.HasPrefix(closed, "since") {
			return fmt.Sprintf("%s has expired %s", what, closed)
		}
		return fmt.Sprintf("%s is not valid yet (%s)", what, closed)
	}
	if len(t.present) >= r.need {
		return ""
	}
	var parts []string
	for _, p := range []struct {
		title string
		names []string
	}{{"there", t.present}, {"missing", t.missing}, {"expired", t.expired}, {"revoked", t.revoked}} {
		if len(p.names) > 0 {
			parts = append(parts, p.title+": "+strings.Join(p.names, ", "))
		}
	}
	plural := "s"
	if r.need == 1 {
		plural = ""
	}
	return fmt.Sprintf("%s has %d of the %d signature%s it needs (%s)", what, len(t.present), r.need, plural, strings.Join(parts, "; "))
}

func (t tally) result(r role) verify.RoleResult {
	return verify.RoleResult{Name: r.name, Need: r.need, Present: append([]string{}, t.present...), Missing: t.missing, Expired: t.expired, Revoked: t.revoked}
}

// Policy gives the policy that holds now: name, serial and digest.
func (j *Judge) Policy() (name string, serial int64, d digest.Digest) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.p.Name, j.p.Serial, j.p.Digest
}

// Remember writes into the state what was accepted: versions of bundles, a
// successor of the policy, revocations. It writes nothing where nothing is
// new. Errors wrap [ErrState].
func (j *Judge) Remember() error {
	if j.o.State == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.o.State.update(j.p.Name, func(m *memory) bool {
		changed := m.revoke(j.lists)
		if j.p.Serial > j.given && j.p.Serial > m.Serial {
			m.Serial, m.Policy, changed = j.p.Serial, string(j.p.text), true
		}
		for name, a := range j.accepted {
			v, err := semver.NewVersion(a.Version)
			if old, ok := m.Bundles[name]; err == nil && (!ok || older(old.Version, v)) {
				m.Bundles[name], changed = a, true
			}
		}
		return changed
	})
}
