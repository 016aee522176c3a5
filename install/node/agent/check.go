package agent

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"bundle/manifest"
)

// stamp is the time of last change of every file that we wrote and nobody
// touched since. A file with this time and its size need not be hashed to be
// known.
var stamp = time.Unix(946684800, 0) // 2000-01-01

// check finds what of the tree is not right below root. With trust, a file
// that has its size and our stamp is right; otherwise it is hashed. A file
// without a digest is right only by its stamp.
func check(ctx context.Context, root *os.Root, t *tree, over overlay, trust bool) (wrong []string, err error) {
	lost := map[string]bool{} // folders that will be made anew
	below := func(p string) bool {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			if lost[dir] {
				return true
			}
		}
		return false
	}
	for _, p := range t.dirs {
		if info, err := root.Lstat(p); below(p) || err != nil || !info.IsDir() {
			wrong, lost[p] = append(wrong, p), true
		}
	}
	for _, p := range t.links {
		if !below(p) && over.holds(root, p) {
			continue
		}
		if link, err := root.Readlink(p); below(p) || err != nil || link != t.entries[p].Link {
			wrong = append(wrong, p)
		}
	}
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range t.files {
		if err := ctx.Err(); err != nil {
			break
		}
		f := t.entries[p]
		away := below(p)
		ok, sure := !away && over.holds(root, p), true
		if !ok && !away {
			ok, sure = looksRight(root, f, trust)
		}
		if sure {
			if !ok {
				mu.Lock()
				wrong = append(wrong, p)
				mu.Unlock()
			}
			continue
		}
		g.Go(func() error {
			ok, err := hasDigest(ctx, root, f)
			if err != nil {
				return err
			}
			if !ok {
				mu.Lock()
				wrong = append(wrong, p)
				mu.Unlock()
			}
			return nil
		})
	}
	return wrong, g.Wait()
}

// looksRight judges a file by its entry in the folder; sure is false where it
// has to be read.
func looksRight(root *os.Root, f manifest.File, trust bool) (ok, sure bool) {
	info, err := root.Lstat(f.Path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
		return false, true
	}
	stamped := info.ModTime().Equal(stamp)
	switch {
	case trust && stamped:
	case f.Digest == "":
		return false, true
	default:
		return false, false
	}
	return fixMode(root, f.Path, info, f.Mode), true
}

// fixMode gives back the bits that a file lost; the scripts of an image may
// have added some.
func fixMode(root *os.Root, p string, info fs.FileInfo, mode uint32) bool {
	have, want := info.Mode().Perm(), fs.FileMode(mode).Perm()
	return have&want == want || root.Chmod(p, have|want) == nil
}

// hasDigest reads a file.
func hasDigest(ctx context.Context, root *os.Root, f manifest.File) (bool, error) {
	file, err := root.Open(f.Path)
	if err != nil {
		return false, nil //nolint:nilerr // a file that cannot be read is written again
	}
	defer file.Close()
	hash := digest.SHA256.Hash()
	n, err := io.CopyBuffer(hash, io.LimitReader(&ctxReader{ctx, file}, f.Size+1), make([]byte, 256<<10))
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil || n != f.Size || digest.NewDigest(digest.SHA256, hash) != f.Digest {
		return false, nil
	}
	info, err := file.Stat()
	if err != nil || !fixMode(root, f.Path, info, f.Mode) {
		return false, nil //nolint:nilerr // as above
	}
	_ = root.Chtimes(f.Path, stamp, stamp)
	return true, nil
}

// holds tells whether the site's own file is at p, as it was put there.
func (o overlay) holds(root *os.Root, p string) bool {
	e, ok := o[p]
	if !ok {
		return false
	}
	info, err := root.Lstat(p)
	return err == nil && info.Mode().IsRegular() && info.Size() == e.Size
}

// ctxReader stops reading when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
