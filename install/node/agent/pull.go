package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
	"bundle/registry/wire"
)

// Options says which root file system to bring where.
type Options struct {
	// Registries that serve the bundle, https://HOST:PORT; asked in order.
	Registries []string
	// CAFile is a PEM file of authorities believed besides the system's.
	CAFile string
	// Username and Password are for all registries; empty means none.
	Username, Password string
	// Ref is bundle/NAME:VERSION, and Digest that of the manifest it names.
	Ref    string
	Digest digest.Digest
	// To is where the root file system shall be; absolute.
	To string
	// Progress, if set, hears how many of how many bytes of files are there.
	Progress func(done, total int64)
	// HTTP changes how registries are spoken to; CAFile, Keychain and
	// PlainHTTP are set from the fields above.
	HTTP wire.Options
}

// States of a [Result].
const (
	Unchanged = "unchanged" // all was right
	Repaired  = "repaired"  // files of the same bundle were put right in place
	Unpacked  = "unpacked"  // the root file system is new
)

// Result says what was done.
type Result struct {
	State  string        `json:"state"`
	Ref    string        `json:"ref"`
	Digest digest.Digest `json:"digest"`
	// Files of the root file system, and their bytes.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Written files, and Kept ones that an earlier run left.
	Written int `json:"written"`
	Kept    int `json:"kept"`
	// Pulled are the bytes that came over the network.
	Pulled   int64  `json:"pulled"`
	Registry string `json:"registry,omitempty"`
	Millis   int64  `json:"milliseconds"`
}

// Pull brings the root file system to o.To. What is there from another bundle
// is replaced and nothing of it kept; what is there from the same bundle is
// checked and, where it was changed, put right. Pull waits for another run on
// the same target to end.
func Pull(ctx context.Context, o Options) (*Result, error) {
	start := time.Now()
	m, err := newMirrors(o)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if o.To, err = cleanTarget(o.To); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(o.To), 0o755); err != nil {
		return nil, disk(o.To, err)
	}
	unlock, err := lock(ctx, filepath.Dir(o.To))
	if err != nil {
		return nil, err
	}
	defer unlock()
	p := &puller{o: o, mirrors: m, result: &Result{Ref: o.Ref, Digest: o.Digest}}
	if err := p.run(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if own, ok := errors.AsType[*local](err); ok {
			err = own.err
		}
		return nil, err
	}
	p.result.Millis = time.Since(start).Milliseconds()
	return p.result, nil
}

// cleanTarget refuses targets that can only be a mistake.
func cleanTarget(to string) (string, error) {
	clean := filepath.Clean(to)
	if !filepath.IsAbs(to) || filepath.Dir(filepath.Dir(clean)) == filepath.Dir(clean) {
		return "", fmt.Errorf("the folder %q %w: a path such as /var/lib/sealer/data/my-cluster/rootfs is expected", to, ErrOptions)
	}
	return clean, nil
}

// puller is one run.
type puller struct {
	o       Options
	mirrors *mirrors
	result  *Result
}

func (p *puller) part() string { return p.o.To + ".part" }
func (p *puller) old() string  { return p.o.To + ".old" }

func (p *puller) run(ctx context.Context) error {
	if err := os.RemoveAll(p.old()); err != nil {
		return disk(p.o.To, err)
	}
	done, err := p.same(ctx)
	if done || err != nil {
		return err
	}
	contents, layers, err := p.mirrors.contents(ctx, p.o.Digest)
	if err != nil {
		return err
	}
	t, err := newTree(contents.Files)
	if err != nil {
		return err
	}
	w, err := p.openPart(ctx, t)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.complete(ctx, p.mirrors, layers); err != nil {
		return err
	}
	if err := writeJSON(w.root, markerName, newMarker(p.o, contents.Files)); err != nil {
		return disk(p.o.To, err)
	}
	if err := syncTree(w.root); err != nil {
		return disk(p.o.To, err)
	}
	p.count(w, Unpacked)
	return p.swap()
}

func newMarker(o Options, files []manifest.File) marker {
	m := marker{Schema: 1, Ref: o.Ref, Digest: o.Digest, Files: slices.Clone(files)}
	for i := range m.Files {
		m.Files[i].Source = ""
	}
	return m
}

// same deals with a target that is this very bundle already: it tells whether
// that was all there is to do.
func (p *puller) same(ctx context.Context) (bool, error) {
	root, err := os.OpenRoot(p.o.To)
	if err != nil {
		return false, nil //nolint:nilerr // not there, or no folder: it will be replaced
	}
	defer root.Close()
	m := readMarker(root)
	if m == nil || m.Digest != p.o.Digest {
		return false, nil
	}
	t, err := newTree(m.Files)
	if err != nil {
		return false, nil //nolint:nilerr // a marker that is not ours
	}
	over := readOverlay(root)
	wrong, err := check(ctx, root, t, over, true)
	if err != nil {
		return false, err
	}
	w := newWriter(p.o, root, t, wrong)
	if len(wrong) == 0 {
		p.count(w, Unchanged)
		return true, nil
	}
	contents, layers, err := p.mirrors.contents(ctx, p.o.Digest)
	if err != nil {
		return false, err
	}
	if w.tree, err = newTree(contents.Files); err != nil {
		return false, err
	}
	if err := w.forget(over); err != nil {
		return false, disk(p.o.To, err)
	}
	if err := w.complete(ctx, p.mirrors, layers); err != nil {
		return false, err
	}
	if err := syncTree(root); err != nil {
		return false, disk(p.o.To, err)
	}
	p.count(w, Repaired)
	return true, nil
}

// openPart opens the folder that the root file system is made in, with what
// an earlier run of the same bundle left there.
func (p *puller) openPart(ctx context.Context, t *tree) (*writer, error) {
	const note = ".bundle-part.json"
	var of struct{ Digest digest.Digest }
	root, err := os.OpenRoot(p.part())
	if err == nil {
		if readJSON(root, note, &of) != nil || of.Digest != p.o.Digest {
			root.Close()
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		if err := os.RemoveAll(p.part()); err != nil {
			return nil, disk(p.o.To, err)
		}
		if err := os.Mkdir(p.part(), 0o755); err != nil {
			return nil, disk(p.o.To, err)
		}
		if root, err = os.OpenRoot(p.part()); err != nil {
			return nil, disk(p.o.To, err)
		}
		of.Digest = p.o.Digest
		if err := writeJSON(root, note, of); err != nil {
			root.Close()
			return nil, disk(p.o.To, err)
		}
	}
	if err := removeTemps(root); err != nil {
		root.Close()
		return nil, disk(p.o.To, err)
	}
	// After a loss of power a stamp proves nothing.
	wrong, err := check(ctx, root, t, nil, false)
	if err != nil {
		root.Close()
		return nil, err
	}
	w := newWriter(p.o, root, t, wrong)
	w.owned, w.note = true, note
	return w, nil
}

func (p *puller) count(w *writer, state string) {
	r := p.result
	r.State, r.Files, r.Bytes = state, len(w.tree.files), w.tree.bytes
	r.Written, r.Pulled = w.written, w.pulled
	r.Kept = r.Files - r.Written
	if w.pulled > 0 {
		r.Registry = p.mirrors.refs[p.mirrors.used].Registry
	}
}

// swap puts the finished folder in the place of what is there.
func (p *puller) swap() error {
	if err := refuseMounts(p.o.To); err != nil {
		return err
	}
	_, err := os.Lstat(p.o.To)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.Rename(p.part(), p.o.To); err != nil {
			return disk(p.o.To, err)
		}
		return disk(p.o.To, syncDir(filepath.Dir(p.o.To)))
	case err != nil:
		return disk(p.o.To, err)
	}
	if err := exchange(p.part(), p.o.To); err != nil {
		return disk(p.o.To, err)
	}
	if err := syncDir(filepath.Dir(p.o.To)); err != nil {
		return disk(p.o.To, err)
	}
	// What was there is at .part now.
	if err := os.Rename(p.part(), p.old()); err != nil {
		return disk(p.o.To, err)
	}
	return disk(p.o.To, os.RemoveAll(p.old()))
}
