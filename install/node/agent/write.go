package agent

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
	"bundle/pack/unpack"
	"bundle/registry/pull"
)

// writer makes a folder into a tree.
type writer struct {
	o    Options
	root *os.Root
	tree *tree
	// missing is what is not right yet.
	missing map[string]bool
	need    int64 // bytes of the missing files
	owned   bool  // root is closed by us
	note    string
	written int
	pulled  int64
	done    int64
	buf     []byte
}

func newWriter(o Options, root *os.Root, t *tree, wrong []string) *writer {
	w := &writer{o: o, root: root, tree: t, missing: make(map[string]bool, len(wrong)), buf: make([]byte, 256<<10)}
	for _, p := range wrong {
		w.missing[p] = true
		w.need += t.entries[p].Size
	}
	w.done = t.bytes - w.need
	return w
}

func (w *writer) close() {
	if w.owned {
		w.root.Close()
	}
}

// forget strikes the site's own files that are no longer there from the list
// of them; they are the bundle's again.
func (w *writer) forget(over overlay) error {
	n := len(over)
	for p := range w.missing {
		delete(over, p)
	}
	if len(over) == n {
		return nil
	}
	return writeJSON(w.root, overlayName, over)
}

// complete makes everything that is missing.
func (w *writer) complete(ctx context.Context, m *mirrors, layers []ocispec.Descriptor) error {
	if free := freeBytes(w.root); free >= 0 && w.need > free {
		return failure("make room on the disk that holds "+w.o.To,
			"the root file system does not fit on the disk of %s: %s more are needed and %s are free: %w",
			w.o.To, humanBytes(w.need), humanBytes(free), ErrSpace)
	}
	if err := w.skeleton(); err != nil {
		return disk(w.o.To, err)
	}
	// The last layer goes first: it is the one whose files count.
	for _, l := range slices.Backward(layers) {
		if !w.wantsFiles() {
			break
		}
		err := m.each(ctx, "layer "+l.Digest.Encoded()[:12]+" of the root file system", func(ref manifest.Reference) error {
			return w.layer(ctx, m, ref, l)
		})
		if err != nil {
			return err
		}
	}
	for p := range w.missing {
		return fmt.Errorf("%w: %s of the inventory is in no layer of the root file system", ErrDamaged, p)
	}
	// Modes of folders come last: one may forbid writing.
	for _, p := range slices.Backward(w.tree.dirs) {
		mode := fs.FileMode(0o755)
		if f, ok := w.tree.entries[p]; ok {
			mode = fs.FileMode(f.Mode).Perm()
		}
		info, err := w.root.Lstat(p)
		if err != nil {
			return disk(w.o.To, err)
		}
		if have := info.Mode().Perm(); have&mode != mode {
			if err := w.root.Chmod(p, have|mode); err != nil {
				return disk(w.o.To, err)
			}
		}
	}
	if w.note != "" {
		return disk(w.o.To, w.root.Remove(w.note))
	}
	return nil
}

func (w *writer) wantsFiles() bool { return len(w.missing) > 0 }

// needsDigest tells whether a file is missing that only the digest of its
// whole layer can vouch for.
func (w *writer) needsDigest() bool {
	for p := range w.missing {
		if w.tree.entries[p].Digest == "" {
			return true
		}
	}
	return false
}

// skeleton makes folders and links, and clears the way for files.
func (w *writer) skeleton() error {
	for _, p := range w.tree.dirs {
		if !w.missing[p] {
			continue
		}
		if exists(w.root, p) {
			if err := w.root.RemoveAll(p); err != nil {
				return err
			}
		}
		if err := w.root.Mkdir(p, 0o755); err != nil {
			return err
		}
		delete(w.missing, p)
	}
	for _, p := range w.tree.links {
		if !w.missing[p] {
			continue
		}
		temp := tempName(p)
		_ = w.root.Remove(temp)
		if err := w.root.Symlink(w.tree.entries[p].Link, temp); err != nil {
			return err
		}
		if err := rename(w.root, temp, p); err != nil {
			return err
		}
		delete(w.missing, p)
	}
	return nil
}

// layer takes from one layer, as one registry gives it, what is missing.
func (w *writer) layer(ctx context.Context, m *mirrors, ref manifest.Reference, desc ocispec.Descriptor) (err error) {
	whole := w.needsDigest()
	l := m.layer(ctx, ref, desc, !whole)
	// On the word of this layer alone; taken back if it turns out wrong.
	var unsure []string
	defer func() {
		l.close()
		w.pulled += l.read
		if err == nil {
			return
		}
		for _, p := range unsure {
			_ = w.root.Remove(p)
			w.missing[p] = true
			w.done -= w.tree.entries[p].Size
			w.written--
		}
	}()
	var stream io.Reader = onlyReader{l}
	if !whole && !compressed(desc.MediaType) {
		stream = seeker{l}
	}
	content, done, err := unpack.Decompress(stream, desc.MediaType)
	if err != nil {
		return streamError(err, desc)
	}
	defer done()
	sure := map[string]bool{}
	// Files that came with other bytes. Nothing above this layer has them, so
	// unless the layer has them twice, they were damaged on the way.
	other := map[string]bool{}
	tr := tar.NewReader(content)
	for len(w.missing) > 0 || len(unsure) > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return streamError(err, desc)
		}
		p := strings.Trim(path.Clean("/"+h.Name), "/")
		f, ok := w.tree.entries[p]
		if h.Typeflag != tar.TypeReg || !ok || f.Type != "file" || h.Size != f.Size || !w.missing[p] && !sure[p] {
			continue
		}
		kept, err := w.file(ctx, f, tr, desc)
		if err != nil {
			return err
		}
		if !kept {
			other[p] = true
			continue
		}
		if w.missing[p] {
			w.written++
			w.done += f.Size
			delete(w.missing, p)
		}
		if f.Digest == "" && !sure[p] {
			sure[p] = true
			unsure = append(unsure, p)
		}
		if w.o.Progress != nil {
			w.o.Progress(w.done, w.tree.bytes)
		}
	}
	if len(unsure) > 0 {
		if err := l.check(desc); err != nil {
			return err
		}
	}
	for p := range other {
		if w.missing[p] {
			return fmt.Errorf("%w: %s of layer %s has other bytes than the inventory says", ErrDamaged, p, desc.Digest)
		}
	}
	return nil
}

// file writes one file. It tells whether it is the one that the inventory
// names; if not, nothing is left of it.
func (w *writer) file(ctx context.Context, f manifest.File, content io.Reader, desc ocispec.Descriptor) (kept bool, err error) {
	out, temp, err := createTemp(w.root, f.Path)
	if err != nil {
		return false, disk(w.o.To, err)
	}
	defer func() {
		if !kept {
			out.Close()
			_ = w.root.Remove(temp)
		}
	}()
	hash := digest.SHA256.Hash()
	var sink io.Writer = out
	if f.Digest != "" {
		sink = io.MultiWriter(out, hash)
	}
	sunk := &localWriter{w: sink}
	n, err := io.CopyBuffer(sunk, onlyReader{&ctxReader{ctx, content}}, w.buf)
	switch {
	case sunk.err != nil:
		return false, disk(w.o.To, sunk.err)
	case err != nil:
		return false, streamError(err, desc)
	case n != f.Size:
		return false, streamError(io.ErrUnexpectedEOF, desc)
	case f.Digest != "" && digest.NewDigest(digest.SHA256, hash) != f.Digest:
		return false, nil
	}
	if err := out.Chmod(fs.FileMode(f.Mode).Perm()); err != nil {
		return false, disk(w.o.To, err)
	}
	if err := out.Close(); err != nil {
		return false, disk(w.o.To, err)
	}
	if err := w.root.Chtimes(temp, stamp, stamp); err != nil {
		return false, disk(w.o.To, err)
	}
	if err := rename(w.root, temp, f.Path); err != nil {
		return false, disk(w.o.To, err)
	}
	return true, nil
}

func compressed(mediaType string) bool {
	return strings.HasSuffix(mediaType, "gzip") || strings.HasSuffix(mediaType, "+zstd")
}

// streamError says which layer cannot be read; what the network did speaks for
// itself.
func streamError(err error, desc ocispec.Descriptor) error {
	if _, ok := errors.AsType[*pull.Error](err); ok {
		return err
	}
	return fmt.Errorf("%w: layer %s cannot be unpacked: %w", ErrDamaged, desc.Digest, err)
}

// localWriter remembers the error of the disk, as opposed to the network's.
type localWriter struct {
	w   io.Writer
	err error
}

func (l *localWriter) Write(p []byte) (int, error) {
	n, err := l.w.Write(p)
	l.err = err
	return n, err
}

var tempCount atomic.Uint64

// tempName gives an unused name beside p.
func tempName(p string) string {
	return path.Join(path.Dir(p), fmt.Sprintf("%s%d-%d", tempPrefix, os.Getpid(), tempCount.Add(1)))
}

func createTemp(root *os.Root, p string) (*os.File, string, error) {
	temp := tempName(p)
	_ = root.Remove(temp)
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return f, temp, err
}

// removeTemps removes what a run that was killed left half written.
func removeTemps(root *os.Root) error {
	var temps []string
	err := fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.IsDir() && strings.HasPrefix(d.Name(), tempPrefix) {
			temps = append(temps, p)
		}
		return nil
	})
	for _, p := range temps {
		err = errors.Join(err, root.Remove(p))
	}
	return err
}

// humanBytes writes a size for people.
func humanBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exp := float64(n)/unit, 0
	for ; value >= unit && exp < 4; exp++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[exp])
}
