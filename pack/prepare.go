package pack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/manifest"
	"bundle/manifest/discover"
	"bundle/manifest/lock"
)

const defaultJobs = 8

// Items counts what Prepare resolves; its methods are called concurrently.
type Items interface {
	// Add says that n more items are known.
	Add(n int)
	// Done says that one of them is finished.
	Done(name string)
}

// Prepare reads every input, resolves every image and fixes the place of each
// byte of the bundle. Errors wrap [ErrInput] where an input file or flag is to
// be mended, [ErrIncomplete] where something that is needed would not be in
// the bundle, and the sources' own errors otherwise. The caller closes the
// Build. items may be nil.
func Prepare(ctx context.Context, o Options, items Items) (_ *Build, err error) {
	if o.Warn == nil {
		o.Warn = func(Warning) {}
	}
	in, err := readInputs(o)
	if err != nil {
		return nil, err
	}
	for _, w := range in.warnings {
		o.Warn(w)
	}
	b := &Build{opts: o, cache: blobCache{o.Cache}, content: newComposer(), output: cmp.Or(o.Output, in.name+"-"+in.version+".tar.zst")}
	defer func() {
		if err != nil {
			b.Close()
		}
	}()
	// First, for it costs no request to say that a program is missing.
	if err := b.addTools(in.platforms); err != nil {
		return nil, err
	}
	sources, base, closers, err := openSources(ctx, o, in, &b.ahead)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, closers...)
	if b.delta, err = readBases(o.Base); err != nil {
		return nil, err
	}
	locked, err := readLock(o)
	if err != nil {
		return nil, err
	}
	steps, err := in.steps(in.name)
	if err != nil {
		return nil, err
	}
	charts, err := loadCharts(ctx, o, in)
	if err != nil {
		return nil, err
	}
	found, err := in.discover(ctx, o, charts, steps)
	if err != nil {
		return nil, err
	}
	pins := base.inherit(in)
	resolution, err := in.complete(o, found, base)
	if err != nil {
		return nil, err
	}
	images, err := b.pull(ctx, in, sources, pins, locked, items)
	if err != nil {
		return nil, err
	}
	if err := hostlessConflicts(images); err != nil {
		return nil, err
	}
	b.images = images
	if err := b.compose(ctx, in, base, charts, steps, resolution); err != nil {
		return nil, err
	}
	if o.VolumeSize > 0 {
		if b.volumes, err = archive.CountVolumes(b.plan, o.VolumeSize); err != nil {
			return nil, inputError{err}
		}
	}
	return b, b.settleLock(locked, in, base, charts)
}

// inherit adds the base's images to the wanted ones and gives their digests.
func (b *base) inherit(in *inputs) map[manifest.Reference]digest.Digest {
	pins := map[manifest.Reference]digest.Digest{}
	if b == nil {
		return pins
	}
	for _, img := range b.contents.Images {
		ref, err := manifest.ParseReference(img.Name)
		if err != nil {
			continue // the base's own build checked its names
		}
		if _, own := in.images.by[ref]; !own {
			pins[ref] = img.Digest
		}
		for _, s := range img.NeededBy {
			in.images.add(ref, b.inherited(s))
		}
		in.images.add(ref)
	}
	return pins
}

// complete compares what charts and manifests ask for with what is listed.
func (in *inputs) complete(o Options, found []discover.Found, b *base) (discover.Resolution, error) {
	own := len(in.images.order)
	if b != nil {
		own -= len(b.contents.Images)
	}
	res := discover.Resolve(found, in.images.order)
	if o.Discover || own <= 0 {
		for _, m := range res.Missing {
			if !m.Malformed() && !m.Ref.IsLocal() {
				in.images.add(m.Ref, m.Source)
			}
		}
		res = discover.Resolve(found, in.images.order)
	}
	if len(res.Ambiguous) > 0 {
		errs := make([]error, len(res.Ambiguous))
		for i, c := range res.Ambiguous {
			errs[i] = c
		}
		return res, inputError{errors.Join(errs...)}
	}
	for _, ref := range slices.Clone(in.images.order) {
		in.images.add(ref, res.NeededBy[ref]...)
	}
	if len(res.Missing) == 0 {
		return res, nil
	}
	if o.AllowMissing {
		for _, m := range res.Missing {
			o.Warn(Warning{Source: m.Source, Text: fmt.Sprintf("needs %s, which is in no image list and will not be in the bundle", m.Raw)})
		}
		return res, nil
	}
	return res, missingError(res.Missing)
}

// missingError names every image that something needs and nothing lists.
func missingError(missing []discover.Miss) error {
	by := map[string][]string{}
	near := map[string]string{}
	for _, m := range missing {
		name := m.Ref.String()
		if m.Malformed() {
			name = fmt.Sprintf("%q (no image reference)", m.Raw)
		}
		if s := string(m.Source); !slices.Contains(by[name], s) {
			by[name] = append(by[name], s)
		}
		near[name] = m.Hint
	}
	noun := "images are"
	if len(by) == 1 {
		noun = "image is"
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d needed %s in no image list", len(by), noun)
	for _, name := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(&text, "\n  %s  needed by %s", name, strings.Join(by[name], "; "))
		if near[name] != "" {
			fmt.Fprintf(&text, " (%s)", near[name])
		}
	}
	return incompleteError{text.String()}
}

type incompleteError struct{ text string }

func (e incompleteError) Error() string        { return e.text }
func (e incompleteError) Is(target error) bool { return target == ErrIncomplete }

// Hint is one line that says what to do next.
func (e incompleteError) Hint() string {
	return "add them to the image list; or --discover to pack what charts ask for, or --allow-missing to go without"
}

// hostlessConflicts refuses two registries whose images would answer to the
// same name once the registry is dropped, as sealer's local registry does.
func hostlessConflicts(images []packedImage) error {
	list := make([]manifest.Reference, 0, len(images))
	for _, img := range images {
		list = append(list, img.ref.WithDigest(img.desc.Digest))
	}
	conflicts := discover.HostlessConflicts(list)
	if len(conflicts) == 0 {
		return nil
	}
	errs := make([]error, len(conflicts))
	for i, c := range conflicts {
		errs[i] = c
	}
	return inputError{errors.Join(errs...)}
}

func fileSize(p string) (int64, error) {
	info, err := os.Stat(p)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// readLock gives the lock that the build must follow; nil where there is none.
func readLock(o Options) (*lock.Lock, error) {
	if o.Lock == "" || o.UpdateLock {
		return nil, nil
	}
	l, err := lock.Read(o.Lock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, inputError{err}
	}
	return l, nil
}
