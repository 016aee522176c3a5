package selftest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"bundle/archive"
	"bundle/verify"
	"bundle/verify/sign"
)

// perBundle bounds the time that the user's own bundle is tried.
const perBundle = 20 * time.Second

// both verifies a file from both ends; the errors are verdicts.
func both(ctx context.Context, p []byte, policy verify.Policy) (file, stream error) {
	r, err := archive.NewReader(bytes.NewReader(p), int64(len(p)))
	if err == nil {
		_, err = verify.File(ctx, r, verify.Options{Policy: policy, Jobs: 1})
	}
	_, serr := verify.Stream(ctx, bytes.NewReader(p), verify.Options{Policy: policy})
	return err, serr
}

func (t *tester) good(ctx context.Context) (int, string, error) {
	_, err := verify.Path(ctx, t.s.path, verify.Options{Policy: t.s.policy})
	file, stream := both(ctx, t.s.bytes, t.s.policy)
	if err := errors.Join(err, file, stream); err != nil {
		return 3, "", brokenf("it is refused: %v", err)
	}
	return 3, "accepted, as a file and from a pipe", nil
}

func (t *tester) untrusted(ctx context.Context) (int, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		return 0, "", err
	}
	stranger, err := sign.NewSigner("a stranger", key)
	if err != nil {
		return 0, "", err
	}
	file, stream := both(ctx, t.s.bytes, verify.Keys(stranger.Public()))
	if !errors.Is(file, verify.ErrUntrusted) || !errors.Is(stream, verify.ErrUntrusted) {
		return 2, "", brokenf("a bundle of another signer is not said to be untrusted: %v, %v", file, stream)
	}
	// A stranger's signature over another index, put in ours.
	sig, err := sign.SignIndex(ctx, t.s.signer, append([]byte(" "), t.s.index...))
	if err != nil {
		return 0, "", err
	}
	s := t.s.policy.Evaluate(ctx, t.s.index, []verify.Evidence{{Name: "of another index", Data: sig}})
	if s.Status == verify.StatusVerified {
		return 3, "", brokenf("a signature over another index is accepted")
	}
	return 3, "refused: another key, and a signature over another index", nil
}

// refused wants a changed file to be refused from both ends.
func (t *tester) refused(ctx context.Context, p []byte, how string) error {
	file, stream := both(ctx, p, t.s.policy)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case file == nil:
		return brokenf("%s is not noticed", how)
	case stream == nil:
		return brokenf("%s is not noticed from a pipe", how)
	}
	return nil
}

func (t *tester) flips(ctx context.Context) (int, string, error) {
	p := slices.Clone(t.s.bytes)
	n := t.times(60)
	for i := range n {
		at, bit := t.rnd.IntN(len(p)), byte(1)<<t.rnd.IntN(8)
		p[at] ^= bit
		err := t.refused(ctx, p, fmt.Sprintf("bit %#x of byte %d", bit, at))
		p[at] ^= bit
		if err != nil {
			return i + 1, "", err
		}
	}
	return n, "each refused, as a file and from a pipe", nil
}

func (t *tester) cuts(ctx context.Context) (int, string, error) {
	n := t.times(20)
	for i := range n {
		at := t.rnd.IntN(len(t.s.bytes))
		if err := t.refused(ctx, t.s.bytes[:at], fmt.Sprintf("a file cut off at byte %d", at)); err != nil {
			return i + 1, "", err
		}
	}
	return n, "each refused", nil
}

func (t *tester) extras(ctx context.Context) (int, string, error) {
	skippable := []byte{0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0}
	p := t.s.bytes
	for i, c := range []struct {
		how string
		p   []byte
	}{
		{"a byte behind the end", append(slices.Clone(p), 0)},
		{"a frame behind the end", append(slices.Clone(p), skippable...)},
		{"a frame before the beginning", append(slices.Clone(skippable), p...)},
		{"the file twice", append(slices.Clone(p), p...)},
		{"a byte in the middle", slices.Insert(slices.Clone(p), len(p)/2, 0)},
	} {
		if err := t.refused(ctx, c.p, c.how); err != nil {
			return i + 1, "", err
		}
	}
	return 5, "each refused", nil
}

// changed is a file of which one byte reads differently.
type changed struct {
	io.ReaderAt
	at  int64
	bit byte
}

func (c changed) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	if i := c.at - off; i >= 0 && i < int64(n) {
		p[i] ^= c.bit
	}
	return n, err
}

// flipsOf tries the user's bundle, as long as time allows. The file is not
// touched: it only reads differently.
func (t *tester) flipsOf(ctx context.Context) (int, string, error) {
	file, size, err := openFile(t.o.Bundle)
	if err != nil {
		return 0, "", err
	}
	defer file.Close()
	end := time.Now().Add(perBundle)
	n := 0
	for n < t.times(100) && (n == 0 || time.Now().Before(end)) {
		c := changed{file, t.rnd.Int64N(size), 1 << t.rnd.IntN(8)}
		if err := notice(ctx, c, size); err != nil {
			return n + 1, "", err
		}
		n++
	}
	return n, "each noticed; the file itself was only read", nil
}

// notice wants the changed byte to be noticed by what covers it: a blob, or the
// rest of the file.
func notice(ctx context.Context, c changed, size int64) error {
	r, err := archive.NewReader(c, size)
	if err == nil {
		err = r.Load()
	}
	for i := 0; err == nil && i < len(r.Blobs()); i++ {
		d := r.Blobs()[i].Digest
		if from, n := r.Extent(d); c.at >= from && c.at < from+n {
			err = r.VerifyBlob(ctx, d, nil)
		}
	}
	if err == nil {
		err = r.VerifyFraming(ctx)
	}
	var damage *archive.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		// Signatures are pinned by nothing: the key judges them.
		for _, sig := range r.Signatures() {
			if sign.Check(sig) != nil {
				return nil
			}
		}
		if len(r.Signatures()) > 0 && c.at > size-tailOf(r) {
			return nil
		}
		return brokenf("bit %#x of byte %d is not noticed", c.bit, c.at)
	case !errors.As(err, &damage):
		return err
	}
	return nil
}

// tailOf is how much of the end of a file may be signatures and table.
func tailOf(r *archive.Reader) int64 {
	end := int64(0)
	for _, b := range r.Blobs() {
		from, n := r.Extent(b.Digest)
		end = max(end, from+n)
	}
	return r.Size() - end
}
