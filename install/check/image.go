package check

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

const (
	maxManifest = 8 << 20
	maxDepth    = 8
	maxLine     = 400
	maxName     = 80
)

// ImagesOf gives every digest by which a container runtime may call an image
// of the bundle: of its index, of the manifests below, and of their configs.
func ImagesOf(r *archive.Reader) (map[digest.Digest]string, error) {
	images := map[digest.Digest]string{}
	for _, d := range r.Index().Manifests {
		if d.Annotations[archive.AnnotationKind] == archive.KindImage {
			if err := addImage(r, d.Digest, d.Annotations[archive.AnnotationRef], 0, images); err != nil {
				return nil, err
			}
		}
	}
	return images, nil
}

func addImage(r *archive.Reader, d digest.Digest, name string, depth int, images map[digest.Digest]string) error {
	if _, ok := images[d]; ok || depth > maxDepth {
		return nil
	}
	if _, ok := r.Stat(d); !ok {
		return nil // a platform that the bundle was not asked for
	}
	images[d] = name
	raw, err := r.ReadBlob(d, maxManifest)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	var m struct {
		Manifests []ocispec.Descriptor
		Config    *ocispec.Descriptor
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("image %s: %w: manifest %s is not JSON", name, archive.ErrDamaged, d)
	}
	if m.Config != nil {
		if _, ok := images[m.Config.Digest]; !ok {
			images[m.Config.Digest] = name
		}
	}
	for _, c := range m.Manifests {
		if err := addImage(r, c.Digest, name, depth+1, images); err != nil {
			return err
		}
	}
	return nil
}

// DigestOf reads the digest out of what a runtime says that it runs:
// "sea.hub:5000/pause@sha256:…", "docker-pullable://…@sha256:…",
// "docker://sha256:…" or "sha256:…". It is empty where there is none.
func DigestOf(imageID string) digest.Digest {
	i := strings.LastIndex(imageID, "sha256:")
	if i < 0 || i > 0 && imageID[i-1] != '@' && imageID[i-1] != '/' {
		return ""
	}
	d := digest.Digest(imageID[i:])
	if d.Validate() != nil {
		return ""
	}
	return d
}

func images(e Expected, s State) Item {
	i := newItem(ItemImages, "All running images are the bundle's, by digest", "所有运行中的镜像与安装包摘要一致")
	users := map[string][]string{} // "image as ID" → pods
	var order []string
	good := map[digest.Digest]bool{}
	for _, p := range s.Pods {
		for _, c := range p.Containers {
			if c.ImageID == "" {
				continue // not started; another item says so if that is wrong
			}
			d := DigestOf(c.ImageID)
			if name, ok := e.Images[d]; ok && d != "" {
				if !good[d] {
					good[d] = true
					i.pass("%s is %s", name, d)
				}
				continue
			}
			key := fmt.Sprintf("%s runs as %s", c.Image, c.ImageID)
			if users[key] == nil {
				order = append(order, key)
			}
			users[key] = append(users[key], p.Namespace+"/"+p.Name)
		}
	}
	for _, key := range order {
		pods := slices.Compact(users[key])
		text := key + ", which is not in the bundle: pod " + pods[0]
		if len(pods) > 1 {
			text += fmt.Sprintf(" and %d more", len(pods)-1)
		}
		if e.AllowForeign {
			i.warn("%s", text)
		} else {
			i.fail("%s", text)
		}
	}
	return i.done(count(len(good), "image")+" in use, all from the bundle", "images run that are not the bundle's",
		"add them to the bundle, or remove what brought them")
}

// plain makes text of a cluster fit for one line.
func plain(s string) string { return cut(s, maxLine) }

// short is plain for names and versions.
func short(s string) string { return cut(s, maxName) }

func cut(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.TrimSpace(s)
	for i := range s {
		if i > limit {
			return s[:i] + "…"
		}
	}
	return s
}
