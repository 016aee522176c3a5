package pack

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/manifest"
)

// deltaOf is what a delta leans on, and what that holds; nil where a bundle is
// built whole.
type deltaOf struct {
	bases []archive.Base
	holds map[digest.Digest]archive.Blob
	// leftOut blobs of so many bytes are not in the file.
	leftOut int
	bytes   int64
}

// readBases reads what the bundles and inventories in files hold. Their lists
// decide, not their content: a bundle that is a delta itself counts for all
// that it is with its own base.
func readBases(files []string) (*deltaOf, error) {
	if len(files) == 0 {
		return nil, nil
	}
	d := &deltaOf{holds: map[digest.Digest]archive.Blob{}}
	for _, file := range files {
		inv, err := readBase(file)
		if err != nil {
			return nil, inputError{fmt.Errorf("--base %s: %w", file, noSuchFile(file, err))}
		}
		for _, b := range inv.Bundles {
			d.bases = append(d.bases, archive.Base{Index: b.IndexDigest, Name: b.Name, Version: b.Version})
		}
		for _, b := range inv.Blobs {
			if _, ok := d.holds[b.Digest]; !ok {
				d.holds[b.Digest] = b
			}
		}
	}
	return d, nil
}

func readBase(file string) (*Inventory, error) {
	r, err := archive.Open(file)
	if errors.Is(err, archive.ErrFormat) {
		return ReadInventory(file)
	}
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Load(); err != nil {
		return nil, err
	}
	inv := &Inventory{Bundles: []manifest.Base{identity(r)}, Blobs: r.Layout()}
	return inv, nil
}

// identity is what the index of a loaded bundle says that it is.
func identity(r *archive.Reader) manifest.Base {
	a := r.Index().Annotations
	return manifest.Base{Name: a[archive.AnnotationName], Version: a[archive.AnnotationVersion], IndexDigest: r.IndexDigest()}
}

// leaveOut marks the blobs that the file need not hold. They are listed as the
// base stores them, so that base and delta can be put together as they are.
func (d *deltaOf) leaveOut(c *composer) {
	if d == nil {
		return
	}
	c.absent = map[digest.Digest]bool{}
	for _, group := range [][]archive.Blob{c.manifests, c.configs, c.layers} {
		for i, blob := range group {
			have, ok := d.holds[blob.Digest]
			if !ok || have.Size != blob.Size {
				continue
			}
			group[i] = have
			c.absent[blob.Digest] = true
			d.leftOut++
			d.bytes += blob.Size
		}
	}
}

// plan lays the file out.
func (d *deltaOf) plan(c *composer, docker []byte) (*archive.Plan, error) {
	if len(c.absent) == 0 {
		return archive.NewPlan(c.index, c.blobs(), docker)
	}
	a := archive.Delta{Bases: d.bases}
	for _, b := range c.blobs() {
		if c.absent[b.Digest] {
			a.Absent = append(a.Absent, b.Digest)
		}
	}
	return archive.NewDeltaPlan(c.index, c.blobs(), docker, a)
}

// named are the bases of the file; none if it is whole.
func (d *deltaOf) named() []manifest.Base {
	if d == nil || d.leftOut == 0 {
		return nil
	}
	list := make([]manifest.Base, len(d.bases))
	for i, b := range d.bases {
		list[i] = manifest.Base{Name: b.Name, Version: b.Version, IndexDigest: b.Index}
	}
	return list
}

// left gives how many blobs were left out, and their bytes.
func (d *deltaOf) left() (blobs int, bytes int64) {
	if d == nil {
		return 0, 0
	}
	return d.leftOut, d.bytes
}

// readAtMost reads a file of at most limit bytes.
func readAtMost(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than the %d bytes that it may have", limit)
	}
	return data, err
}
