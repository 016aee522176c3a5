package overview

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
	"bundle/internal/page"
	"bundle/manifest"
	"bundle/verify"
	"bundle/verify/walk"
)

// Signature is what is known of the signatures of a bundle.
type Signature struct {
	// Judged is what a policy found; nil where nobody asked.
	Judged *verify.Signature
	// Claims are what the signatures say of themselves.
	Claims []verify.Claim
}

// Overview is one bundle as its page shows it.
type Overview struct {
	// File is what the user calls the bundle.
	File        string
	Size        int64
	IndexDigest digest.Digest
	Signature   Signature
	*manifest.Contents
	Images []Image
	// Sums are all bytes of the bundle's blobs by what they are for.
	Sums []Sum
	// Blobs and Bytes count each blob once.
	Blobs int
	Bytes int64
	// Saved is what images would need more if none shared a blob.
	Saved int64

	tiles []page.Tile
}

// Image is an image with its bytes that are in this file.
type Image struct {
	manifest.Image
	// Own bytes are needed by no other image, Shared ones are.
	Own, Shared int64
}

// Class says what blobs are for.
type Class string

// The classes.
const (
	Own    Class = "own"
	Shared Class = "shared"
	Charts Class = "chart"
	Files  Class = "files"
	Other  Class = "other"
)

// Sum is how much of a bundle is of a class.
type Sum struct {
	Class Class
	Blobs int
	Bytes int64
}

// Of looks at a loaded bundle. Manifests that cannot be read are passed over:
// what is below them counts as something else.
func Of(ctx context.Context, file string, r *archive.Reader, c *manifest.Contents) (*Overview, error) {
	o := &Overview{File: file, Size: r.Size(), IndexDigest: r.IndexDigest(), Contents: c}
	users, err := usersOf(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	o.count(r.Blobs(), users)
	return o, nil
}

// users are the entries of the index that need a blob.
type users struct {
	images []digest.Digest // of their roots, each once
	chart  string
	files  bool
}

func usersOf(ctx context.Context, r *archive.Reader) (map[digest.Digest]*users, error) {
	found := map[digest.Digest]*users{}
	fetch := func(_ context.Context, d ocispec.Descriptor) ([]byte, error) {
		return r.ReadBlob(d.Digest, walk.MaxManifest)
	}
	err := walk.Walk(ctx, r.Index(), fetch, func(n *walk.Node) error {
		root := n.Root()
		kind := root.Annotations[archive.AnnotationKind]
		if _, ok := r.Stat(n.Digest); !ok || kind == archive.KindLayout {
			return nil // of a platform that was not taken along, or of a base
		}
		u := found[n.Digest]
		if u == nil {
			u = &users{}
			found[n.Digest] = u
		}
		switch kind {
		case archive.KindImage:
			if !slices.Contains(u.images, root.Digest) {
				u.images = append(u.images, root.Digest)
			}
		case archive.KindChart:
			u.chart = root.Annotations[archive.AnnotationRef]
		case archive.KindBundle:
			u.files = u.files || n.Role == walk.RoleLayer
		}
		return nil
	})
	return found, err
}

// bytesOf is what one image needs.
type bytesOf struct {
	own, shared int64
	parts       []int64
}

func (o *Overview) count(blobs []archive.Blob, found map[digest.Digest]*users) {
	sums := map[Class]*Sum{}
	images := map[digest.Digest]*bytesOf{}
	charts := map[string]int64{}
	names := map[digest.Digest][]string{}
	for _, i := range o.Contents.Images {
		names[i.Digest] = append(names[i.Digest], i.Name)
		images[i.Digest] = &bytesOf{}
	}
	var shared []page.Tile
	for _, b := range blobs {
		u := found[b.Digest]
		if u == nil {
			u = &users{}
		}
		class := Other
		switch {
		case len(u.images) == 1:
			class = Own
		case len(u.images) > 1:
			class = Shared
			o.Saved += b.Size * int64(len(u.images)-1)
			if b.Size > 0 {
				shared = append(shared, sharedTile(b, u.images, names))
			}
		case u.chart != "":
			class = Charts
			charts[u.chart] += b.Size
		case u.files:
			class = Files
		}
		for _, d := range u.images {
			if images[d] == nil {
				images[d] = &bytesOf{}
			}
			if class == Own {
				images[d].own += b.Size
				images[d].parts = append(images[d].parts, b.Size)
			} else {
				images[d].shared += b.Size
			}
		}
		if sums[class] == nil {
			sums[class] = &Sum{Class: class}
		}
		sums[class].Blobs++
		sums[class].Bytes += b.Size
		o.Blobs++
		o.Bytes += b.Size
	}
	for _, class := range []Class{Own, Shared, Charts, Files, Other} {
		if s := sums[class]; s != nil {
			o.Sums = append(o.Sums, *s)
		}
	}
	o.tiles = shared
	o.imageTiles(images, names)
	for ref, n := range charts {
		o.tiles = append(o.tiles, page.Tile{Class: string(Charts), Label: lastPart(ref), Title: ref + ", " + page.Size(n), Href: "#charts", Value: n})
	}
	for class, href := range map[Class]string{Files: "#files", Other: ""} {
		if s := sums[class]; s != nil {
			o.tiles = append(o.tiles, page.Tile{Class: string(class), Label: string(class), Title: string(class) + ", " + page.Size(s.Bytes), Href: href, Value: s.Bytes})
		}
	}
	slices.SortFunc(o.tiles, func(a, b page.Tile) int {
		return cmp.Or(cmp.Compare(b.Value, a.Value), strings.Compare(a.Title, b.Title))
	})
}

func sharedTile(b archive.Blob, images []digest.Digest, names map[digest.Digest][]string) page.Tile {
	const most = 8
	var list []string
	for _, d := range images {
		if n := names[d]; len(n) > 0 {
			list = append(list, n[0])
		}
	}
	slices.Sort(list)
	title := fmt.Sprintf("%s, %s, ×%d: ", page.Short(b.Digest.String()), page.Size(b.Size), len(images))
	shown, more := page.Some(list, most)
	title += strings.Join(shown, ", ")
	if more > 0 {
		title += fmt.Sprintf(" +%d", more)
	}
	return page.Tile{Class: string(Shared), Label: strconv.Itoa(len(images)), Title: title, Value: b.Size}
}

func (o *Overview) imageTiles(images map[digest.Digest]*bytesOf, names map[digest.Digest][]string) {
	add := func(d digest.Digest, label, title, href string) {
		b := images[d]
		delete(images, d) // a second name of the same image adds no bytes
		if b != nil && b.own > 0 {
			o.tiles = append(o.tiles, page.Tile{Class: string(Own), Label: label, Title: title + ", " + page.Size(b.own), Href: href, Value: b.own, Parts: b.parts})
		}
	}
	for _, i := range o.Contents.Images {
		o.Images = append(o.Images, Image{Image: i, Own: images[i.Digest].own, Shared: images[i.Digest].shared})
	}
	for n, i := range o.Contents.Images {
		add(i.Digest, lastPart(i.Name), strings.Join(names[i.Digest], ", "), fmt.Sprintf("#image-%d", n+1))
	}
	for d := range images { // what the index has and the inventory has not
		add(d, page.Short(d.String()), d.String(), "")
	}
}

// lastPart is the part of a reference that tells images of one registry apart.
func lastPart(ref string) string { return ref[strings.LastIndexByte(ref, '/')+1:] }

// maxTiles bounds what a drawing shows one by one.
const maxTiles = 150

// chart draws the bytes; what is small is drawn as one tile for each class.
func (o *Overview) chart(t *page.Template, lang page.Lang) page.Map {
	tiles := slices.Clone(o.tiles)
	for i := range tiles {
		tile := &tiles[i]
		switch c := Class(tile.Class); c {
		case Shared:
			tile.Label += " " + t.Word(lang, "images share this layer")
		case Files, Other:
			word := t.Word(lang, classNames[c])
			tile.Label, tile.Title = word, word+", "+page.Size(tile.Value)
		}
	}
	if len(tiles) > maxTiles {
		rest := map[string]*page.Tile{}
		for _, small := range tiles[maxTiles:] {
			r := rest[small.Class]
			if r == nil {
				r = &page.Tile{Class: small.Class}
				rest[small.Class] = r
			}
			r.Value += small.Value
			r.Parts = append(r.Parts, small.Value)
		}
		tiles = tiles[:maxTiles]
		for _, class := range []Class{Own, Shared, Charts, Files, Other} {
			if r := rest[string(class)]; r != nil {
				r.Label = fmt.Sprintf("+%d", len(r.Parts))
				r.Title = fmt.Sprintf("%s: +%d, %s", t.Word(lang, classNames[class]), len(r.Parts), page.Size(r.Value))
				tiles = append(tiles, *r)
			}
		}
	}
	return page.NewMap(t.Word(lang, "What takes the room"), tiles)
}
