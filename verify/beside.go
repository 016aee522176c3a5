package verify

import (
	"context"
	"slices"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
)

// beside finds in open files what a stream leaves out, and which of the files
// are needed for it. Of files that are not loaded yet those are, whose index
// the stream names as its base, or such a base as its own: what pins the
// stream pins them.
func beside(files []*archive.Reader, bases []archive.Base, absent []archive.Blob) (held map[digest.Digest]*archive.Reader, used []*archive.Reader) {
	named := map[digest.Digest]bool{}
	name := func(bases []archive.Base) {
		for _, b := range bases {
			named[b.Index] = true
		}
	}
	name(bases)
	for range files {
		for _, r := range files {
			// What a file has that cannot be loaded is lacking, and is told so.
			if named[r.IndexDigest()] && r.Load() == nil {
				name(r.Bases())
			}
		}
	}
	held = map[digest.Digest]*archive.Reader{}
	took := map[*archive.Reader]bool{}
	for _, b := range absent {
		for _, r := range files {
			if _, length := r.Extent(b.Digest); length == 0 {
				continue
			}
			if have, ok := r.Stat(b.Digest); !ok || have.Size != b.Size {
				continue
			}
			held[b.Digest] = r
			if !took[r] {
				took[r] = true
				used = append(used, r)
			}
			break
		}
	}
	return held, used
}

// Blobs lists the blobs of the stream, and those that were lent to it.
func (h *streamHoldings) Blobs() []archive.Blob {
	list := h.Stream.Blobs()
	if len(h.lent) == 0 {
		return list
	}
	list = slices.Clone(list)
	for _, b := range h.Stream.Absent() {
		if h.lent[b.Digest] != nil {
			list = append(list, b)
		}
	}
	return list
}

// Absent lists the blobs that are neither in the stream nor lent to it.
func (h *streamHoldings) Absent() []archive.Blob {
	var list []archive.Blob
	for _, b := range h.Stream.Absent() {
		if h.lent[b.Digest] == nil {
			list = append(list, b)
		}
	}
	return list
}

// verifyBeside checks every byte of the files that something was lent from.
func (s *survey) verifyBeside(ctx context.Context, used []*archive.Reader, o Options) error {
	for _, r := range used {
		if err := s.part(ctx, r, func(digest.Digest) bool { return false }, o); err != nil {
			return err
		}
	}
	return nil
}
