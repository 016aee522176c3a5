package site

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// records is what we changed on a host outside of our own folder, and how it
// was before.
type records struct {
	Version int      `json:"version"`
	Files   []record `json:"files"`
	// Folders did not exist before; those that end up empty go again.
	Folders []string `json:"folders,omitempty"`
}

// record is one file.
type record struct {
	Path string `json:"path"`
	// Existed, Mode and Before are the file as others had left it.
	Existed bool        `json:"existed"`
	Mode    fs.FileMode `json:"mode,omitempty"`
	Before  []byte      `json:"before,omitempty"`
	// Wrote are the digests of what we put there, newest last: several,
	// because a change may have been cut off between record and file.
	Wrote []string `json:"wrote"`
}

const (
	recordsVersion = 1
	maxWrote       = 8
)

func parseRecords(data []byte) (*records, error) {
	r := &records{Version: recordsVersion}
	if len(bytes.TrimSpace(data)) == 0 {
		return r, nil
	}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	if r.Version != recordsVersion {
		return nil, fmt.Errorf("it was written by another version of this program")
	}
	for _, p := range append(slices.Clone(r.Folders), r.paths()...) {
		if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, " \n\t\\") || strings.Contains(p, "/../") {
			return nil, errors.New("it names a path that we never write to")
		}
	}
	return r, nil
}

func (r *records) empty() bool { return len(r.Files) == 0 && len(r.Folders) == 0 }

func (r *records) paths() []string {
	list := make([]string, len(r.Files))
	for i, f := range r.Files {
		list[i] = f.Path
	}
	return list
}

func (r *records) find(path string) *record {
	for i := range r.Files {
		if r.Files[i].Path == path {
			return &r.Files[i]
		}
	}
	return nil
}

func (r *records) text() []byte {
	b, _ := json.MarshalIndent(r, "", "  ") // nothing in it can fail
	return append(b, '\n')
}

// note records that data takes the place of old.
func (r *records) note(path string, old file, data []byte) {
	sum := sumOf(data)
	rec := r.find(path)
	if rec == nil {
		r.Files = append(r.Files, record{Path: path})
		rec = &r.Files[len(r.Files)-1]
	} else if rec.ours(old) || rec.untouched(old) {
		rec.Wrote = append(slices.DeleteFunc(rec.Wrote, func(s string) bool { return s == sum }), sum)
		rec.Wrote = rec.Wrote[max(0, len(rec.Wrote)-maxWrote):]
		return
	}
	// What others put there since is what has to come back.
	*rec = record{Path: path, Existed: old.exists, Mode: old.mode, Before: old.data, Wrote: []string{sum}}
}

// folders records those that are made outside of our own.
func (r *records) folders(missing []string, base string) {
	for _, d := range missing {
		if d != base && !strings.HasPrefix(d, base+"/") && !slices.Contains(r.Folders, d) {
			r.Folders = append(r.Folders, d)
		}
	}
}

// ours tells whether f is what we wrote.
func (r *record) ours(f file) bool { return f.exists && slices.Contains(r.Wrote, f.sum) }

// untouched tells whether f is as it was before us.
func (r *record) untouched(f file) bool {
	return f.exists == r.Existed && (!f.exists || f.sum == sumOf(r.Before))
}
