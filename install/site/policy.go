package site

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"bundle/install/host"
	"bundle/verify"
)

// policyFiles are what the policy's flags name.
func (s *Site) policyFiles() []edit {
	var list []edit
	for i, k := range s.o.Policy.Keys {
		list = append(list, own(s.keyFile(i), 0o644, k))
	}
	if s.o.Policy.Identity != "" {
		list = append(list, own(s.p.keys+"/trusted-root.json", 0o644, s.o.Policy.TrustedRoot))
	}
	for i, sig := range s.o.Policy.Signatures {
		list = append(list, own(s.signatureFile(i), 0o644, sig))
	}
	return list
}

func (s *Site) keyFile(i int) string       { return fmt.Sprintf("%s/%d.pub", s.p.keys, i+1) }
func (s *Site) signatureFile(i int) string { return fmt.Sprintf("%s/%d.sigstore.json", s.p.keys, i+1) }

// policyFlags are the flags of verify and serve that say the same on a host.
func (s *Site) policyFlags() []string {
	p := s.o.Policy
	var list []string
	switch {
	case p.SkipSignature:
		list = append(list, "--insecure-skip-signature")
	case p.Identity != "":
		list = append(list, "--certificate-identity="+p.Identity, "--certificate-oidc-issuer="+p.Issuer,
			"--trusted-root="+s.p.keys+"/trusted-root.json")
	}
	for _, d := range p.Indexes {
		list = append(list, "--index="+d.String())
	}
	for i := range p.Keys {
		list = append(list, "--key="+s.keyFile(i))
	}
	for i := range p.Signatures {
		list = append(list, "--signature="+s.signatureFile(i))
	}
	return list
}

// verifyScript runs verify with the flags that stand in its input, one a
// line. What verify finds wrong is in its report; only a report that is not
// there is an error.
const verifyScript = `
flags=()
while IFS= read -r f; do flags+=("$f"); done
code=0
"$BINARY" verify -o json --progress none "${flags[@]}" -- "$FILE" </dev/null || code=$?
if [ "$code" -gt 5 ]; then exit "$code"; fi
`

// verify has the host prove that the file is the bundle it should be.
func (s *Site) verify(ctx context.Context, h host.Host, b Source, name string) error {
	out, err := s.run(ctx, h, "verify "+b.String(), verifyScript,
		map[string]string{"BINARY": s.p.binary, "FILE": name}, []byte(strings.Join(append(s.policyFlags(), ""), "\n")))
	if err != nil {
		return err
	}
	var answer struct {
		verify.Report
		Error struct{ Message string }
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		return &Error{Host: h.Name(), Text: fmt.Sprintf("%s cannot be verified: the answer is no report", b), Err: err}
	}
	bad := func(class error, hint, format string, args ...any) error {
		return &Error{Host: h.Name(), Text: b.String() + " " + fmt.Sprintf(format, args...), Err: fmt.Errorf("%w: %w", ErrBundle, class), hint: hint}
	}
	const again = "run the install again"
	r := answer.Report
	switch {
	case answer.Error.Message != "":
		return bad(verify.ErrDamaged, again, "cannot be verified there: %s", printable(answer.Error.Message))
	case r.IndexDigest != "" && r.IndexDigest != b.Index:
		return bad(verify.ErrDamaged, again, "is another one there: its index is %s instead of %s", printable(r.IndexDigest.String()), b.Index)
	case r.OK:
		return nil
	case r.Signature.Status == verify.StatusUnsigned:
		return bad(verify.ErrUntrusted, "", "is not signed")
	case r.Signature.Status == verify.StatusUntrusted && len(r.Signature.Reasons) > 0:
		return bad(verify.ErrUntrusted, "", "is not trusted there: %s", printable(r.Signature.Reasons[0]))
	case len(r.Content.Problems) > 0:
		return bad(verify.ErrDamaged, "bundle verify "+b.Path+" says whether the file here is good", "is not whole there: %s", printable(r.Content.Problems[0].String()))
	}
	return bad(verify.ErrDamaged, again, "is not good there: signature %s, content %s", r.Signature.Status, r.Content.Status)
}
