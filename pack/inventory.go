package pack

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/manifest"
)

// inventorySchema is the version of [Inventory].
const inventorySchema = 1

// maxInventory bounds the file of an inventory, in bytes.
const maxInventory = 512 << 20

// Inventory says which blobs are at hand somewhere: what a delta for that
// place may leave out. It is a small file that crosses the air gap in place of
// the bundles that it speaks of (docs/json.md, "inventory").
type Inventory struct {
	SchemaVersion int `json:"schemaVersion"`
	// Bundles are what the blobs are in.
	Bundles []manifest.Base `json:"bundles"`
	// Blobs are listed once each, as they are stored.
	Blobs []archive.Blob `json:"blobs"`
}

// TakeInventory lists what loaded bundles hold, and what they take from their
// bases.
func TakeInventory(bundles []*archive.Reader) *Inventory {
	inv := &Inventory{SchemaVersion: inventorySchema, Bundles: []manifest.Base{}, Blobs: []archive.Blob{}}
	seen := map[digest.Digest]bool{}
	take := func(r *archive.Reader) {
		if seen[r.IndexDigest()] {
			return
		}
		seen[r.IndexDigest()] = true
		inv.Bundles = append(inv.Bundles, identity(r))
		for _, b := range r.Blobs() {
			if !seen[b.Digest] {
				seen[b.Digest] = true
				inv.Blobs = append(inv.Blobs, b)
			}
		}
	}
	for _, r := range bundles {
		take(r)
		for _, part := range r.Parts() {
			take(part)
		}
	}
	return inv
}

// ReadInventory reads what bundle inventory wrote.
func ReadInventory(file string) (*Inventory, error) {
	data, err := readAtMost(file, maxInventory)
	if err != nil {
		return nil, err
	}
	return ParseInventory(data)
}

// errNoInventory is for files of another kind.
var errNoInventory = errors.New("it is neither a bundle nor an inventory that bundle inventory wrote")

// ParseInventory reads an inventory and checks that it makes sense.
func ParseInventory(data []byte) (*Inventory, error) {
	// A blob needs a hundred bytes. Refuse what is mostly braces before each
	// pair of them becomes a struct.
	if bytes.Count(data, []byte{'{'}) > len(data)/32+64 {
		return nil, errNoInventory
	}
	inv := new(Inventory)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(inv); err != nil || d.More() {
		return nil, errNoInventory
	}
	if inv.SchemaVersion != inventorySchema {
		return nil, fmt.Errorf("the inventory has schema version %d, and this tool reads %d", inv.SchemaVersion, inventorySchema)
	}
	if len(inv.Bundles) == 0 {
		return nil, errors.New("the inventory names no bundle")
	}
	for _, b := range inv.Bundles {
		if b.IndexDigest.Validate() != nil || b.IndexDigest.Algorithm() != digest.SHA256 {
			return nil, fmt.Errorf("the inventory gives bundle %.80q the digest %.80q, which is none", b.Name, string(b.IndexDigest))
		}
	}
	for i := range inv.Blobs {
		if err := inv.Blobs[i].Check(); err != nil {
			return nil, fmt.Errorf("the inventory makes no sense: %w", err)
		}
	}
	return inv, nil
}
