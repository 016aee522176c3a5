package plan

import (
	"errors"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
	"bundle/manifest/cluster"
)

// ErrPlan is wrapped where no plan can be made of an input.
var ErrPlan = errors.New("there is no plan")

// Input is what a plan is made of.
type Input struct {
	Contents *manifest.Contents
	Cluster  *cluster.Cluster
	// Plugins of the image, from the files of its folder plugin or plugins,
	// in the order of their paths, by cluster.ParsePlugins.
	Plugins []cluster.Plugin
	// IndexDigest of the bundle.
	IndexDigest digest.Digest
	// Changed are the files of the root file system that Configs and
	// templates change, with the digests of their new contents. Where it is
	// nil, the Configs and variables themselves stand for them.
	Changed map[string]digest.Digest
}

// inputError is what is wrong with an input, in one sentence.
type inputError struct{ text, hint string }

func (e *inputError) Error() string { return e.text }
func (e *inputError) Is(target error) bool {
	return target == ErrPlan
}

// Hint says what to do next.
func (e *inputError) Hint() string { return e.hint }
