package archive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// parsedIndex is index.json and what this package needs of it.
type parsedIndex struct {
	index  ocispec.Index
	layout ocispec.Descriptor
	docker digest.Digest // empty where there is no manifest.json
	delta  digest.Digest // empty where there is no delta.json
}

func indexError(class error, format string, a ...any) *Error {
	return &Error{Class: class, Member: nameIndex, Reason: fmt.Sprintf(format, a...)}
}

// isCompact tells whether JSON has no white space between its tokens.
func isCompact(data []byte) bool {
	inString, escaped := false, false
	for _, c := range data {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c <= ' ':
			return false
		}
	}
	return true
}

// parseIndex reads index.json and checks what the format says about it.
func parseIndex(data []byte) (*parsedIndex, error) {
	// An honest descriptor needs some hundred bytes. Refuse the other kind
	// before each of its three bytes becomes a struct.
	if bytes.Count(data, []byte{'{'}) > len(data)/32+64 {
		return nil, indexError(ErrDamaged, "it holds more objects than bytes for them")
	}
	var p parsedIndex
	if err := json.Unmarshal(data, &p.index); err != nil {
		return nil, indexError(ErrDamaged, "it is not an OCI image index: %v", err)
	}
	if !isCompact(data) {
		return nil, indexError(ErrDamaged, "its JSON is not compact")
	}
	a := p.index.Annotations
	format, err := strconv.Atoi(a[AnnotationFormat])
	if err != nil || format < 1 {
		return nil, indexError(ErrFormat, "it has no annotation %s with a version", AnnotationFormat)
	}
	least, err := strconv.Atoi(a[AnnotationMinReader])
	if err != nil || least < 1 || least > format {
		return nil, indexError(ErrFormat, "it has no annotation %s with a version", AnnotationMinReader)
	}
	if least > FormatVersion {
		return nil, indexError(ErrVersion, "the bundle asks for a reader of format version %d, this tool reads up to version %d", least, FormatVersion)
	}
	if p.index.SchemaVersion != 2 || p.index.MediaType != ocispec.MediaTypeImageIndex {
		return nil, indexError(ErrDamaged, "it is not an OCI image index of schema version 2")
	}
	if len(p.index.Manifests) == 0 || p.index.Manifests[0].MediaType != MediaTypeLayout || p.index.Manifests[0].Annotations[AnnotationKind] != KindLayout {
		return nil, indexError(ErrDamaged, "its first descriptor is not the layout")
	}
	for i, m := range p.index.Manifests {
		if !isSHA256(m.Digest) {
			return nil, indexError(ErrDamaged, "descriptor %d has no sha256 digest: %.80q", i, string(m.Digest))
		}
		if m.Size < 0 || m.Size > maxBlobSize {
			return nil, indexError(ErrDamaged, "descriptor %d has the impossible size %d", i, m.Size)
		}
		if i > 0 && m.MediaType == MediaTypeLayout {
			return nil, indexError(ErrDamaged, "it lists a second layout")
		}
	}
	p.layout = p.index.Manifests[0]
	if p.layout.Size > MaxLayoutSize {
		return nil, indexError(ErrDamaged, "the layout may have at most %d bytes, not %d", MaxLayoutSize, p.layout.Size)
	}
	if s, ok := a[AnnotationDockerManifest]; ok {
		p.docker = digest.Digest(s)
		if !isSHA256(p.docker) {
			return nil, indexError(ErrDamaged, "annotation %s is not a sha256 digest", AnnotationDockerManifest)
		}
	}
	if s, ok := a[AnnotationDelta]; ok {
		p.delta = digest.Digest(s)
		if !isSHA256(p.delta) || least < formatDelta {
			return nil, indexError(ErrDamaged, "annotation %s is not a sha256 digest, or comes before its time", AnnotationDelta)
		}
	}
	return &p, nil
}
