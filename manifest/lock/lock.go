package lock

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"bundle/manifest"
)

const (
	// Version is the version of the form that this package writes.
	Version = 1
	// MaxSize is the largest lock that is read, in bytes.
	MaxSize = 64 << 20
)

var (
	// ErrLock is wrapped by every error that the content of a lock causes.
	ErrLock = errors.New("bad lock file")
	// ErrVersion is wrapped where a lock was written by a newer tool. It
	// comes with [ErrLock].
	ErrVersion = errors.New("unknown lock version")
)

// Lock is what a build resolved.
type Lock struct {
	// Version of the form; see [Version].
	Version int `json:"version"`
	// Tool that wrote the lock, for people: "bundle 1.2.0".
	Tool string `json:"tool,omitempty"`
	// Platforms that every image was resolved for, as "os/arch[/variant]".
	Platforms []string `json:"platforms"`
	// Bases are the bundles or cluster images that FROM named.
	Bases  []Base  `json:"bases,omitempty"`
	Images []Image `json:"images"`
	Charts []Chart `json:"charts,omitempty"`
	// Files is the digest of the root file system's layer that the build
	// added; empty where it adds none.
	Files digest.Digest `json:"files,omitempty"`
}

// Base is one FROM.
type Base struct {
	// Ref is the name as the input wrote it.
	Ref string `json:"ref"`
	// Digest of the bundle's index.json, or of the cluster image's manifest.
	Digest digest.Digest `json:"digest"`
}

// Image is one resolved reference.
type Image struct {
	// Name is the whole reference: registry/repository:tag.
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType,omitempty"`
	// Platforms that were taken; empty where the image has none.
	Platforms []string            `json:"platforms,omitempty"`
	Attached  []manifest.Attached `json:"attached,omitempty"`
}

// Chart is one resolved Helm chart.
type Chart struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Digest of the packed chart (.tgz).
	Digest digest.Digest `json:"digest"`
	// Source is where the input took it from: a path in the context,
	// "oci://…" or "name@https://repository".
	Source string `json:"source"`
}

// Encode gives the one form that a lock with this content has, whatever the
// order of its slices: sorted, indented with two blanks, with a final newline.
// It fails where [Parse] would refuse the result.
func (l *Lock) Encode() ([]byte, error) {
	c := l.sorted()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLock, err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLock, err)
	}
	return b.Bytes(), nil
}

// sorted gives a copy of l in its one order, with no nil where the form has a
// list.
func (l *Lock) sorted() *Lock {
	c := *l
	if c.Version == 0 {
		c.Version = Version
	}
	c.Platforms = sortedStrings(l.Platforms)
	c.Bases = slices.Clone(l.Bases) // order means inheritance
	c.Images = make([]Image, len(l.Images))
	for i, im := range l.Images {
		if im.Platforms = sortedStrings(im.Platforms); len(im.Platforms) == 0 {
			im.Platforms = nil
		}
		im.Attached = slices.Clone(im.Attached)
		slices.SortFunc(im.Attached, func(a, b manifest.Attached) int {
			return cmp.Or(strings.Compare(string(a.Digest), string(b.Digest)), strings.Compare(a.Tag, b.Tag))
		})
		c.Images[i] = im
	}
	slices.SortFunc(c.Images, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	c.Charts = slices.Clone(l.Charts)
	slices.SortFunc(c.Charts, func(a, b Chart) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Source, b.Source))
	})
	return &c
}

func sortedStrings(s []string) []string {
	out := append([]string{}, s...)
	slices.Sort(out)
	return slices.Compact(out)
}

// Parse reads a lock. name is the file's name as the user knows it. Unknown
// fields, repeated names, bad digests and text after the end are refused, all
// errors of content wrap [ErrLock] and say where and what to do.
func Parse(name string, r io.Reader) (*Lock, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%s is a %w: %w", name, ErrLock, fmt.Errorf(format, args...))
	}
	if len(data) > MaxSize {
		return nil, bad("it is larger than %d MiB", MaxSize>>20)
	}
	if i := bytes.Index(data, []byte("<<<<<<<")); i >= 0 {
		return nil, bad("line %d has a merge conflict; resolve it, or delete the file and build again", lineOf(data, int64(i)))
	}
	// The version is looked at on its own first: a newer form may have fields
	// that a strict reading would only call unknown.
	var v struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, bad("%w", place(data, err))
	}
	switch {
	case v.Version == nil:
		return nil, bad("it has no version; delete it and build again, or give --update-lock")
	case *v.Version != Version:
		return nil, bad("it has version %d and this tool knows %d: %w; use a newer tool, or --update-lock", *v.Version, Version, ErrVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	l := &Lock{}
	if err := dec.Decode(l); err != nil {
		return nil, bad("%w", place(data, err))
	}
	if err := l.check(); err != nil {
		return nil, bad("%w", err)
	}
	return l, nil
}

// place adds the line to an error of encoding/json.
func place(data []byte, err error) error {
	var syn *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syn):
		return fmt.Errorf("line %d: %s", lineOf(data, syn.Offset), strings.TrimPrefix(err.Error(), "json: "))
	case errors.As(err, &typ):
		return fmt.Errorf("line %d: %s has a wrong type: a %s", lineOf(data, typ.Offset), typ.Field, typ.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

func lineOf(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(max(offset, 0), int64(len(data)))], []byte("\n"))
}

// check tells what no lock may hold.
func (l *Lock) check() error {
	if l.Version != Version {
		return fmt.Errorf("version %d: %w", l.Version, ErrVersion)
	}
	for _, b := range l.Bases {
		if err := checkDigest("base", b.Ref, b.Digest); err != nil {
			return err
		}
	}
	images := map[string]bool{}
	for _, im := range l.Images {
		if err := checkDigest("image", im.Name, im.Digest); err != nil {
			return err
		}
		if _, err := manifest.ParseReference(im.Name); err != nil {
			return err
		}
		if images[im.Name] {
			return fmt.Errorf("image %s is in it twice", im.Name)
		}
		images[im.Name] = true
		for _, a := range im.Attached {
			if err := checkDigest("attachment of image", im.Name, a.Digest); err != nil {
				return err
			}
		}
	}
	charts := map[[3]string]bool{}
	for _, c := range l.Charts {
		if err := checkDigest("chart", c.Name, c.Digest); err != nil {
			return err
		}
		key := [3]string{c.Name, c.Version, c.Source}
		if charts[key] {
			return fmt.Errorf("chart %s %s from %s is in it twice", c.Name, c.Version, c.Source)
		}
		charts[key] = true
	}
	if l.Files != "" {
		return checkDigest("layer", "files", l.Files)
	}
	return nil
}

func checkDigest(kind, name string, d digest.Digest) error {
	if name == "" {
		article := "a"
		if strings.ContainsRune("aeiou", rune(kind[0])) {
			article = "an"
		}
		return fmt.Errorf("%s %s has no name", article, kind)
	}
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%s %s has the digest %q: %w", kind, name, d, err)
	}
	if d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("%s %s has a %s digest, only sha256 is supported", kind, name, d.Algorithm())
	}
	return nil
}

// Image gives the locked image of that whole name, if there is one.
func (l *Lock) Image(name string) (Image, bool) {
	i := slices.IndexFunc(l.Images, func(im Image) bool { return im.Name == name })
	if i < 0 {
		return Image{}, false
	}
	return l.Images[i], true
}

// Chart gives the locked chart that came from source, if there is one.
func (l *Lock) Chart(source string) (Chart, bool) {
	i := slices.IndexFunc(l.Charts, func(c Chart) bool { return c.Source == source })
	if i < 0 {
		return Chart{}, false
	}
	return l.Charts[i], true
}

// Base gives the locked base of that name, if there is one.
func (l *Lock) Base(ref string) (Base, bool) {
	i := slices.IndexFunc(l.Bases, func(b Base) bool { return b.Ref == ref })
	if i < 0 {
		return Base{}, false
	}
	return l.Bases[i], true
}
