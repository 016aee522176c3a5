package conformance

import (
	"context"
	"slices"
	"testing"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/testsuites"

	"bundle/registry/serve"
)

// TestDriver runs the distribution project's own suite on the overlay: it
// must be a storage driver like any other.
func TestDriver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a minute")
	}
	bundle := open(t, write(t, &content{}))
	testsuites.Driver(t, func() (storagedriver.StorageDriver, error) {
		s, err := serve.New([]serve.Bundle{bundle}, serve.Options{Writable: t.TempDir()})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = s.Close() })
		return emptyRoot{s.Driver()}, nil
	}, false)
}

// emptyRoot hides the folders that a driver over bundles always has: the suite
// wants a storage that is empty when it is done.
type emptyRoot struct{ storagedriver.StorageDriver }

func (d emptyRoot) List(ctx context.Context, p string) ([]string, error) {
	names, err := d.StorageDriver.List(ctx, p)
	if p == "/" {
		names = slices.DeleteFunc(names, func(n string) bool { return n == "/docker" })
	}
	return names, err
}
