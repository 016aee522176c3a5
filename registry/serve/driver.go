package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"slices"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
)

// driverName is the name under which the driver is known to the distribution
// project's factory, which is the only way to hand one to it.
const driverName = "bundle"

// driverParameter is the key of the driver itself in its parameters.
const driverParameter = "driver"

var errNoDriver = errors.New("the bundle storage driver is made by serve.New alone")

func init() { factory.Register(driverName, driverFactory{}) }

type driverFactory struct{}

// Create gives back the driver that the configuration carries.
func (driverFactory) Create(_ context.Context, parameters map[string]any) (storagedriver.StorageDriver, error) {
	if d, ok := parameters[driverParameter].(*bundleDriver); ok {
		return d, nil
	}
	return nil, errNoDriver
}

// bundleDriver is the distribution project's storage over bundles. Without an
// upper layer it is read-only. With one, everything written goes there,
// reads look there first, and what is deleted from a bundle is remembered as
// gone.
type bundleDriver struct {
	lower *tree
	upper storagedriver.StorageDriver // nil: read-only
	gone  *whiteouts                  // nil: read-only
}

var _ storagedriver.StorageDriver = (*bundleDriver)(nil)

func (d *bundleDriver) Name() string { return driverName }

func notFound(p string) error {
	return storagedriver.PathNotFoundError{Path: p, DriverName: driverName}
}

// missing is what to say where neither layer has p. The upper layer knows no
// colons, which names of registries have; a file that we could have is not
// invalid.
func missing(p string, upper error) error {
	var invalid storagedriver.InvalidPathError
	if errors.As(upper, &invalid) && (p == "/" || parsePath(p).kind == nodeNone) {
		return ours(upper)
	}
	return notFound(p)
}

func isNotFound(err error) bool {
	var pnf storagedriver.PathNotFoundError
	var invalid storagedriver.InvalidPathError
	return errors.As(err, &pnf) || errors.As(err, &invalid)
}

// ours gives an error of the upper layer our name.
func ours(err error) error {
	switch e := err.(type) {
	case storagedriver.PathNotFoundError:
		e.DriverName = driverName
		return e
	case storagedriver.InvalidPathError:
		e.DriverName = driverName
		return e
	}
	return err
}

// below gives the node that the bundles have at p, if it was not deleted.
func (d *bundleDriver) below(p string) (node, storagedriver.FileInfo) {
	nd := parsePath(p)
	if nd.kind == nodeNone || d.gone.covers(p) {
		return node{}, nil
	}
	info := d.lower.stat(nd)
	if info == nil {
		return node{}, nil
	}
	return nd, info
}

func (d *bundleDriver) GetContent(ctx context.Context, p string) ([]byte, error) {
	var upperErr error
	if d.upper != nil {
		var b []byte
		b, upperErr = d.upper.GetContent(ctx, p)
		if upperErr == nil || !isNotFound(upperErr) {
			return b, upperErr
		}
	}
	nd, info := d.below(p)
	switch {
	case info == nil || info.IsDir():
		return nil, missing(p, upperErr)
	case nd.isLink():
		return []byte(d.lower.link(nd)), nil
	}
	return d.lower.store.read(nd.digest, maxManifest)
}

func (d *bundleDriver) Reader(ctx context.Context, p string, offset int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, storagedriver.InvalidOffsetError{Path: p, Offset: offset, DriverName: driverName}
	}
	if d.upper != nil {
		rc, err := d.upper.Reader(ctx, p, offset)
		if err == nil || !isNotFound(err) {
			return rc, err
		}
	}
	nd, info := d.below(p)
	switch {
	case info == nil || info.IsDir():
		return nil, notFound(p)
	case nd.isLink():
		b := []byte(d.lower.link(nd))
		return io.NopCloser(bytes.NewReader(b[min(offset, int64(len(b))):])), nil
	}
	r, err := d.lower.store.open(nd.digest)
	if err != nil {
		return nil, err
	}
	r.ctx, r.off = ctx, offset
	return r, nil
}

func (d *bundleDriver) Stat(ctx context.Context, p string) (storagedriver.FileInfo, error) {
	if d.upper != nil {
		info, err := d.upper.Stat(ctx, p)
		if err == nil || !isNotFound(err) {
			return info, err
		}
	}
	if _, info := d.below(p); info != nil {
		return info, nil
	}
	return nil, notFound(p)
}

func (d *bundleDriver) List(ctx context.Context, p string) ([]string, error) {
	var names []string
	found := false
	if d.upper != nil {
		upper, err := d.upper.List(ctx, p)
		if err != nil && !isNotFound(err) {
			return nil, err
		}
		if err == nil {
			found = true
			names = slices.DeleteFunc(upper, func(c string) bool { return p == "/" && c == whiteoutRoot })
		}
	}
	if nd, info := d.below(p); info != nil && info.IsDir() {
		found = true
		for _, c := range d.lower.list(nd) {
			if child := path.Join(p, c); !d.gone.covers(child) {
				names = append(names, child)
			}
		}
	}
	if !found {
		return nil, notFound(p)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (d *bundleDriver) Walk(ctx context.Context, p string, f storagedriver.WalkFn, options ...func(*storagedriver.WalkOptions)) error {
	return storagedriver.WalkFallback(ctx, d, p, f, options...)
}

func (d *bundleDriver) RedirectURL(*http.Request, string) (string, error) { return "", nil }

// readOnly is the answer to every write without an upper layer.
func readOnly() error { return storagedriver.ErrUnsupportedMethod{DriverName: driverName} }

func (d *bundleDriver) PutContent(ctx context.Context, p string, content []byte) error {
	if d.upper == nil {
		return readOnly()
	}
	return ours(d.upper.PutContent(ctx, p, content))
}

func (d *bundleDriver) Writer(ctx context.Context, p string, appending bool) (storagedriver.FileWriter, error) {
	if d.upper == nil {
		return nil, readOnly()
	}
	w, err := d.upper.Writer(ctx, p, appending)
	return w, ours(err)
}

// Move moves what was written to the overlay. Nothing ever moves content of a
// bundle.
func (d *bundleDriver) Move(ctx context.Context, from, to string) error {
	if d.upper == nil {
		return readOnly()
	}
	return ours(d.upper.Move(ctx, from, to))
}

func (d *bundleDriver) Delete(ctx context.Context, p string) error {
	if d.upper == nil {
		return readOnly()
	}
	// First the mark, then the deletion: a crash in between must not bring a
	// bundle's older content back.
	_, info := d.below(p)
	if info != nil {
		if err := d.gone.add(ctx, d.upper, p); err != nil {
			return err
		}
	}
	err := d.upper.Delete(ctx, p)
	if info != nil && isNotFound(err) {
		return nil
	}
	return ours(err)
}
