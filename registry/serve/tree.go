package serve

import (
	"time"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
)

// tree shows the catalog and the store as the storage layout of the
// distribution project. It computes every answer; nothing of the layout is
// held in memory.
type tree struct {
	catalog *catalog
	store   *store
	started time.Time // the modification time of everything
	// onProblem hears of manifests that could not be read.
	onProblem func(error)
}

// stat gives nil where the bundles have nothing at the node.
func (t *tree) stat(nd node) driver.FileInfo {
	size, dir, ok := t.find(nd)
	if !ok {
		return nil
	}
	return driver.FileInfoInternal{FileInfoFields: driver.FileInfoFields{Path: nd.path(), Size: size, ModTime: t.started, IsDir: dir}}
}

func (t *tree) find(nd node) (size int64, dir, ok bool) {
	switch nd.kind {
	case nodeNone:
		return 0, false, false
	case nodeFixed:
		return 0, true, true
	case nodeBlobDir:
		_, ok = t.store.size(nd.digest)
		return 0, true, ok
	case nodeBlobData:
		size, ok = t.store.size(nd.digest)
		return size, false, ok
	case nodeName:
		_, isDir := t.catalog.dirs[nd.repo]
		_, isRepo := t.catalog.repos[nd.repo]
		return 0, true, isDir || isRepo || nd.repo == ""
	}
	r := t.catalog.repos[nd.repo]
	if r == nil {
		return 0, false, false
	}
	if nd.isLink() {
		size = int64(len(algorithm) + 1 + 64)
	}
	return size, !nd.isLink(), t.inRepo(r, nd)
}

func (t *tree) inRepo(r *repo, nd node) bool {
	var err error
	ok := false
	switch nd.kind {
	case nodeRevision, nodeRevisionLink:
		ok, err = r.hasManifest(t.store, nd.digest)
	case nodeLayer, nodeLayerLink:
		ok, err = r.hasBlob(t.store, nd.digest)
	case nodeTag, nodeTagCurrent, nodeTagCurrentLink, nodeTagIndex, nodeTagIndexAlgo:
		_, ok = r.tags[nd.tag]
	case nodeTagIndexEntry, nodeTagIndexLink:
		d, tagged := r.tags[nd.tag]
		ok = tagged && d == nd.digest
	default:
		ok = true
	}
	t.problem(err)
	return ok
}

func (t *tree) problem(err error) {
	if err != nil && t.onProblem != nil {
		t.onProblem(err)
	}
}

// link gives what a link file holds.
func (t *tree) link(nd node) digest.Digest {
	if nd.kind == nodeTagCurrentLink {
		return t.catalog.repos[nd.repo].tags[nd.tag]
	}
	return nd.digest
}

// list gives the names in a folder that is known to exist.
func (t *tree) list(nd node) []string {
	switch nd.kind {
	case nodeFixed:
		return fixedChildren[nd.fixed]
	case nodeBlobDir:
		return []string{"data"}
	case nodeName:
		names := t.catalog.dirs[nd.repo]
		if t.catalog.repos[nd.repo] != nil {
			names = append([]string{"_layers", "_manifests"}, names...)
		}
		return names
	}
	r := t.catalog.repos[nd.repo]
	switch nd.kind {
	case nodeManifests:
		return []string{"revisions", "tags"}
	case nodeRevisions, nodeLayers, nodeTagIndex:
		return []string{algorithm}
	case nodeTags:
		return r.tagNames
	case nodeTag:
		return []string{"current", "index"}
	case nodeTagCurrent, nodeTagIndexEntry, nodeRevision, nodeLayer:
		return []string{"link"}
	case nodeTagIndexAlgo:
		return []string{r.tags[nd.tag].Encoded()}
	case nodeRevisionsAlgo:
		return t.collect(r, func(m *members) map[digest.Digest]struct{} { return m.manifests })
	case nodeLayersAlgo:
		return t.collect(r, func(m *members) map[digest.Digest]struct{} { return m.blobs })
	}
	return nil
}

func (t *tree) collect(r *repo, pick func(*members) map[digest.Digest]struct{}) []string {
	all, err := r.collect(t.store, pick)
	t.problem(err)
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = d.Encoded()
	}
	return names
}

// fixedChildren are the folders above repositories and blobs. The blobs
// themselves are not enumerated: nothing in the API asks for all of them.
var fixedChildren = map[string][]string{
	"/":                {"docker"},
	"/docker":          {"registry"},
	"/docker/registry": {"v2"},
	storageRoot:        {"blobs", "repositories"},
	blobsRoot:          {algorithm},
}
