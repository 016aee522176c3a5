package archive

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// encodeLayout gives the layout blob. There is one spelling only, so that a
// parser can be strict and the same plan gives the same bytes.
func encodeLayout(blobs []Blob) []byte {
	b := make([]byte, 0, 32+len(blobs)*128)
	b = append(b, `{"version":1,"blobs":[`...)
	for i := range blobs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"digest":"`...)
		b = append(b, blobs[i].Digest...)
		b = append(b, `","size":`...)
		b = strconv.AppendInt(b, blobs[i].Size, 10)
		if blobs[i].Frames != nil {
			b = append(b, `,"frames":[`...)
			for j, f := range blobs[i].Frames {
				if j > 0 {
					b = append(b, ',')
				}
				b = strconv.AppendInt(b, f, 10)
			}
			b = append(b, `],"packed":"`...)
			b = append(b, blobs[i].Packed...)
			b = append(b, '"')
		}
		b = append(b, '}')
	}
	return append(b, `]}`...)
}

// layoutParser reads exactly what encodeLayout writes.
type layoutParser struct {
	s    string
	at   int
	err  error
	what string // is being read
}

func (p *layoutParser) fail(format string, a ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("at byte %d of %s: "+format, append([]any{p.at, p.what}, a...)...)
	}
}

func (p *layoutParser) accept(lit string) bool {
	if p.err == nil && strings.HasPrefix(p.s[p.at:], lit) {
		p.at += len(lit)
		return true
	}
	return false
}

func (p *layoutParser) expect(lit string) {
	if !p.accept(lit) {
		p.fail("expected %s", lit)
	}
}

// number reads a decimal number without sign and leading zeros, at most
// maxBlobSize.
func (p *layoutParser) number() int64 {
	if p.err != nil {
		return 0
	}
	start := p.at
	var n int64
	for p.at < len(p.s) && p.s[p.at] >= '0' && p.s[p.at] <= '9' {
		n = n*10 + int64(p.s[p.at]-'0')
		if n > maxBlobSize {
			p.fail("a number beyond %d", int64(maxBlobSize))
			return 0
		}
		p.at++
	}
	if p.at == start || (p.s[start] == '0' && p.at > start+1) {
		p.at = start
		p.fail("expected a number")
	}
	return n
}

func (p *layoutParser) digest() digest.Digest {
	const length = len("sha256:") + 64
	if p.err != nil {
		return ""
	}
	if len(p.s)-p.at < length {
		p.fail("expected a digest")
		return ""
	}
	d := digest.Digest(p.s[p.at : p.at+length])
	if !isSHA256(d) {
		p.fail("expected a sha256 digest")
		return ""
	}
	p.at += length
	return d
}

// isSHA256 tells whether d is a well-formed sha256 digest, the only kind that
// a bundle holds.
func isSHA256(d digest.Digest) bool {
	s, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// parseLayout reads the layout blob. Its errors wrap ErrVersion or have no
// class. What it returns is checked by itself, but not yet against the file.
func parseLayout(data []byte) ([]Blob, error) {
	// One string that all digests are part of: far less memory than one each.
	p := &layoutParser{s: string(data), what: "the layout"}
	p.expect(`{"version":`)
	if v := p.number(); p.err == nil && v != formatFirst {
		return nil, fmt.Errorf("%w: the layout is of version %d, this tool reads version %d", ErrVersion, v, formatFirst)
	}
	p.expect(`,"blobs":[`)
	var blobs []Blob
	frames := 0
	for p.err == nil && !p.accept(`]}`) {
		if len(blobs) == MaxBlobs {
			p.fail("more than %d blobs", MaxBlobs)
			break
		}
		if len(blobs) > 0 {
			p.expect(`,`)
		}
		blobs = append(blobs, p.blob(&frames))
	}
	if p.err == nil && p.at != len(p.s) {
		p.fail("something follows")
	}
	if p.err != nil {
		return nil, p.err
	}
	return blobs, nil
}

func (p *layoutParser) blob(frames *int) Blob {
	var b Blob
	p.expect(`{"digest":"`)
	b.Digest = p.digest()
	p.expect(`","size":`)
	b.Size = p.number()
	if p.accept(`,"frames":[`) {
		want := (b.Size + packFrame - 1) / packFrame
		for p.err == nil && !p.accept(`]`) {
			if *frames++; *frames > MaxPackedFrames {
				p.fail("more than %d frames", MaxPackedFrames)
			}
			if int64(len(b.Frames)) == want {
				p.fail("more frames than %d bytes need", b.Size)
			}
			if len(b.Frames) > 0 {
				p.expect(`,`)
			}
			b.Frames = append(b.Frames, p.number())
		}
		p.expect(`,"packed":"`)
		b.Packed = p.digest()
		p.expect(`"`)
	}
	p.expect(`}`)
	if p.err == nil {
		if err := b.Check(); err != nil {
			p.fail("%w", err)
		}
	}
	return b
}

// Check tells whether the entry makes sense by itself.
func (b *Blob) Check() error {
	if !isSHA256(b.Digest) {
		return fmt.Errorf("%q is not a sha256 digest", b.Digest)
	}
	if b.Size < 0 || b.Size > maxBlobSize {
		return fmt.Errorf("blob %s has the impossible size %d", b.Digest, b.Size)
	}
	if b.Frames == nil {
		if b.Packed != "" {
			return fmt.Errorf("blob %s has a packed digest and no frames", b.Digest)
		}
		return nil
	}
	if !isSHA256(b.Packed) {
		return fmt.Errorf("blob %s has frames and no sha256 of them", b.Digest)
	}
	if int64(len(b.Frames)) != (b.Size+packFrame-1)/packFrame || b.Size == 0 {
		return fmt.Errorf("blob %s of %d bytes cannot have %d frames", b.Digest, b.Size, len(b.Frames))
	}
	for _, f := range b.Frames {
		if f < minPacked || f > packedBound {
			return fmt.Errorf("blob %s has a frame of the impossible size %d", b.Digest, f)
		}
	}
	return nil
}
