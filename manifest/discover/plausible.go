package discover

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"bundle/manifest"
)

// hint is what the place of a string says about it.
type hint int

const (
	// inField: the key says image. A name with a path or a tag will do.
	inField hint = iota
	// inValue: a whole argument, variable or value. It must carry a tag or a
	// digest, and a host or a tag that reads like a version.
	inValue
	// inText: a word of a script or of prose. It must carry a host and a tag
	// or a digest.
	inText
)

const maxReference = 512

// plausible tells whether s, found in such a place, is likely the name of an
// image, and which. It would rather miss an odd name than report addresses,
// times, versions and keys by the dozen: what must not be missed is found by
// the structure of objects and not here.
func plausible(s string, h hint) (manifest.Reference, bool) {
	none := manifest.Reference{}
	for _, scheme := range []string{"docker://", "docker-pullable://"} {
		s = strings.TrimPrefix(s, scheme)
	}
	if len(s) < 3 || len(s) > maxReference || strings.Contains(s, "://") || strings.Contains(s, "..") {
		return none, false
	}
	ref, err := manifest.ParseReference(s)
	if err != nil {
		return none, false
	}
	first, rest, slash := strings.Cut(s, "/")
	host := slash && hostLike(first)
	tagged := hasTag(s)
	pinned := ref.Digest != ""
	if !host && ref.Registry != "docker.io" {
		// It has the form of a host and is none, "apps.kubernetes.io/x".
		return none, false
	}
	if host && rest == "" {
		return none, false
	}
	switch {
	case pinned:
		return ref, !slices.Contains(notRepositories, ref.Repository)
	case tagged && slices.Contains(notTags, ref.Tag):
		return none, false
	case host && tagged:
		return ref, true
	case h == inText:
		return none, false
	case tagged:
		return ref, hostlessTagged(ref, slash, h)
	case h == inField && slash && !isAddress(first):
		return ref, !fileLike(s) && !apiVersion.MatchString(s)
	}
	return none, false
}

// hostlessTagged judges "repository:tag", the form that so much else has.
func hostlessTagged(ref manifest.Reference, slash bool, h hint) bool {
	repo := strings.TrimPrefix(ref.Repository, "library/")
	switch {
	case slices.Contains(notRepositories, repo), !letters.MatchString(repo), allDigits.MatchString(ref.Tag) && !slash && strings.Contains(repo, "."):
		return false
	case isAddress(ref.Tag):
		return false
	case fileLike(repo):
		return false
	}
	if len(repo) < 2 {
		return false
	}
	if h == inField {
		return true
	}
	if ref.Tag == "latest" {
		return true
	}
	// Without a path "redis:6379" is an address and "container:v1" an API far
	// more often than an image.
	return versionLike.MatchString(ref.Tag) && (slash || strings.ContainsAny(ref.Tag, ".-_")) && !allDigits.MatchString(ref.Tag)
}

var (
	letters     = regexp.MustCompile(`^[a-z]`)
	allDigits   = regexp.MustCompile(`^[0-9]+$`)
	versionLike = regexp.MustCompile(`^v?[0-9]+([._-][0-9A-Za-z._-]*)?$`)
	apiVersion  = regexp.MustCompile(`^[a-z0-9.-]+/v[0-9]+((alpha|beta)[0-9]+)?$`)
	fileName    = regexp.MustCompile(`\.(png|jpe?g|svg|gif|ico|webp|img|iso|qcow2|vmdk|raw|ya?ml|json|conf|cfg|toml|ini|sh|py|js|css|html?|txt|md|log|so|key|crt|pem|tgz|tar|gz|zip|rpm|deb|sock|service|tmpl)$`)
	hostName    = regexp.MustCompile(`^[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*(:[0-9]{1,5})?$`)
)

// notRepositories stand before a colon in much that is no image.
var notRepositories = []string{
	"sha256", "sha512", "sha384", "sha1", "md5", "tcp", "tcp4", "tcp6", "udp", "http", "https", "unix", "file", "ftp", "ssh",
	"git", "grpc", "ws", "wss", "ip", "host", "port", "addr", "address", "version", "kubernetes", "k8s", "release", "tag", "app",
	"chart", "go", "java", "cpu", "memory", "mem", "limit", "ratio", "weight", "since", "date", "time", "level", "size", "system",
}

// notTags follow a colon in taints and mounts.
var notTags = []string{"NoSchedule", "NoExecute", "PreferNoSchedule", "ro", "rw", "z", "Z"}

// hostLike tells whether the part before the first slash can be a registry.
func hostLike(first string) bool {
	if !hostName.MatchString(first) {
		return false
	}
	name, port, hasPort := strings.Cut(first, ":")
	if name == "localhost" || hasPort && port != "" {
		return true
	}
	if !strings.Contains(name, ".") {
		return false
	}
	// A name under these domains is an API group or a label, save for the
	// registries among them.
	for _, domain := range []string{"kubernetes.io", "k8s.io"} {
		if name == domain || strings.HasSuffix(name, "."+domain) {
			return name == "registry."+domain || strings.HasSuffix(name, ".registry."+domain)
		}
	}
	// A top-level domain holds letters; "1.2.3/4:5" is no host, an address is.
	if last := name[strings.LastIndexByte(name, '.')+1:]; allDigits.MatchString(last) {
		return isAddress(name)
	}
	return !fileName.MatchString(name)
}

func isAddress(s string) bool {
	_, err := netip.ParseAddr(s)
	return err == nil
}

// hasTag tells whether s itself names a tag, which ParseReference adds.
func hasTag(s string) bool {
	s, _, _ = strings.Cut(s, "@")
	return strings.Contains(s[strings.LastIndexByte(s, '/')+1:], ":")
}

func fileLike(s string) bool {
	return strings.HasPrefix(s, "/") || strings.HasPrefix(s, ".") || fileName.MatchString(s)
}

// imageKey tells whether a key or the name of a flag ends in "image".
func imageKey(key string) bool {
	key = strings.ToLower(key[strings.LastIndexByte(key, '/')+1:])
	return strings.HasSuffix(key, "image") || strings.HasSuffix(key, "images")
}

// hintOf gives the hint of a key for its value.
func hintOf(key string) hint {
	if imageKey(key) {
		return inField
	}
	return inValue
}
