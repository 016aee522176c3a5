package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
)

// whiteoutRoot is where the overlay keeps its marks. The distribution project
// writes nothing outside /docker.
const whiteoutRoot = "/whiteouts"

// overlayFormat is a file of the overlay that says which version of this
// package's bookkeeping it holds.
const overlayFormat = whiteoutRoot + "/format"

// maxWhiteout bounds the mark of one deletion, in bytes.
const maxWhiteout = 4096

var errWhiteout = errors.New("a mark of the overlay does not hold a path")

// whiteouts are the paths whose content in the bundles was deleted. A mark
// hides everything at and below its path for good; what is written there
// later lies in the overlay, where no mark reaches. The nil value hides
// nothing.
type whiteouts struct {
	mu    sync.RWMutex
	paths map[string]struct{}
}

// loadWhiteouts reads the marks that earlier runs left.
func loadWhiteouts(ctx context.Context, upper storagedriver.StorageDriver) (*whiteouts, error) {
	w := &whiteouts{paths: map[string]struct{}{}}
	marks, err := upper.List(ctx, whiteoutRoot)
	if isNotFound(err) {
		return w, nil
	}
	if err != nil {
		return nil, err
	}
	for _, mark := range marks {
		if mark == overlayFormat || strings.HasSuffix(mark, ".tmp") {
			continue // the latter of a write that was cut off
		}
		b, err := upper.GetContent(ctx, mark)
		if err != nil {
			return nil, err
		}
		if len(b) > maxWhiteout || markPath(string(b)) != mark {
			return nil, fmt.Errorf("%w: %s", errWhiteout, mark)
		}
		w.paths[string(b)] = struct{}{}
	}
	return w, nil
}

func markPath(p string) string {
	h := sha256.Sum256([]byte(p))
	return whiteoutRoot + "/" + hex.EncodeToString(h[:])
}

// covers tells whether p or a folder above it was deleted.
func (w *whiteouts) covers(p string) bool {
	if w == nil {
		return false
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if len(w.paths) == 0 {
		return false
	}
	for p != "" {
		if _, ok := w.paths[p]; ok {
			return true
		}
		p = p[:max(0, strings.LastIndexByte(p, '/'))]
	}
	return false
}

// add marks p, on disk first.
func (w *whiteouts) add(ctx context.Context, upper storagedriver.StorageDriver, p string) error {
	if err := upper.PutContent(ctx, markPath(p), []byte(p)); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paths[p] = struct{}{}
	return nil
}
