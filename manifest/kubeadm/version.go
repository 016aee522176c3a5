package kubeadm

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Errors that those of this package wrap.
var (
	// ErrInput says that a file of the image or a document of the
	// Clusterfile cannot be used.
	ErrInput = errors.New("cannot be used")
	// ErrVersion says that the Kubernetes version is unknown, malformed or
	// one that this package cannot configure.
	ErrVersion = errors.New("no Kubernetes version to work with")
)

// MetadataPath is where a cluster image says what it is.
const MetadataPath = "Metadata"

const maxMetadata = 64 << 10

// Metadata is the file Metadata of a cluster image, a small JSON or YAML map.
type Metadata struct {
	// Version of Kubernetes, such as "v1.20.4-aliyun.1".
	Version string `json:"version"`
	// Arch as the image calls it, such as "x86_64" or "amd64".
	Arch string `json:"arch"`
}

// ParseMetadata reads the file Metadata. Fields that it does not know are
// left alone, those it knows must be texts. Errors wrap [ErrInput].
func ParseMetadata(data []byte) (Metadata, error) {
	var m Metadata
	if len(data) > maxMetadata {
		return m, fmt.Errorf("%s %w: it has %d bytes, at most %d are read", MetadataPath, ErrInput, len(data), maxMetadata)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if err := yaml.Unmarshal(data, &m); err != nil {
		return Metadata{}, fmt.Errorf("%s %w: %s", MetadataPath, ErrInput, reason(err))
	}
	if m.Version != "" {
		if _, err := ParseVersion(m.Version); err != nil {
			return Metadata{}, fmt.Errorf("%s %w: %s", MetadataPath, ErrInput, reason(err))
		}
	}
	return m, nil
}

// Version is a Kubernetes version.
type Version struct {
	Major, Minor, Patch int
	// Text is how it was written, with a leading "v".
	Text string
}

var versionForm = regexp.MustCompile(`^v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(?:[-+][0-9A-Za-z.+-]{1,64})?$`)

// ParseVersion reads "v1.20.4-aliyun.1". Errors wrap [ErrVersion].
func ParseVersion(s string) (Version, error) {
	parts := versionForm.FindStringSubmatch(strings.TrimSpace(s))
	if parts == nil {
		return Version{}, fmt.Errorf("%w: %.80q is not like v1.20.4", ErrVersion, s)
	}
	v := Version{Text: "v" + strings.TrimPrefix(strings.TrimSpace(s), "v")}
	for i, to := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*to, _ = strconv.Atoi(parts[i+1]) // at most four digits
	}
	return v, nil
}

// AtLeast tells whether v is major 1 and this minor or later.
func (v Version) AtLeast(minor int) bool {
	return v.Major > 1 || v.Major == 1 && v.Minor >= minor
}

// String gives the text.
func (v Version) String() string { return v.Text }

// Versions of kubeadm's configuration API.
const (
	group    = "kubeadm.k8s.io/"
	V1Beta1  = group + "v1beta1"
	V1Beta2  = group + "v1beta2"
	V1Beta3  = group + "v1beta3"
	V1Beta4  = group + "v1beta4"
	oldest   = 15 // the first minor version that can be configured
	oldestAt = "v1.15"
)

// api is the life of one version of kubeadm's API: the first minor version of
// Kubernetes that reads it, the first that writes it, and the first that no
// longer reads it (0: none is known).
type api struct {
	name              string
	from, native, end int
}

var apis = []api{
	{V1Beta1, 13, 13, 22},
	{V1Beta2, 15, 15, 27},
	{V1Beta3, 22, 22, 0},
	{V1Beta4, 31, 31, 0},
}

func apiIndex(name string) int {
	for i, a := range apis {
		if a.name == name {
			return i
		}
	}
	return -1
}

// Native is the version of kubeadm's API that kubeadm of v writes itself.
func Native(v Version) string {
	name := V1Beta2
	for _, a := range apis {
		if v.AtLeast(a.native) && a.native >= oldest {
			name = a.name
		}
	}
	return name
}

// Supported tells whether kubeadm of v reads the version of its API.
func Supported(v Version, name string) bool {
	i := apiIndex(name)
	return i >= 0 && v.AtLeast(apis[i].from) && (apis[i].end == 0 || !v.AtLeast(apis[i].end))
}

// ForTemplates is the version of kubeadm's API that templates of the image are
// rendered with. sealer knew v1beta2 and v1beta3; what was written for those
// has extraArgs as a map.
func ForTemplates(v Version) string {
	if v.AtLeast(27) {
		return V1Beta3
	}
	return V1Beta2
}

// reason shortens an error of a library to one line.
func reason(err error) string {
	s := err.Error()
	for _, noise := range []string{"error converting YAML to JSON: ", "error unmarshaling JSON: while decoding JSON: ", "json: ", "yaml: "} {
		s = strings.ReplaceAll(s, noise, "")
	}
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}
