package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
)

// marker says which bundle a root file system is, and what belongs to it, so
// that a second run needs no registry to see that nothing is to be done.
type marker struct {
	Schema int           `json:"schema"`
	Ref    string        `json:"ref"`
	Digest digest.Digest `json:"digest"`
	// Files as the inventory has them, without their sources.
	Files []manifest.File `json:"files"`
}

// overlay is what the site put over the bundle's files, by path.
type overlay map[string]overlaid

type overlaid struct {
	Mode   uint32        `json:"mode"`
	Size   int64         `json:"size"`
	Digest digest.Digest `json:"digest"`
}

const maxMarker = 512 << 20

// readMarker gives the marker of the root file system, nil where there is no
// whole one.
func readMarker(root *os.Root) *marker {
	var m marker
	if readJSON(root, markerName, &m) != nil || m.Schema != 1 || m.Digest.Validate() != nil {
		return nil
	}
	return &m
}

func readOverlay(root *os.Root) overlay {
	o := overlay{}
	if readJSON(root, overlayName, &o) != nil {
		return overlay{}
	}
	return o
}

func readJSON(root *os.Root, name string, v any) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxMarker {
		return fmt.Errorf("%s is no file of ours", name)
	}
	return json.NewDecoder(io.LimitReader(f, maxMarker)).Decode(v)
}

// writeJSON writes a file of ours in one step and brings it to disk.
func writeJSON(root *os.Root, name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeWhole(root, name, 0o644, raw)
}

// writeWhole puts data at name in one step and brings it to disk.
func writeWhole(root *os.Root, name string, mode fs.FileMode, data []byte) (err error) {
	f, temp, err := createTemp(root, name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			_ = root.Remove(temp)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return rename(root, temp, name)
}

// rename gives a file its name, in the place of whatever has it.
func rename(root *os.Root, from, to string) error {
	err := root.Rename(from, to)
	if err == nil {
		return nil
	}
	info, statErr := root.Lstat(to)
	if statErr != nil || !info.IsDir() {
		return err
	}
	if err := root.RemoveAll(to); err != nil {
		return err
	}
	return root.Rename(from, to)
}

// exists tells whether there is anything at name.
func exists(root *os.Root, name string) bool {
	_, err := root.Lstat(name)
	return err == nil || !errors.Is(err, fs.ErrNotExist)
}
