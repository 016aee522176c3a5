package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/maphash"

	"github.com/opencontainers/go-digest"
)

// chunkSize is the unit in which blobs are read, checked and sent, in bytes.
const chunkSize = 1 << 20

// hasher makes the cheap hashes of chunks. Its key is of this process alone,
// so that nobody can prepare bytes that it takes for others.
type hasher struct{ seed maphash.Seed }

func newHasher() hasher { return hasher{maphash.MakeSeed()} }

func (h hasher) sum(b []byte) uint64 { return maphash.Bytes(h.seed, b) }

// sum is a SHA-256 in the making, with the cheap hashes of the chunks that
// went into it.
type sum struct {
	sha    hash.Hash // nil: somebody else makes it
	chunks []uint64
}

func newSum(size int64) *sum {
	return &sum{sha: sha256.New(), chunks: make([]uint64, 0, (size+chunkSize-1)/chunkSize)}
}

func (s *sum) add(h hasher, chunk []byte) {
	if s.sha != nil {
		s.sha.Write(chunk)
	}
	s.chunks = append(s.chunks, h.sum(chunk))
}

func (s *sum) digest() digest.Digest {
	return digest.Digest("sha256:" + hex.EncodeToString(s.sha.Sum(nil)))
}

func (s *sum) matches(d digest.Digest) bool { return s.digest() == d }
