package pack

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"

	"bundle/archive"
)

// compact packs what is not compressed yet: manifests, configs, and layers
// that their media type calls plain tars. Layers are read once more for that,
// from their source.
func (c *composer) compact(ctx context.Context, images []packedImage) error {
	plain := map[string]bool{}
	for _, img := range images {
		for _, b := range img.blobs {
			if strings.HasSuffix(b.desc.MediaType, ".tar") {
				plain[b.desc.Digest.String()] = true
			}
		}
	}
	for _, group := range [][]archive.Blob{c.manifests, c.configs, c.layers} {
		for i, blob := range group {
			if len(blob.Frames) > 0 || c.absent[blob.Digest] {
				continue
			}
			var r io.ReadCloser
			if data, ok := c.memory[blob.Digest]; ok {
				r = io.NopCloser(bytes.NewReader(data))
			} else if plain[blob.Digest.String()] {
				var err error
				if r, err = c.remote[blob.Digest].open(ctx, 0); err != nil {
					return err
				}
			} else {
				continue
			}
			packed, err := archive.Measure(r)
			r.Close()
			if err != nil {
				return err
			}
			if packed.Digest != blob.Digest {
				return fmt.Errorf("%w: %s came as %s", archive.ErrDigest, blob.Digest, packed.Digest)
			}
			group[i] = packed
		}
	}
	return nil
}
