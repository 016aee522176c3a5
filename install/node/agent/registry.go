package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
	"bundle/registry/pull"
)

// Media types of the bundle's own manifest (docs/format.md).
const (
	artifactType = "application/vnd.bundle.v1"
	configType   = "application/vnd.bundle.config.v1+json"
	maxConfig    = 256 << 20
	maxLayers    = 4096
)

// mirrors are registries that all serve the same bundle. The one that
// answered last is asked first.
type mirrors struct {
	source *pull.Remote
	refs   []manifest.Reference
	used   int
}

func newMirrors(o Options) (*mirrors, error) {
	repository, _, ok := strings.Cut(o.Ref, ":")
	if !ok || !strings.HasPrefix(repository, "bundle/") {
		return nil, fmt.Errorf("the bundle %q %w: it is not like bundle/NAME:VERSION", o.Ref, ErrOptions)
	}
	if o.Digest.Validate() != nil || o.Digest.Algorithm() != digest.SHA256 {
		return nil, fmt.Errorf("the digest %q %w: it is not like sha256:HEX", o.Digest, ErrOptions)
	}
	if len(o.Registries) == 0 {
		return nil, fmt.Errorf("an empty list of registries %w", ErrOptions)
	}
	m := &mirrors{}
	remote := pull.RemoteOptions{HTTP: o.HTTP, Mirrors: map[string]string{}}
	remote.HTTP.CAFile = o.CAFile
	remote.HTTP.Keychain = authn.NewMultiKeychain() // anonymous
	if o.Username != "" {
		remote.HTTP.Keychain = keychain{o.Username, o.Password}
	}
	for _, r := range o.Registries {
		u, err := url.Parse(r)
		if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.Scheme != "https" && u.Scheme != "http" {
			return nil, fmt.Errorf("the registry %q %w: it is not like https://HOST:PORT", r, ErrOptions)
		}
		if u.Scheme == "http" {
			remote.HTTP.PlainHTTP = append(remote.HTTP.PlainHTTP, u.Host)
		}
		if u.Host == manifest.LocalRegistry {
			remote.Mirrors[u.Host] = u.Host // it has no origin, but is here now
		}
		ref, err := manifest.ParseReference(u.Host + "/" + repository + "@" + o.Digest.String())
		if err != nil {
			return nil, fmt.Errorf("the bundle %q %w: %w", o.Ref, ErrOptions, err)
		}
		m.refs = append(m.refs, ref)
	}
	if len(m.refs) > 1 && remote.HTTP.Retries == 0 {
		remote.HTTP.Retries = 2 // there is another to turn to
	}
	source, err := pull.NewRemote(remote)
	if err != nil {
		return nil, fmt.Errorf("the registry %w: %w", ErrOptions, err)
	}
	m.source = source
	return m, nil
}

func (m *mirrors) close() { m.source.Close() }

// keychain has one user for all registries of the site.
type keychain struct{ user, password string }

// Resolve implements [authn.Keychain].
func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(authn.AuthConfig{Username: k.user, Password: k.password}), nil
}

// each asks one registry after the other until ask succeeds. What this
// machine itself cannot do ends it at once.
func (m *mirrors) each(ctx context.Context, what string, ask func(ref manifest.Reference) error) error {
	var failures []error
	for i := range m.refs {
		at := (m.used + i) % len(m.refs)
		err := ask(m.refs[at])
		if err == nil {
			m.used = at
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if own, ok := errors.AsType[*local](err); ok {
			return own.err
		}
		failures = append(failures, err)
	}
	err := errors.Join(failures...)
	switch {
	case errors.Is(err, pull.ErrUnauthorized):
		return failure("check the user and the password of the registry", "the registry %s does not give out %s: %w", m.names(), what, err)
	case errors.Is(err, pull.ErrDigest), errors.Is(err, ErrDamaged):
		return failure("bundle verify the file that the registry serves", "%s came damaged from %s: %w: %w", what, m.names(), ErrDamaged, err)
	case errors.Is(err, pull.ErrNotFound):
		return failure("make sure that the registry serves this very bundle", "the registry %s has not got %s: %w", m.names(), what, err)
	}
	return failure("make sure that the registry runs and that this host reaches it", "%s cannot be had from %s: %w", what, m.names(), err)
}

func (m *mirrors) names() string {
	var list []string
	for _, r := range m.refs {
		list = append(list, r.Registry)
	}
	return strings.Join(list, ", ")
}

// contents reads the bundle's manifest and its inventory.
func (m *mirrors) contents(ctx context.Context, d digest.Digest) (*manifest.Contents, []ocispec.Descriptor, error) {
	var own ocispec.Manifest
	err := m.each(ctx, "the bundle's manifest", func(ref manifest.Reference) error {
		raw, err := m.source.Manifest(ctx, ref, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: d})
		if err != nil {
			return err
		}
		own = ocispec.Manifest{}
		if err := json.Unmarshal(raw, &own); err != nil {
			return fmt.Errorf("%w: its manifest is not JSON", ErrDamaged)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if own.ArtifactType != artifactType || own.Config.MediaType != configType {
		return nil, nil, fmt.Errorf("%w: %s is not the manifest of a bundle", ErrDamaged, d)
	}
	if len(own.Layers) > maxLayers {
		return nil, nil, fmt.Errorf("%w: the bundle has %d layers, at most %d are accepted", ErrDamaged, len(own.Layers), maxLayers)
	}
	var c manifest.Contents
	err = m.each(ctx, "the bundle's inventory", func(ref manifest.Reference) error {
		raw, err := m.blob(ctx, ref, own.Config)
		if err != nil {
			return err
		}
		c = manifest.Contents{}
		if err := json.Unmarshal(raw, &c); err != nil {
			return fmt.Errorf("%w: its inventory is not JSON", ErrDamaged)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if c.SchemaVersion != 1 {
		return nil, nil, failure("use the version of bundle that made it", "the inventory of the bundle has schema %d, which this version cannot read", c.SchemaVersion)
	}
	var layers []ocispec.Descriptor
	for _, l := range own.Layers {
		if l.MediaType != ocispec.MediaTypeEmptyJSON {
			layers = append(layers, l)
		}
	}
	return &c, layers, nil
}

// blob reads a small blob whole and checks it.
func (m *mirrors) blob(ctx context.Context, ref manifest.Reference, d ocispec.Descriptor) ([]byte, error) {
	if d.Size < 0 || d.Size > maxConfig {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are read", ErrDamaged, d.Digest, d.Size, maxConfig)
	}
	r, err := m.source.Blob(ctx, ref, d, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	// Grows with what comes, not with what was announced.
	var buf bytes.Buffer
	if _, err := io.Copy(&buf, io.LimitReader(r, d.Size+1)); err != nil {
		return nil, err
	}
	if int64(buf.Len()) != d.Size || digest.FromBytes(buf.Bytes()) != d.Digest {
		return nil, fmt.Errorf("%w: %s has other bytes", pull.ErrDigest, d.Digest)
	}
	return buf.Bytes(), nil
}

// layer is the stream of one layer. Where skip is allowed, ranges that nobody
// wants to read are not asked for.
type layer struct {
	open func(offset int64) (io.ReadCloser, error)
	size int64
	body io.ReadCloser
	pos  int64
	skip bool
	hash digest.Digester
	read int64 // bytes that came over the network
}

// worthSkipping is how far ahead a new request is cheaper than reading on.
const worthSkipping = 4 << 20

func (m *mirrors) layer(ctx context.Context, ref manifest.Reference, d ocispec.Descriptor, skip bool) *layer {
	return &layer{
		open: func(offset int64) (io.ReadCloser, error) { return m.source.Blob(ctx, ref, d, offset) },
		size: d.Size, skip: skip, hash: digest.SHA256.Digester(),
	}
}

// Read implements [io.Reader].
func (l *layer) Read(p []byte) (int, error) {
	if l.pos >= l.size {
		return 0, io.EOF
	}
	if l.body == nil {
		body, err := l.open(l.pos)
		if err != nil {
			return 0, err
		}
		l.body = body
	}
	n, err := l.body.Read(p)
	l.pos += int64(n)
	l.read += int64(n)
	if !l.skip {
		l.hash.Hash().Write(p[:n])
	}
	return n, err
}

// check reads the rest and compares the digest of the whole; only for layers
// that do not skip.
func (l *layer) check(d ocispec.Descriptor) error {
	if _, err := io.CopyBuffer(io.Discard, onlyReader{l}, make([]byte, 128<<10)); err != nil {
		return err
	}
	if l.pos != l.size || l.hash.Digest() != d.Digest {
		return fmt.Errorf("%w: layer %s has other bytes", pull.ErrDigest, d.Digest)
	}
	return nil
}

func (l *layer) close() {
	if l.body != nil {
		l.body.Close()
		l.body = nil
	}
}

// seeker is a layer that skips; it is what package tar looks for.
type seeker struct{ *layer }

// Seek implements [io.Seeker] for moves forward from where it is.
func (s seeker) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekCurrent || offset < 0 {
		return 0, errors.ErrUnsupported
	}
	if offset > s.size-s.pos {
		return 0, io.ErrUnexpectedEOF
	}
	if offset >= worthSkipping {
		s.close()
		s.pos += offset
		return s.pos, nil
	}
	_, err := io.CopyN(io.Discard, onlyReader{s.layer}, offset)
	return s.pos, err
}

// onlyReader hides every other method.
type onlyReader struct{ io.Reader }
