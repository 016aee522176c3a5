package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"bundle/verify"
	"bundle/verify/sign"
)

// StatementType is the DSSE payload type of statements of administrators: the
// payload is the YAML of a policy or of a revocation list.
const StatementType = "application/vnd.bundle.statement.v1+yaml"

// maxStatements bounds the statements of one bundle.
const maxStatements = 64

// SignStatement signs a policy that shall take the place of its predecessor,
// or a revocation list. name is what problems call it. The result is a
// Sigstore bundle in canonical form; it may be added to a bundle like a
// signature, or travel as a file. Errors wrap [ErrSyntax] where data is
// neither.
func SignStatement(ctx context.Context, s *sign.Signer, name string, data []byte) ([]byte, error) {
	doc, err := decode(name, data)
	if err != nil {
		return nil, err
	}
	if kind := kindOf(doc); kind == RevocationsKind {
		_, err = ParseRevocations(name, data)
	} else {
		_, err = Parse(name, data, nil)
	}
	if err != nil {
		return nil, err
	}
	return sign.SignEnvelope(ctx, s, StatementType, data)
}

// statement is one payload and everybody who has signed it.
type statement struct {
	name      string
	envelopes []*sign.Envelope
	// Exactly one of these is set.
	policy *Policy
	list   *Revocations
}

// gather reads the statements among signatures. Each payload is one, whoever
// signed it. Those that are of no use are left out, with the reason.
func gather(evidence []verify.Evidence) (list []*statement, reasons []string) {
	at := map[string]*statement{}
	for _, e := range evidence {
		env, err := sign.ParseEnvelope(e.Data)
		if err != nil || env.PayloadType != StatementType || len(at) == maxStatements {
			continue
		}
		if s := at[string(env.Payload)]; s != nil {
			s.envelopes = append(s.envelopes, env)
			continue
		}
		s := &statement{name: e.Name, envelopes: []*sign.Envelope{env}}
		doc, err := decode(e.Name, env.Payload)
		if err == nil && kindOf(doc) == RevocationsKind {
			s.list, err = ParseRevocations(e.Name, env.Payload)
		} else if err == nil {
			s.policy, err = Parse(e.Name, env.Payload, nil)
		}
		if err != nil {
			reasons = append(reasons, err.Error())
			continue
		}
		at[string(env.Payload)] = s
		list = append(list, s)
	}
	return list, reasons
}

// lacks says why a statement is not signed by the administrators of the
// policy; empty where it is.
func (j *Judge) lacks(s *statement) string {
	admin := j.p.admin
	if admin == nil {
		return fmt.Sprintf("policy %s names no administrators, so nothing can change it or revoke anything but its file", j.p.Name)
	}
	now := j.o.Now()
	return admin.tally(now, j.revoked, func(by *signer) bool {
		return slices.ContainsFunc(s.envelopes, func(e *sign.Envelope) bool { return e.VerifyWith(by.key) == nil })
	}).lack(*admin, fmt.Sprintf("the statement in %s, for the administrators of policy %s,", s.name, j.p.Name), now)
}

// takeStatements takes over what administrators say in statements that came
// along with a bundle. Those that do not hold are passed over: anybody can add
// them to a file.
func (j *Judge) takeStatements(evidence []verify.Evidence) {
	list, _ := gather(evidence)
	j.takePolicies(list)
	for _, s := range list {
		if s.list != nil && s.list.Policy == j.p.Name && j.lacks(s) == "" {
			j.revoke(s.list)
		}
	}
}

// takePolicies follows the successors, one after the other: each must be
// signed by the administrators of the one before it.
func (j *Judge) takePolicies(list []*statement) {
	var next []*statement
	for _, s := range list {
		if s.policy != nil && s.policy.Name == j.p.Name {
			next = append(next, s)
		}
	}
	slices.SortStableFunc(next, func(a, b *statement) int { return cmp.Compare(a.policy.Serial, b.policy.Serial) })
	for _, s := range next {
		if s.policy.Serial > j.p.Serial && j.lacks(s) == "" {
			j.succeed(s.policy)
		}
	}
}

func (j *Judge) revoke(list *Revocations) {
	j.lists = j.lists.with(list)
	j.revoked = j.revoked.with(list)
}

// Take applies statements that were given as files: all of them must hold.
// Errors wrap [ErrSyntax] or [ErrRefused].
func (j *Judge) Take(files []verify.Evidence) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range files {
		env, err := sign.ParseEnvelope(e.Data)
		if err == nil && env.PayloadType != StatementType {
			err = fmt.Errorf("its payload type is %.80q", env.PayloadType)
		}
		if err != nil {
			return &Problem{File: e.Name, Reason: "this is no statement: " + err.Error(), hint: "bundle sign --statement makes one"}
		}
	}
	list, reasons := gather(files)
	if len(reasons) > 0 {
		return &Problem{File: files[0].Name, Reason: reasons[0]}
	}
	j.takePolicies(list)
	for _, s := range list {
		of := ""
		if s.list != nil {
			of = s.list.Policy
		} else {
			of = s.policy.Name
		}
		switch {
		case of != j.p.Name:
			return refusal("the statement in %s is for policy %s, and policy %s is applied", s.name, of, j.p.Name)
		case s.policy != nil && s.policy.Serial <= j.p.Serial:
			continue // it has been taken over, or is of the past
		}
		if reason := j.lacks(s); reason != "" {
			return refusal("%s", reason)
		}
		if s.list != nil {
			j.revoke(s.list)
		}
	}
	return nil
}
