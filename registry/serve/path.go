package serve

import (
	"strings"

	"github.com/opencontainers/go-digest"
)

// The storage layout of the distribution project, version 2. Our driver shows
// the bundles in this form:
//
//	/docker/registry/v2/blobs/sha256/<xx>/<hex>/data
//	/docker/registry/v2/repositories/<name>/_layers/sha256/<hex>/link
//	/docker/registry/v2/repositories/<name>/_manifests/revisions/sha256/<hex>/link
//	/docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/current/link
//	/docker/registry/v2/repositories/<name>/_manifests/tags/<tag>/index/sha256/<hex>/link
const (
	storageRoot = "/docker/registry/v2"
	reposRoot   = storageRoot + "/repositories"
	blobsRoot   = storageRoot + "/blobs"
	algorithm   = "sha256"
)

// nodeKind says what a path of the storage layout stands for.
type nodeKind int

const (
	nodeNone nodeKind = iota
	nodeFixed
	nodeBlobDir  // the folder of one blob
	nodeBlobData // the blob
	nodeName     // a repository or the folder of some
	nodeManifests
	nodeRevisions
	nodeRevisionsAlgo
	nodeRevision
	nodeRevisionLink
	nodeTags
	nodeTag
	nodeTagCurrent
	nodeTagCurrentLink
	nodeTagIndex
	nodeTagIndexAlgo
	nodeTagIndexEntry
	nodeTagIndexLink
	nodeLayers
	nodeLayersAlgo
	nodeLayer
	nodeLayerLink
)

// node is a path of the storage layout, understood.
type node struct {
	kind   nodeKind
	fixed  string // nodeFixed: the path itself
	repo   string
	tag    string
	digest digest.Digest
}

// parsePath understands p, or gives a node of kind nodeNone. Every path it
// understands is given back unchanged by [node.path].
func parsePath(p string) node {
	switch p {
	case "/", "/docker", "/docker/registry", storageRoot, blobsRoot, blobsRoot + "/" + algorithm:
		return node{kind: nodeFixed, fixed: p}
	case reposRoot:
		return node{kind: nodeName}
	}
	if rest, ok := strings.CutPrefix(p, blobsRoot+"/"+algorithm+"/"); ok {
		return parseBlob(rest)
	}
	if rest, ok := strings.CutPrefix(p, reposRoot+"/"); ok {
		return parseRepo(rest)
	}
	return node{}
}

func parseBlob(rest string) node {
	prefix, rest, ok := strings.Cut(rest, "/")
	if !ok {
		return node{}
	}
	hex, file, ok := strings.Cut(rest, "/")
	d := parseHex(hex)
	if d == "" || prefix != hex[:2] {
		return node{}
	}
	switch {
	case !ok:
		return node{kind: nodeBlobDir, digest: d}
	case file == "data":
		return node{kind: nodeBlobData, digest: d}
	}
	return node{}
}

func parseHex(hex string) digest.Digest {
	d := digest.Digest(algorithm + ":" + hex)
	if d.Validate() != nil {
		return ""
	}
	return d
}

func parseRepo(rest string) node {
	parts := strings.Split(rest, "/")
	n := len(parts)
	for i, c := range parts {
		if c == "" || c == "." || c == ".." {
			return node{}
		}
		// No component of a name begins with an underscore.
		if c[0] == '_' {
			n = i
			break
		}
	}
	for _, c := range parts[n:] {
		if c == "" {
			return node{}
		}
	}
	name := strings.Join(parts[:n], "/")
	if n == len(parts) {
		return node{kind: nodeName, repo: name}
	}
	if name == "" {
		return node{}
	}
	inner := parts[n+1:]
	switch parts[n] {
	case "_layers":
		return parseLinks(name, "", inner, nodeLayers)
	case "_manifests":
		if len(inner) == 0 {
			return node{kind: nodeManifests, repo: name}
		}
		switch inner[0] {
		case "revisions":
			return parseLinks(name, "", inner[1:], nodeRevisions)
		case "tags":
			return parseTag(name, inner[1:])
		}
	}
	return node{}
}

// parseLinks understands [algorithm [hex ["link"]]] below a folder whose kind
// is first; the kinds of the deeper ones follow it.
func parseLinks(repo, tag string, parts []string, first nodeKind) node {
	nd := node{kind: first, repo: repo, tag: tag}
	if len(parts) == 0 {
		return nd
	}
	if parts[0] != algorithm || len(parts) > 3 {
		return node{}
	}
	nd.kind = first + 1
	if len(parts) == 1 {
		return nd
	}
	nd.kind = first + 2
	if nd.digest = parseHex(parts[1]); nd.digest == "" {
		return node{}
	}
	if len(parts) == 2 {
		return nd
	}
	nd.kind = first + 3
	if parts[2] != "link" {
		return node{}
	}
	return nd
}

func parseTag(repo string, parts []string) node {
	if len(parts) == 0 {
		return node{kind: nodeTags, repo: repo}
	}
	tag := parts[0]
	if !validTag.MatchString(tag) {
		return node{}
	}
	switch {
	case len(parts) == 1:
		return node{kind: nodeTag, repo: repo, tag: tag}
	case parts[1] == "index":
		return parseLinks(repo, tag, parts[2:], nodeTagIndex)
	case parts[1] == "current" && len(parts) == 2:
		return node{kind: nodeTagCurrent, repo: repo, tag: tag}
	case parts[1] == "current" && len(parts) == 3 && parts[2] == "link":
		return node{kind: nodeTagCurrentLink, repo: repo, tag: tag}
	}
	return node{}
}

// path spells the node out; the empty string for nodeNone.
func (nd node) path() string {
	repo := reposRoot
	if nd.repo != "" {
		repo += "/" + nd.repo
	}
	hex := "/" + algorithm
	if nd.digest != "" {
		hex += "/" + nd.digest.Encoded()
	}
	tag := repo + "/_manifests/tags/" + nd.tag
	switch nd.kind {
	case nodeFixed:
		return nd.fixed
	case nodeBlobDir:
		return blobDir(nd.digest)
	case nodeBlobData:
		return blobDir(nd.digest) + "/data"
	case nodeName:
		return repo
	case nodeManifests:
		return repo + "/_manifests"
	case nodeRevisions:
		return repo + "/_manifests/revisions"
	case nodeRevisionsAlgo, nodeRevision:
		return repo + "/_manifests/revisions" + hex
	case nodeRevisionLink:
		return repo + "/_manifests/revisions" + hex + "/link"
	case nodeTags:
		return repo + "/_manifests/tags"
	case nodeTag:
		return tag
	case nodeTagCurrent:
		return tag + "/current"
	case nodeTagCurrentLink:
		return tag + "/current/link"
	case nodeTagIndex:
		return tag + "/index"
	case nodeTagIndexAlgo, nodeTagIndexEntry:
		return tag + "/index" + hex
	case nodeTagIndexLink:
		return tag + "/index" + hex + "/link"
	case nodeLayers:
		return repo + "/_layers"
	case nodeLayersAlgo, nodeLayer:
		return repo + "/_layers" + hex
	case nodeLayerLink:
		return repo + "/_layers" + hex + "/link"
	}
	return ""
}

func blobDir(d digest.Digest) string {
	hex := d.Encoded()
	return blobsRoot + "/" + algorithm + "/" + hex[:2] + "/" + hex
}

// isLink tells whether the node is a file that holds a digest.
func (nd node) isLink() bool {
	switch nd.kind {
	case nodeRevisionLink, nodeTagCurrentLink, nodeTagIndexLink, nodeLayerLink:
		return true
	}
	return false
}
