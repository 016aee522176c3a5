package pack

import (
	"context"
	"errors"

	"bundle/manifest"
)

// ErrInput marks errors that the user mends in an input file or flag.
var ErrInput = errors.New("input is not usable")

// ErrIncomplete says that something the bundle needs would not be in it.
var ErrIncomplete = errors.New("the bundle would be incomplete")

// inputError marks err as one of the input without changing its text.
type inputError struct{ err error }

func (e inputError) Error() string        { return e.err.Error() }
func (e inputError) Unwrap() error        { return e.err }
func (e inputError) Is(target error) bool { return target == ErrInput }

// Options say what to build. The zero value of a field means its default.
type Options struct {
	// Context is the folder that COPY lines are relative to; empty means
	// there is none, and everything comes from the fields below.
	Context string
	// File is the Kubefile or bundle.yaml; default Context/Kubefile, then
	// Context/bundle.yaml.
	File string
	// Dialect of the Kubefile: "auto" (default), "0.5" or "0.9".
	Dialect string
	// BuildArgs set ARGs of a Kubefile.
	BuildArgs map[string]string
	// Images, ImageLists and Charts are asked for besides what File names.
	// A chart is a folder, a .tgz, oci://REF[:VERSION] or
	// NAME@REPO_URL[:VERSION].
	Images, ImageLists, Charts []string
	// Values are files merged over the values of every chart, or, written
	// CHART=FILE, of one.
	Values []string
	// KubeVersion that charts are rendered for; default the Helm SDK's.
	KubeVersion string
	// Profiles are Clusterfiles whose Config documents override files of the
	// bundle at install: charts are rendered once more with each.
	Profiles []string
	// Name and Version of the bundle; default from File, else the context
	// folder and "0.0.0".
	Name, Version string
	// Output file; default NAME-VERSION.tar.zst in the working folder.
	Output string
	// Platforms, default the host's linux platform.
	Platforms []string
	// From are local sources, asked before any registry:
	// oci:DIR, oci-archive:FILE, docker-archive:FILE, bundle:FILE. Instead of
	// its one FILE a bundle may have several, with commas between: a delta and
	// its base, or volumes, which a pattern may mean too.
	From []string
	// Base are bundles, or inventories that bundle inventory wrote, of what is
	// there already: the file leaves out every blob that they hold.
	Base []string
	// Lock is the lock file: read where it exists, else written.
	Lock string
	// UpdateLock resolves everything anew and rewrites Lock.
	UpdateLock bool
	// AllowMissing turns references that charts need and no list names from
	// an error into a warning.
	AllowMissing bool
	// Discover adds the images that charts need to the bundle, as if a list
	// named them. It is on where no image is listed at all.
	Discover bool
	// VolumeSize cuts the file into volumes of at most so many bytes, named
	// Output.001, .002 and so on; 0 makes one file.
	VolumeSize int64
	// Tools are static programs bundle, one for each platform, that go into the
	// file with a page that says how to read it without them. They are no part
	// of the lock.
	Tools []string
	// Compact spends CPU to pack what is not compressed yet.
	Compact bool
	// Cache is a folder that keeps fetched blobs for later builds; empty means
	// that none are kept.
	Cache string
	// Jobs bounds the connections that fetch blobs at once; default 8. Twice as
	// many images are looked up at once.
	Jobs int

	// Registry says how to reach registries.
	Registry RegistryOptions
	// Sign makes the signature over the index; nil builds an unsigned bundle.
	Sign func(ctx context.Context, index []byte) ([]byte, error)
	// Warn is told what the user should know and the build can live with.
	Warn func(Warning)
}

// RegistryOptions say how to reach registries.
type RegistryOptions struct {
	// Mirrors maps a registry's host ("*" for all) to the address to ask
	// instead. What is recorded keeps the registry's own name.
	Mirrors map[string]string
	// Config is a docker config.json with credentials; default docker's own.
	Config string
	// PlainHTTP and SkipTLSVerify list addresses; loopback is plain HTTP
	// without being listed.
	PlainHTTP, SkipTLSVerify []string
	// CA is a PEM file of certificates to trust besides the system's.
	CA string
	// Retries of a request that failed for a passing reason; 0 means 5, less
	// than 0 none.
	Retries int
}

// Warning is something a build can live with and a person should know.
type Warning struct {
	Source manifest.Source
	Text   string
}

func (w Warning) String() string {
	if w.Source == "" {
		return w.Text
	}
	return string(w.Source) + ": " + w.Text
}
