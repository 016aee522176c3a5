package policy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/verify"
	"bundle/verify/sign"
)

// who makes signers once, by name.
type who map[string]*sign.Signer

func (w who) get(t testing.TB, name string) *sign.Signer {
	t.Helper()
	if w[name] == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if w[name], err = sign.NewSigner(name, key); err != nil {
			t.Fatal(err)
		}
	}
	return w[name]
}

// text writes a policy with the given serial, signers and further lines.
func (w who) text(t testing.TB, serial int, signers, rest string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: bundle/v1\nkind: TrustPolicy\nname: site\nserial: %d\nsigners:\n", serial)
	for s := range strings.FieldsSeq(signers) {
		name, more, _ := strings.Cut(s, "/")
		fmt.Fprintf(&b, "  %s:\n    key: |\n      %s\n", name, strings.ReplaceAll(strings.TrimSpace(string(w.get(t, name).Public().PEM())), "\n", "\n      "))
		if more != "" {
			fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(more, "=", ": "))
		}
	}
	return b.String() + rest
}

func parse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse("policy.yaml", []byte(text), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

func (w who) sign(t testing.TB, index, name string) verify.Evidence {
	t.Helper()
	data, err := sign.SignIndex(context.Background(), w.get(t, name), []byte(index))
	if err != nil {
		t.Fatal(err)
	}
	return verify.Evidence{Name: "signature of " + name, Data: data}
}

func (w who) state(t testing.TB, text, name string) verify.Evidence {
	t.Helper()
	data, err := SignStatement(context.Background(), w.get(t, name), "new.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return verify.Evidence{Name: "statement of " + name, Data: data}
}

func index(name, version string) string {
	return fmt.Sprintf(`{"schemaVersion":2,"annotations":{"vnd.bundle.name":%q,"vnd.bundle.version":%q}}`, name, version)
}

var testTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func judge(t testing.TB, p *Policy, s *State) *Judge {
	t.Helper()
	j, err := p.Judge(Options{State: s, Now: func() time.Time { return testTime }})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

const twoRoles = `roles:
  build: {signers: [ci, ci2]}
  approve: {signers: [alice, bob, carol], threshold: 2}
`

// Exactly the signatures that the policy counts must open the door, and the
// sentence must say who is still wanted.
func TestCount(t *testing.T) {
	w := who{}
	idx := index("shop", "1.0.0")
	plain := w.text(t, 1, "ci ci2 alice bob carol", twoRoles)
	dated := w.text(t, 1, "ci ci2 alice bob/notAfter=2026-05-31 carol/notBefore=2026-06-02", twoRoles)
	closed := strings.Replace(plain, "threshold: 2", "threshold: 2, notAfter: 2026-05-31", 1)
	revoked := plain + fmt.Sprintf("revoked:\n  keys: [%s]\n", w.get(t, "alice").Public().ID())
	gone := plain + "revoked:\n  indexes: [\"sha256:" + strings.Repeat("0", 64) + "\"]\n"
	for _, c := range []struct{ name, policy, by, want string }{
		{"all", plain, "ci alice bob carol", ""},
		{"enough", plain, "ci2 carol alice", ""},
		{"strangers too", plain, "eve ci mallory alice bob", ""},
		{"one approves", plain, "ci alice", "role approve has 1 of the 2 signatures it needs (there: alice; missing: bob, carol)"},
		{"one approves twice", plain, "ci alice alice", "has 1 of the 2 signatures"},
		{"nobody builds", plain, "alice bob", "role build has 0 of the 1 signature it needs (missing: ci, ci2)"},
		{"strangers", plain, "eve mallory", "role build has 0 of the 1 signature"},
		{"expired and not yet", dated, "ci alice bob carol", "role approve has 1 of the 2 signatures it needs (there: alice; expired: bob since 2026-05-31T23:59:59Z, carol not before 2026-06-02T00:00:00Z)"},
		{"role expired", closed, "ci alice bob", "role approve has expired since 2026-05-31T23:59:59Z"},
		{"revoked", revoked, "ci alice bob", "(there: bob; missing: carol; revoked: alice)"},
		{"revoked and enough", revoked, "ci bob carol alice", ""},
		{"another index revoked", gone, "ci alice bob", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var list []verify.Evidence
			for name := range strings.FieldsSeq(c.by) {
				list = append(list, w.sign(t, idx, name))
			}
			s := judge(t, parse(t, c.policy), nil).Evaluate(context.Background(), []byte(idx), list)
			got := strings.Join(s.Reasons, "; ")
			if (s.Status == verify.StatusVerified) != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("status %s, %q; want %q", s.Status, got, c.want)
			}
			if s.Policy == nil || s.Policy.Name != "site" || len(s.Policy.Roles) != 2 {
				t.Errorf("policy %+v", s.Policy)
			}
			// The same signatures must not open another bundle.
			other := index("shop", "1.0.1")
			if s := judge(t, parse(t, c.policy), nil).Evaluate(context.Background(), []byte(other), list); s.Status == verify.StatusVerified ||
				!strings.Contains(strings.Join(s.Reasons, "; "), "signs another index") {
				t.Errorf("another bundle: %+v", s)
			}
		})
	}
}

// A revoked index must be refused, whoever signed it.
func TestRevokedIndex(t *testing.T) {
	w := who{}
	idx := index("shop", "1")
	p := parse(t, w.text(t, 1, "ci", "roles: {build: {signers: [ci]}}\nrevoked: {indexes: [\"sha256:"+sum(idx)+"\"]}\n"))
	s := judge(t, p, nil).Evaluate(context.Background(), []byte(idx), []verify.Evidence{w.sign(t, idx, "ci")})
	if s.Status == verify.StatusVerified || !strings.Contains(s.Reasons[0], "is revoked") {
		t.Errorf("%+v", s)
	}
}

// An older bundle than the one that was accepted must not come back, and the
// memory must outlive the process.
func TestRollback(t *testing.T) {
	w := who{}
	file := filepath.Join(t.TempDir(), "deep", StateName)
	const rules = "roles: {build: {signers: [ci]}}\nbundles:\n  - {name: lab-*, rollback: allow}\n  - {name: shop, minVersion: 1.1.0}\n  - {name: odd}\n"
	p := parse(t, w.text(t, 1, "ci", rules))
	try := func(name, version string, remember bool, want string) {
		t.Helper()
		state, err := OpenState(file)
		if err != nil {
			t.Fatal(err)
		}
		j := judge(t, p, state)
		idx := index(name, version)
		s := j.Evaluate(context.Background(), []byte(idx), []verify.Evidence{w.sign(t, idx, "ci")})
		if s.Status != verify.StatusVerified {
			t.Fatalf("%+v", s)
		}
		parsed := new(ocispec.Index)
		if err := json.Unmarshal([]byte(idx), parsed); err != nil {
			t.Fatal(err)
		}
		if s.Reasons, err = j.EvaluateContent(context.Background(), parsed, nil); err != nil {
			t.Fatal(err)
		} else if len(s.Reasons) > 0 {
			s.Status = verify.StatusUntrusted
		}
		if got := strings.Join(s.Reasons, "; "); (s.Status == verify.StatusVerified) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s %s: %s, %q; want %q", name, version, s.Status, got, want)
		}
		if remember {
			if err := j.Remember(); err != nil {
				t.Fatal(err)
			}
		}
	}
	try("other", "1.1.0", false, `accepts no bundle with the name "other"`)
	try("shop", "1.0.9", false, "older than 1.1.0, the oldest that policy site accepts")
	try("shop", "latest", false, "no semantic version")
	try("shop", "1.3.0", false, "")
	try("shop", "1.2.0", true, "") // 1.3.0 was only looked at
	try("shop", "v1.1.9", false, "version v1.1.9 of shop is older than 1.2.0, which was accepted here at 2026-06-01T12:00:00Z")
	try("shop", "1.2.0-rc.1", false, "older than 1.2.0")
	try("shop", "1.2.0", true, "")
	try("shop", "1.10.0", true, "")
	try("shop", "1.9.0", false, "older than 1.10.0")
	try("odd", "one", true, "")
	try("odd", "1.0.0", true, "")
	try("odd", "one", true, "no semantic version, and 1.0.0 was accepted here before")
	try("lab-a", "2.0.0", true, "")
	try("lab-a", "1.0.0", true, "")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state %v, %v", info, err)
	}
	for _, damage := range []string{"", "{", `{"schema":2}`, `{"schema":1,"policies":[]}`} {
		if err := os.WriteFile(file, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenState(file); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), file) {
			t.Errorf("state %q: %v", damage, err)
		}
	}
}

const withAdmin = "roles: {build: {signers: [%s]}}\nadmin: {signers: [%s], threshold: 2}\n"

// A policy must give way only to one that enough of its own administrators
// have signed, step by step, and never go back.
func TestSuccession(t *testing.T) {
	w := who{}
	file := filepath.Join(t.TempDir(), StateName)
	one := w.text(t, 1, "old root1 root2 root3", fmt.Sprintf(withAdmin, "old", "root1, root2, root3"))
	two := w.text(t, 2, "new root2 root3 root4", fmt.Sprintf(withAdmin, "new", "root2, root3, root4"))
	three := w.text(t, 3, "newer root3 root4 root5", fmt.Sprintf(withAdmin, "newer", "root3, root4, root5"))
	alien := strings.Replace(two, "name: site", "name: elsewhere", 1)
	idx := index("shop", "1.0.0")
	chain := []verify.Evidence{w.state(t, three, "root4"), w.state(t, three, "root3"), w.state(t, two, "root1"), w.state(t, two, "root3")}
	for _, c := range []struct {
		name   string
		by     string
		extra  []verify.Evidence
		serial int64
		ok     bool
	}{
		{"nothing new", "old", nil, 1, true},
		{"new key, no statement", "new", nil, 1, false},
		{"one administrator", "new", []verify.Evidence{w.state(t, two, "root1")}, 1, false},
		{"one administrator twice", "new", []verify.Evidence{w.state(t, two, "root1"), w.state(t, two, "root1")}, 1, false},
		{"two say different things", "new", []verify.Evidence{w.state(t, two, "root1"), w.state(t, two+"# x\n", "root2")}, 1, false},
		{"its own administrators", "new", []verify.Evidence{w.state(t, two, "root4"), w.state(t, two, "root2")}, 1, false},
		{"another policy", "new", []verify.Evidence{w.state(t, alien, "root1"), w.state(t, alien, "root2")}, 1, false},
		{"two administrators", "new", []verify.Evidence{w.state(t, two, "root1"), w.state(t, two, "root2")}, 2, true},
		{"old key after that", "old", []verify.Evidence{w.state(t, two, "root1"), w.state(t, two, "root2")}, 2, false},
		{"a step left out", "newer", chain[:2], 1, false},
		{"two steps", "newer", chain, 3, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := judge(t, parse(t, one), nil)
			s := j.Evaluate(context.Background(), []byte(idx), append([]verify.Evidence{w.sign(t, idx, c.by)}, c.extra...))
			if s.Policy.Serial != c.serial || (s.Status == verify.StatusVerified) != c.ok {
				t.Errorf("serial %d, %s, %v", s.Policy.Serial, s.Status, s.Reasons)
			}
		})
	}
	state, err := OpenState(file)
	if err != nil {
		t.Fatal(err)
	}
	j := judge(t, parse(t, one), state)
	if err := j.Take(chain); err != nil {
		t.Fatal(err)
	}
	if err := j.Remember(); err != nil {
		t.Fatal(err)
	}
	// Another process, with the old file, and nothing that comes along.
	if state, err = OpenState(file); err != nil {
		t.Fatal(err)
	}
	var said string
	j, err = parse(t, one).Judge(Options{State: state, Notice: func(s string) { said = s }})
	if err != nil {
		t.Fatal(err)
	}
	if s := j.Evaluate(context.Background(), []byte(idx), []verify.Evidence{w.sign(t, idx, "old")}); s.Status == verify.StatusVerified {
		t.Error("the old key is trusted again")
	}
	if s := j.Evaluate(context.Background(), []byte(idx), []verify.Evidence{w.sign(t, idx, "newer")}); s.Status != verify.StatusVerified || s.Policy.Serial != 3 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(said, "serial 3 takes the place of serial 1") {
		t.Errorf("notice %q", said)
	}
	if err := j.Take(chain[2:]); err != nil {
		t.Errorf("statements of the past: %v", err)
	}
}

// Revocation lists must take effect when enough administrators signed them,
// also when they come with a bundle, and be remembered.
func TestRevocationLists(t *testing.T) {
	w := who{}
	text := w.text(t, 1, "ci ci2 root1 root2", fmt.Sprintf(withAdmin, "ci, ci2", "root1, root2"))
	list := "apiVersion: bundle/v1\nkind: Revocations\npolicy: site\nkeys: [" + w.get(t, "ci").Public().ID() + "]\n"
	alien := strings.Replace(list, "policy: site", "policy: elsewhere", 1)
	idx := index("shop", "1.0.0")
	ci := w.sign(t, idx, "ci")
	both := []verify.Evidence{w.state(t, list, "root1"), w.state(t, list, "root2")}
	trusted := func(j *Judge, more ...verify.Evidence) bool {
		return j.Evaluate(context.Background(), []byte(idx), append(more, ci)).Status == verify.StatusVerified
	}
	if j := judge(t, parse(t, text), nil); !trusted(j, both[0]) || trusted(j, both...) || trusted(j) {
		t.Error("a list in a bundle does not hold, or does not last")
	}
	if j := judge(t, parse(t, text), nil); !trusted(j, w.state(t, alien, "root1"), w.state(t, alien, "root2")) {
		t.Error("a list for another policy holds")
	}
	for name, c := range map[string]struct {
		files []verify.Evidence
		class error
		text  string
	}{
		"one":     {both[:1], ErrRefused, "has 1 of the 2 signatures it needs (there: root1; missing: root2)"},
		"alien":   {[]verify.Evidence{w.state(t, alien, "root1"), w.state(t, alien, "root2")}, ErrRefused, "is for policy elsewhere"},
		"no list": {[]verify.Evidence{ci}, ErrSyntax, "this is no statement"},
		"noise":   {[]verify.Evidence{{Name: "x", Data: []byte("x")}}, ErrSyntax, "this is no statement"},
	} {
		if err := judge(t, parse(t, text), nil).Take(c.files); !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %q", name, err, c.text)
		}
	}
	nobody := w.text(t, 1, "ci", "roles: {build: {signers: [ci]}}\n")
	if err := judge(t, parse(t, nobody), nil).Take(both); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "names no administrators") {
		t.Errorf("a policy without administrators: %v", err)
	}
	file := filepath.Join(t.TempDir(), StateName)
	for range 2 {
		state, err := OpenState(file)
		if err != nil {
			t.Fatal(err)
		}
		j := judge(t, parse(t, text), state)
		if err := j.Take(both); err != nil {
			t.Fatal(err)
		}
		if err := j.Remember(); err != nil {
			t.Fatal(err)
		}
	}
	state, err := OpenState(file)
	if err != nil {
		t.Fatal(err)
	}
	if trusted(judge(t, parse(t, text), state)) {
		t.Error("what is revoked was forgotten")
	}
	// One administrator who is revoked does not count any more.
	state2, err := OpenState(filepath.Join(t.TempDir(), StateName))
	if err != nil {
		t.Fatal(err)
	}
	j := judge(t, parse(t, text+"revoked: {keys: ["+w.get(t, "root1").Public().ID()+"]}\n"), state2)
	if err := j.Take(both); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "revoked: root1") {
		t.Errorf("a revoked administrator: %v", err)
	}
}

// What is wrong in a policy must be said with its place, and nothing that a
// policy says may be passed over.
func TestParseRefuses(t *testing.T) {
	w := who{}
	good := w.text(t, 1, "ci alice", "roles: {build: {signers: [ci]}}\n")
	parse(t, good)
	lines := strings.Count(good, "\n")
	for _, c := range []struct{ text, want string }{
		{"", "it is empty"},
		{"a: [", "not valid YAML"},
		{"- a", ":1:1: a policy must be a mapping"},
		{good + "---\na: 1\n", "more than one YAML document"},
		{good + "roles2: {}\n", fmt.Sprintf(`policy.yaml:%d:1: a policy has no field "roles2"`, lines+1)},
		{good + "roles: {}\n", "twice"},
		{strings.Replace(good, "bundle/v1", "bundle/v2", 1), `apiVersion is "bundle/v2", and must be bundle/v1`},
		{strings.Replace(good, "serial: 1", "serial: 0", 1), ":4:9: serial must be a number from 1"},
		{strings.Replace(good, "serial: 1", "serial: one", 1), "serial must be a number"},
		{strings.Replace(good, "serial: 1\n", "", 1), `needs the field "serial"`},
		{strings.Replace(good, "[ci]", "[eve]", 1), `role build names "eve", who is no signer`},
		{strings.Replace(good, "[ci]", "[ci], threshold: 2", 1), "needs 2 signatures and has 1 signers"},
		{strings.Replace(good, "[ci]", "[ci, ci]", 1), `has "ci" twice`},
		{strings.Replace(good, "[ci]", "[]", 1), "needs 1 signatures and has 0 signers"},
		{strings.Replace(good, "[ci]", "[ci], notAfter: soon", 1), `notAfter is "soon", which is no date`},
		{strings.Replace(good, "{build: {signers: [ci]}}", "{}", 1), "roles names nobody"},
		{strings.Replace(good, "[ci]", "&a [ci]", 1), "anchors and aliases"},
		{strings.Replace(good, "[ci]", "!!seq [ci]", 1), "tags are not allowed"},
		{strings.Replace(good, "[ci]", strings.Repeat("[", 20)+strings.Repeat("]", 20), 1), "nested too deep"},
		{strings.Replace(good, "  ci:\n", "  ci:\n    keyFile: x\n", 1), "signer ci needs key or keyFile"},
		{strings.Replace(good, "  alice:\n", "  eve: {keyFile: x.pub}\n  alice:\n", 1), "names the file x.pub, and a policy that travels may name none"},
		{strings.Replace(good, "  alice:\n", "  eve: {identity: a@b, issuer: c}\n  alice:\n", 1), "signer eve needs"},
		{strings.Replace(good, "  alice:\n", "  eve: {identity: a@b, issuer: c, trustedRoot: d}\n  alice:\n", 1), "not Sigstore's trusted_root.json"},
		{strings.Replace(good, "BEGIN PUBLIC", "BEGIN PRIVATE", 1), "PEM"},
		{good + "bundles: [{minVersion: 1.0.0}]\n", `needs the field "name"`},
		{good + "bundles: [{name: a, minVersion: new}]\n", "no semantic version"},
		{good + "bundles: [{name: a, rollback: maybe}]\n", "must be refuse or allow"},
		{good + "images: [{signers: [ci]}]\n", "needs match"},
		{good + "images: [{match: [a], unsigned: false}]\n", "unsigned must be true"},
		{good + "images: [{match: [a], unsigned: true, signers: [ci]}]\n", `no field "signers"`},
		{good + "images: [{match: [" + strings.Repeat("a", 600) + "], signers: [ci]}]\n", "more than 512 bytes"},
		{good + "revoked: {keys: [abc]}\n", "is no key ID"},
		{good + "revoked: {indexes: [abc]}\n", "is no digest"},
		{good + "admin: {signers: [eve]}\n", "who is no signer"},
		{strings.Repeat("#", MaxSize+1), "more than 1048576 bytes"},
		{strings.Replace(good, "  alice:\n", "  twin:\n    key: |\n      "+strings.ReplaceAll(strings.TrimSpace(string(w.get(t, "ci").Public().PEM())), "\n", "\n      ")+"\n  alice:\n", 1), "signers ci and twin are the same one"},
	} {
		_, err := Parse("policy.yaml", []byte(c.text), nil)
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "policy.yaml") {
			t.Errorf("%v\nwant %q", err, c.want)
		}
	}
}

// The digest of a policy must change with the files that it names.
func TestDigest(t *testing.T) {
	w := who{}
	dir := t.TempDir()
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := "apiVersion: bundle/v1\nkind: TrustPolicy\nname: site\nserial: 1\nsigners: {ci: {keyFile: ci.pub}}\nroles: {build: {signers: [ci]}}\n"
	write("policy.yaml", []byte(text))
	if _, err := Load(filepath.Join(dir, "policy.yaml")); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "ci.pub does not exist") {
		t.Errorf("error %v", err)
	}
	var last string
	for _, name := range []string{"ci", "ci2"} {
		write("ci.pub", w.get(t, name).Public().PEM())
		p, err := Load(filepath.Join(dir, "policy.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if want := "sha256:" + sum(text+string(w.get(t, name).Public().PEM())); p.Digest.String() != want || want == last {
			t.Errorf("digest %s, want %s", p.Digest, want)
		}
		last = p.Digest.String()
	}
}

func TestPatterns(t *testing.T) {
	p := &parser{}
	for _, c := range []struct {
		pattern, ref string
		want         bool
	}{
		{"registry.corp/**", "registry.corp/a/b:1", true},
		{"registry.corp/**", "registry.corp.evil/a:1", false},
		{"registry.corp/*", "registry.corp/a:1", true},
		{"registry.corp/*", "registry.corp/a/b:1", false},
		{"registry.corp/a", "registry.corp/a:1", true},
		{"registry.corp/a:1", "registry.corp/a:1", true},
		{"registry.corp/a:1", "registry.corp/a:2", false},
		{"registry.corp:5000/*", "registry.corp:5000/a:1", true},
		{"**", "registry.corp:5000/a:1", true},
		{"a.b/c", "aXb/c:1", false},
		{"*", "a\nb", true},
	} {
		node := scalar(c.pattern)
		if got := p.pattern(node, "x").image(c.ref); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.ref, got)
		}
	}
}

// FuzzPolicy reads hostile policies and revocation lists: none may panic, and
// what is taken must be taken again from the same bytes.
func FuzzPolicy(f *testing.F) {
	w := who{}
	f.Add([]byte(w.text(f, 1, "ci alice/notAfter=2026-05-31", "roles: {build: {signers: [ci], threshold: 1}}\nadmin: {signers: [alice]}\nbundles: [{name: a*, minVersion: 1.0.0, rollback: allow}]\nimages: [{match: [\"**\"], signers: [ci]}, {match: [a], unsigned: true}]\nrevoked: {identities: [a@b]}\n")))
	f.Add([]byte("apiVersion: bundle/v1\nkind: Revocations\npolicy: site\nkeys: []\nidentities: [a]\nindexes: []\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Parse("p", data, nil); err == nil {
			if again, err := Parse("p", bytes.Clone(p.text), nil); err != nil || again.Digest != p.Digest {
				t.Fatalf("taken once and then not: %v", err)
			}
			judge(t, p, nil).Evaluate(t.Context(), []byte("{}"), nil)
		} else if !errors.Is(err, ErrSyntax) {
			t.Fatal(err)
		}
		if _, err := ParseRevocations("r", data); err != nil && !errors.Is(err, ErrSyntax) {
			t.Fatal(err)
		}
	})
}

// FuzzState reads hostile memories.
func FuzzState(f *testing.F) {
	good, err := json.Marshal(stateFile{Schema: 1, Policies: map[string]memory{"site": {Serial: 2, Policy: "x", Bundles: map[string]accepted{"a": {Version: "1"}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseState(data)
		if err != nil {
			return
		}
		for _, m := range s.Policies {
			_, _ = m.successor("x")
			m := clone(m)
			m.revoke(&Revocations{keys: map[string]bool{"a": true}})
		}
	})
}
