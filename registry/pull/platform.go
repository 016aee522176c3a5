package pull

import (
	"slices"

	"bundle/manifest"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// platform is a platform that can be compared with what an image has.
type platform struct{ manifest.Platform }

// ParsePlatform checks a platform written as "os/arch[/variant]" and gives
// its canonical form: "linux/aarch64" and "linux/arm64/v8" are
// "linux/arm64".
func ParsePlatform(s string) (string, error) {
	p, err := manifest.ParsePlatform(s)
	return p.String(), err
}

func parsePlatform(s string) (platform, error) {
	p, err := manifest.ParsePlatform(s)
	return platform{p}, err
}

func platformOf(p *ocispec.Platform) platform {
	return platform{manifest.NewPlatform(p.OS, p.Architecture, p.Variant)}
}

// exactly is the best that runs can say.
const exactly = 100

// runs tells how well an image for have serves a host of p: 0 not at all,
// more is better. A host runs what is made for an older variant of its
// architecture.
func (p platform) runs(have platform) int {
	if p.OS != have.OS || p.Arch != have.Arch {
		return 0
	}
	if p.Variant == have.Variant {
		return exactly
	}
	want, got := p.level(), have.level()
	if got < 0 || want < 0 || got > want {
		return 0
	}
	return 1 + got
}

// level orders the variants of an architecture; -1 is one that is unknown.
func (p platform) level() int {
	if p.Variant == "" {
		return 0
	}
	if len(p.Variant) == 2 && p.Variant[0] == 'v' && p.Variant[1] >= '1' && p.Variant[1] <= '9' {
		return int(p.Variant[1] - '0')
	}
	return -1
}

func platformNames(list []platform) []string {
	names := []string{}
	for _, p := range list {
		if s := p.String(); p.Known() && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return names
}
