package check

import (
	"cmp"
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

// running is what runs of one image, in the order in which it was met.
type running struct {
	image, id string // as it was asked for, as it runs
	name      string // in the bundle, empty where it is not there
	digest    digest.Digest
	pods      []string
}

func runningImages(e Expected, s State) []*running {
	byKey := map[string]*running{}
	var list []*running
	for _, p := range s.Pods {
		for _, c := range p.Containers {
			if c.ImageID == "" {
				continue // not started; another item says so if that is wrong
			}
			d := DigestOf(c.ImageID)
			name, ok := e.Images[d]
			known := ok && d != ""
			key := c.Image + " " + c.ImageID
			if known {
				key = d.String()
			}
			r := byKey[key]
			if r == nil {
				r = &running{image: c.Image, id: c.ImageID, digest: d}
				if known {
					r.name = name
				}
				byKey[key] = r
				list = append(list, r)
			}
			r.pods = append(r.pods, p.Namespace+"/"+p.Name)
		}
	}
	for _, r := range list {
		r.pods = slices.Compact(r.pods)
	}
	return list
}

func images(e Expected, s State) Item {
	i := newItem(ItemImages, "All running images are the bundle's, by digest", "所有运行中的镜像与安装包摘要一致")
	good := 0
	for _, r := range runningImages(e, s) {
		if r.name != "" {
			good++
			i.pass("%s is %s", r.name, r.digest)
			continue
		}
		tell := i.fail
		if e.AllowForeign {
			tell = i.warn
		}
		if more := len(r.pods) - 1; more > 0 {
			tell("%s runs as %s, which is not in the bundle: pod %s and %d more", r.image, r.id, r.pods[0], more)
		} else {
			tell("%s runs as %s, which is not in the bundle: pod %s", r.image, r.id, r.pods[0])
		}
	}
	return i.done(say("%s in use, all from the bundle", many{good, "image"}), "images run that are not the bundle's",
		"add them to the bundle, or remove what brought them")
}

// imageLines lists what runs, in order of name.
func imageLines(e Expected, s State) []ImageLine {
	list := []ImageLine{}
	for _, r := range runningImages(e, s) {
		l := ImageLine{Name: plain(r.name), Digest: r.digest.String(), Pods: len(r.pods), OK: r.name != ""}
		if !l.OK {
			l.Name = plain(r.image)
		}
		list = append(list, l)
	}
	slices.SortStableFunc(list, func(a, b ImageLine) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Digest, b.Digest))
	})
	return list
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
