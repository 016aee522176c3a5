package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrPlatform is wrapped by the errors of [ParsePlatform].
var ErrPlatform = errors.New("not OS/ARCH[/VARIANT], as in linux/amd64")

// Platform is what an image is made for, in the one spelling that Go and OCI
// use: variants that say what is the case anyway are left out. Platforms are
// comparable.
type Platform struct{ OS, Arch, Variant string }

// NewPlatform puts the parts into their one spelling: linux/aarch64 and
// linux/arm64/v8 are linux/arm64.
func NewPlatform(os, arch, variant string) Platform {
	p := Platform{strings.ToLower(os), strings.ToLower(arch), strings.ToLower(variant)}
	switch p.Arch {
	case "x86_64", "x86-64":
		p.Arch = "amd64"
	case "aarch64":
		p.Arch = "arm64"
	case "armhf":
		p.Arch, p.Variant = "arm", "v7"
	case "armel":
		p.Arch, p.Variant = "arm", "v6"
	}
	switch {
	case p.Arch == "arm64" && p.Variant == "v8", p.Arch == "amd64" && p.Variant == "v1":
		p.Variant = ""
	case p.Arch == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// ParsePlatform reads "os/arch[/variant]". Errors wrap [ErrPlatform].
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, fmt.Errorf("platform %.100q is %w", s, ErrPlatform)
	}
	return NewPlatform(parts[0], parts[1], strings.Join(parts[2:], "")), nil
}

// String gives os/arch[/variant].
func (p Platform) String() string {
	s := p.OS + "/" + p.Arch
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Known is false for artifacts that have no platform and for the
// "unknown/unknown" of BuildKit's attestations.
func (p Platform) Known() bool {
	return p.OS != "" && p.OS != "unknown" && p.Arch != "" && p.Arch != "unknown"
}
