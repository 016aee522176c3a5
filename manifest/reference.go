package manifest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// ErrReference is wrapped by every error of [ParseReference].
var ErrReference = errors.New("not an image reference")

// LocalRegistry is the registry name that sealer gives to the registry of the
// cluster being built. References to it name an image by repository and tag
// alone; they are resolved against the bundle's own lists.
const LocalRegistry = "sea.hub:5000"

// Reference names one image the way its registry knows it, fully spelled out:
// "nginx" becomes docker.io/library/nginx:latest. The zero value is no
// reference. References are comparable and may be used as map keys.
type Reference struct {
	// Registry is the host with its port, if any: "docker.io", "sea.hub:5000".
	Registry string
	// Repository is the path below the registry, without a leading slash.
	Repository string
	// Tag is empty only where Digest is set and no tag was written.
	Tag string
	// Digest is empty where the reference names only a tag.
	Digest digest.Digest
}

// ParseReference reads an image reference the way container tools do: a
// missing registry is docker.io, a single-component docker.io repository is
// under library/, and a missing tag is "latest" unless a digest is given.
// Both "repo:tag@sha256:…" and "repo@sha256:…" are accepted. Errors wrap
// [ErrReference] and name s.
func ParseReference(s string) (Reference, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		reason := strings.TrimPrefix(err.Error(), "invalid reference format: ")
		if reason == reference.ErrReferenceInvalidFormat.Error() {
			return Reference{}, fmt.Errorf("%q is %w", s, ErrReference)
		}
		return Reference{}, fmt.Errorf("%q is %w: %s", s, ErrReference, reason)
	}
	r := Reference{Registry: reference.Domain(named), Repository: reference.Path(named)}
	if d, ok := named.(reference.Digested); ok {
		r.Digest = d.Digest()
	}
	if t, ok := named.(reference.Tagged); ok {
		r.Tag = t.Tag()
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r, nil
}

// String gives the whole name: registry/repository[:tag][@digest].
func (r Reference) String() string {
	return r.Registry + "/" + r.Hostless()
}

// Name gives the name without tag and digest: registry/repository.
func (r Reference) Name() string {
	return r.Registry + "/" + r.Repository
}

// Hostless gives the name without its registry, as sealer's local registry
// serves it: repository[:tag][@digest].
func (r Reference) Hostless() string {
	s := r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest.String()
	}
	return s
}

// IsLocal tells whether the reference points at the cluster's own registry
// and so must be answered from the bundle's lists.
func (r Reference) IsLocal() bool {
	return r.Registry == LocalRegistry
}

// WithDigest returns r with its digest set to d.
func (r Reference) WithDigest(d digest.Digest) Reference {
	r.Digest = d
	return r
}
