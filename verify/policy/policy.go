package policy

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/opencontainers/go-digest"
	"go.yaml.in/yaml/v3"

	"bundle/verify"
	"bundle/verify/sign"
)

// What a policy begins with.
const (
	APIVersion = "bundle/v1"
	Kind       = "TrustPolicy"
)

// Bounds of a policy.
const (
	maxSigners  = 256
	maxRoles    = 32
	maxRules    = 256
	maxPatterns = 1024
	maxRoot     = 8 << 20
	maxKeyFile  = 64 << 10
)

// Policy is a trust policy that was read and checked. It does not change.
type Policy struct {
	// Name tells policies apart; what a target remembers is kept by it.
	Name string
	// Serial grows with each successor.
	Serial int64
	// Digest is the SHA-256 of the file, and of the files that it names, in
	// their order.
	Digest digest.Digest

	text    []byte
	signers map[string]*signer
	roles   []role
	admin   *role
	bundles []bundleRule
	images  []imageRule
	revoked *Revocations
}

// signer is one key or identity.
type signer struct {
	name   string
	key    *sign.PublicKey
	issuer string
	// identity goes with issuer and keyless.
	identity string
	keyless  *verify.KeylessPolicy
	window
}

// window is a span of time; zero ends are open.
type window struct{ notBefore, notAfter time.Time }

// closed says why a window does not hold t; empty where it does.
func (w window) closed(t time.Time) string {
	switch {
	case !w.notBefore.IsZero() && t.Before(w.notBefore):
		return "not before " + w.notBefore.Format(time.RFC3339)
	case !w.notAfter.IsZero() && t.After(w.notAfter):
		return "since " + w.notAfter.Format(time.RFC3339)
	}
	return ""
}

// role is a group of signers of whom some must have signed.
type role struct {
	name    string
	signers []*signer
	need    int
	window
}

type bundleRule struct {
	name     *pattern
	least    *semver.Version
	rollback bool
}

type imageRule struct {
	match    []*pattern
	role     role
	unsigned bool
}

// Load reads the policy at path and the files that it names.
func Load(path string) (*Policy, error) {
	data, err := readFile(path, MaxSize)
	if err != nil {
		return nil, fmt.Errorf("policy %w", err)
	}
	dir := filepath.Dir(path)
	return Parse(path, data, func(name string, limit int64) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return readFile(name, limit)
	})
}

// readFile reads a file of at most limit bytes. Its error begins with the
// file's name.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s does not exist", path)
		}
		return nil, fmt.Errorf("%s cannot be read: %w", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return data, nil
}

// Parse reads a policy. name is what problems call the file; open reads a
// file that the policy names, and is nil where it may name none. Errors wrap
// [ErrSyntax].
func Parse(name string, data []byte, open func(name string, limit int64) ([]byte, error)) (*Policy, error) {
	doc, err := decode(name, data)
	if err != nil {
		return nil, err
	}
	p := &parser{reader: reader{name: name}, open: open, sum: digest.SHA256.Digester(),
		p: &Policy{text: slices.Clone(data), signers: map[string]*signer{}, revoked: &Revocations{}}}
	_, _ = p.sum.Hash().Write(data)
	p.policy(doc)
	if p.err != nil {
		return nil, p.err
	}
	p.p.Digest = p.sum.Digest()
	return p.p, nil
}

type parser struct {
	reader
	p    *Policy
	open func(string, int64) ([]byte, error)
	sum  digest.Digester
}

var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (p *parser) label(n *yaml.Node, what string) string {
	s := p.str(n, what)
	if !nameRE.MatchString(s) {
		p.bad(n, "use letters, digits, dots, dashes and _", "%s is %.60q, which is no name", what, s)
	}
	return s
}

func (p *parser) policy(n *yaml.Node) {
	// Roles name signers, wherever in the file these stand.
	later := map[string]*yaml.Node{}
	keep := func(field string) func(*yaml.Node) {
		return func(n *yaml.Node) { later[field] = n }
	}
	known := p.kind(Kind)
	known["name"] = func(n *yaml.Node) { p.p.Name = p.label(n, "name") }
	known["serial"] = func(n *yaml.Node) { p.p.Serial = p.count(n, "serial", math.MaxInt64) }
	known["signers"] = p.allSigners
	for _, field := range []string{"roles", "admin", "bundles", "images", "revoked"} {
		known[field] = keep(field)
	}
	p.object(n, "a policy", known, "apiVersion", "kind", "name", "serial", "signers", "roles")
	read := map[string]func(*yaml.Node){
		"roles": p.allRoles, "admin": p.adminRole, "bundles": p.allBundles, "images": p.allImages,
		"revoked": func(n *yaml.Node) { p.p.revoked = p.revocations(n, "revoked", fields{}) },
	}
	for _, field := range []string{"roles", "admin", "bundles", "images", "revoked"} {
		if node := later[field]; node != nil && p.err == nil {
			read[field](node)
		}
	}
}

func (p *parser) allSigners(n *yaml.Node) {
	known := map[string]string{}
	p.pairs(n, "signers", func(key, value *yaml.Node) {
		s := p.signer(p.label(key, "the name of a signer"), value)
		if p.err != nil {
			return
		}
		id := s.identity + "\n" + s.issuer
		if s.key != nil {
			id = s.key.ID()
		}
		if other, twice := known[id]; twice {
			p.bad(key, "", "signers %s and %s are the same one, which would count twice", other, s.name)
			return
		}
		known[id] = s.name
		if len(known) > maxSigners {
			p.bad(key, "", "there are more than %d signers", maxSigners)
		}
		p.p.signers[s.name] = s
	})
}

func (p *parser) signer(name string, n *yaml.Node) *signer {
	s := &signer{name: name}
	var key, keyFile, root, rootFile string
	p.object(n, "signer "+name, fields{
		"key":             p.into(&key, "key"),
		"keyFile":         p.into(&keyFile, "keyFile"),
		"identity":        p.into(&s.identity, "identity"),
		"issuer":          p.into(&s.issuer, "issuer"),
		"trustedRoot":     p.into(&root, "trustedRoot"),
		"trustedRootFile": p.into(&rootFile, "trustedRootFile"),
		"notBefore":       p.instant(&s.notBefore, "notBefore", false),
		"notAfter":        p.instant(&s.notAfter, "notAfter", true),
	})
	if p.err != nil {
		return s
	}
	byKey := (key != "") != (keyFile != "") && s.identity+s.issuer+root+rootFile == ""
	byIdentity := key+keyFile == "" && s.identity != "" && s.issuer != "" && (root != "") != (rootFile != "")
	switch {
	case byKey:
		data := []byte(key)
		if keyFile != "" {
			data = p.file(n, keyFile, maxKeyFile)
		}
		if p.err == nil {
			p.key(n, s, data)
		}
	case byIdentity:
		data := []byte(root)
		if rootFile != "" {
			data = p.file(n, rootFile, maxRoot)
		}
		if p.err != nil {
			return s
		}
		var err error
		s.keyless, err = verify.Keyless(verify.Identity{Subject: s.identity, Issuer: s.issuer, TrustedRoot: data})
		if err != nil {
			p.bad(n, "", "signer %s: %v", name, err)
		}
	default:
		p.bad(n, "", "signer %s needs key or keyFile, or else identity, issuer and trustedRoot or trustedRootFile", name)
	}
	return s
}

func (p *parser) key(n *yaml.Node, s *signer, data []byte) {
	keys, err := sign.ParsePublicKeys("signer "+s.name, data)
	switch {
	case err != nil:
		p.bad(n, "", "%v", err)
	case len(keys) != 1:
		p.bad(n, "give each key a name of its own", "signer %s has %d keys", s.name, len(keys))
	default:
		s.key = keys[0]
	}
}

// file reads a file that the policy names.
func (p *parser) file(n *yaml.Node, name string, limit int64) []byte {
	if p.open == nil {
		p.bad(n, "put keys and trusted roots into the policy itself, with key and trustedRoot", "it names the file %s, and a policy that travels may name none", name)
		return nil
	}
	data, err := p.open(name, limit)
	if err != nil {
		p.bad(n, "", "%v", err)
	}
	_, _ = p.sum.Hash().Write(data)
	return data
}

func (p *parser) allRoles(n *yaml.Node) {
	p.pairs(n, "roles", func(key, value *yaml.Node) {
		name := p.label(key, "the name of a role")
		p.p.roles = append(p.p.roles, p.role(name, value, "role "+name, fields{}))
	})
	switch {
	case len(p.p.roles) == 0:
		p.bad(n, "", "roles names nobody; at least one role must sign")
	case len(p.p.roles) > maxRoles:
		p.bad(n, "", "there are more than %d roles", maxRoles)
	}
}

func (p *parser) adminRole(n *yaml.Node) {
	r := p.role("admin", n, "admin", fields{})
	if p.err != nil {
		return
	}
	for _, s := range r.signers {
		if s.key == nil {
			p.bad(n, "", "%s is a certificate identity, and administrators must be keys", s.name)
		}
	}
	p.p.admin = &r
}

// role reads signers, threshold and the window, besides more fields.
func (p *parser) role(name string, n *yaml.Node, what string, more fields) role {
	r := role{name: name}
	var threshold *yaml.Node
	more["signers"] = func(n *yaml.Node) {
		for _, name := range p.strs(n, "signers of "+what, maxSigners) {
			s := p.p.signers[name]
			if s == nil {
				p.bad(n, "", "%s names %.60q, who is no signer of this policy", what, name)
			}
			r.signers = append(r.signers, s)
		}
	}
	more["threshold"] = func(n *yaml.Node) { threshold = n }
	more["notBefore"] = p.instant(&r.notBefore, "notBefore", false)
	more["notAfter"] = p.instant(&r.notAfter, "notAfter", true)
	p.object(n, what, more, "signers")
	r.need = 1
	if threshold != nil && p.err == nil {
		r.need = int(p.count(threshold, "threshold", maxSigners))
	}
	if p.err == nil && r.need > len(r.signers) {
		p.bad(n, "", "%s needs %d signatures and has %d signers", what, r.need, len(r.signers))
	}
	return r
}

func (p *parser) allBundles(n *yaml.Node) {
	p.items(n, "bundles", maxRules, func(n *yaml.Node) {
		var b bundleRule
		p.object(n, "an entry of bundles", fields{
			"name": func(n *yaml.Node) { b.name = p.pattern(n, "name") },
			"minVersion": func(n *yaml.Node) {
				v, err := semver.NewVersion(p.str(n, "minVersion"))
				if err != nil {
					p.bad(n, "write it like 1.2.0", "minVersion is %.60q, which is no semantic version", n.Value)
				}
				b.least = v
			},
			"rollback": func(n *yaml.Node) {
				switch v := p.str(n, "rollback"); v {
				case "allow":
					b.rollback = true
				case "refuse":
				default:
					p.bad(n, "", "rollback is %.60q, and must be refuse or allow", v)
				}
			},
		}, "name")
		p.p.bundles = append(p.p.bundles, b)
	})
}

func (p *parser) allImages(n *yaml.Node) {
	p.items(n, "images", maxRules, func(n *yaml.Node) {
		var rule imageRule
		match := func(n *yaml.Node) {
			p.items(n, "match", maxPatterns, func(n *yaml.Node) { rule.match = append(rule.match, p.pattern(n, "an entry of match")) })
		}
		if hasField(n, "unsigned") {
			p.object(n, "an entry of images", fields{"match": match, "unsigned": func(n *yaml.Node) {
				rule.unsigned = n.Kind == yaml.ScalarNode && n.Value == "true"
				if !rule.unsigned {
					p.bad(n, "leave it out, and name signers", "unsigned must be true")
				}
			}}, "match", "unsigned")
		} else {
			rule.role = p.role("images", n, "an entry of images", fields{"match": match})
		}
		if p.err == nil && len(rule.match) == 0 {
			p.bad(n, "", "an entry of images needs match, a list of patterns")
		}
		p.p.images = append(p.p.images, rule)
	})
}

func hasField(n *yaml.Node, name string) bool {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return true
		}
	}
	return false
}

// pattern matches names: * is any characters but a slash, ** any at all.
type pattern struct {
	text string
	re   *regexp.Regexp
}

// maxPattern bounds a pattern, in bytes.
const maxPattern = 512

func (p *parser) pattern(n *yaml.Node, what string) *pattern {
	s := p.str(n, what)
	if len(s) > maxPattern {
		p.bad(n, "", "%s has more than %d bytes", what, maxPattern)
		s = ""
	}
	expr := regexp.QuoteMeta(s)
	expr = strings.ReplaceAll(expr, `\*\*`, `.*`)
	expr = strings.ReplaceAll(expr, `\*`, `[^/]*`)
	// (?s): what a name holds is not for a pattern to judge.
	return &pattern{s, regexp.MustCompile(`(?s)^` + expr + `$`)}
}

// image matches an image with or without its tag.
func (p *pattern) image(ref string) bool {
	if p.re.MatchString(ref) {
		return true
	}
	i := strings.LastIndexByte(ref, ':')
	return i > strings.LastIndexByte(ref, '/') && p.re.MatchString(ref[:i])
}
