package discover

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
)

// Keys under which charts and operators keep the pieces of an image's name,
// by preference.
var (
	repositoryKeys = []string{"repository", "repo", "newName", "baseImage", "imageName", "image"}
	tagKeys        = []string{"tag", "imageTag", "newTag"}
	registryKeys   = []string{"registry", "imageRegistry", "hub"}
)

// triple records the image whose name a mapping holds in pieces and tells
// which entries are spoken for. inImage says that the mapping lies under a
// key called image, where "name" and "version" are pieces too.
func (w *walker) triple(ps []pair, inImage bool, n *yaml.Node, p place) map[string]bool {
	values := make(map[string]string)
	for _, e := range ps {
		if s, ok := scalar(e.value); ok && s != "" && values[e.key] == "" {
			values[e.key] = s
		}
	}
	pick := func(keys ...string) (key, value string) {
		for _, k := range keys {
			if values[k] != "" {
				return k, values[k]
			}
		}
		return "", ""
	}
	repoKey, repo := pick(repositoryKeys...)
	tagKey, tag := pick(tagKeys...)
	if repo == "" && (inImage || tagKey == "newTag") {
		repoKey, repo = pick("name")
	}
	if tag == "" && (inImage || repoKey == "baseImage" || repoKey == "image") {
		tagKey, tag = pick("version")
	}
	digestKey, digest := pick("digest")
	if !strings.HasPrefix(digest, "sha256:") {
		digestKey, digest = "", ""
	}
	if repo == "" || tag == "" && digest == "" {
		return nil
	}
	repo = strings.Trim(repo, "/")
	if hasTag(repo) || strings.Contains(repo, "@") || strings.Contains(repo, "://") {
		return nil
	}
	name := repo
	registryKey, registry := pick(registryKeys...)
	if registry = strings.Trim(registry, "/"); registry != "" && !strings.HasPrefix(repo, registry+"/") {
		name = registry + "/" + repo
	}
	if tag != "" {
		name += ":" + tag
	}
	if digest != "" {
		name += "@" + digest
	}
	ref, err := manifest.ParseReference(name)
	if err != nil {
		return nil
	}
	w.add(Found{Ref: ref, Raw: name, Class: Candidate}, n, p)
	return map[string]bool{repoKey: true, tagKey: true, registryKey: true, digestKey: true}
}
