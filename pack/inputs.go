package pack

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bundle/manifest"
	"bundle/manifest/bundlefile"
	"bundle/manifest/imagelist"
	"bundle/manifest/kubefile"
)

// inputs is what the user asked for, read and merged, before anybody was
// asked for anything over the network.
type inputs struct {
	name, version string
	platforms     []string
	base          string
	baseSource    manifest.Source
	// inheritSteps says whether the base's steps run before the own ones.
	inheritSteps bool
	images       *wantedImages
	// optional images, by name, are left out where no source has them.
	optional map[string]bool
	charts   []chartInput
	tree     *rootfs
	// steps are made when the base is known: their phase is the bundle's name.
	steps    func(phase string) ([]manifest.Step, error)
	env      []manifest.EnvVar
	labels   map[string]string
	warnings []Warning
}

// wantedImages are references in the order they were first asked for, each
// with everyone who asked.
type wantedImages struct {
	order []manifest.Reference
	by    map[manifest.Reference][]manifest.Source
}

func newWantedImages() *wantedImages {
	return &wantedImages{by: map[manifest.Reference][]manifest.Source{}}
}

func (w *wantedImages) add(ref manifest.Reference, sources ...manifest.Source) {
	if _, ok := w.by[ref]; !ok {
		w.order = append(w.order, ref)
		w.by[ref] = nil
	}
	for _, s := range sources {
		if !slices.Contains(w.by[ref], s) {
			w.by[ref] = append(w.by[ref], s)
		}
	}
}

// readInputs reads the build file and the flags.
func readInputs(o Options) (*inputs, error) {
	in := &inputs{images: newWantedImages(), optional: map[string]bool{}, tree: newRootfs(), platforms: o.Platforms}
	in.steps = func(string) ([]manifest.Step, error) { return nil, nil }
	if err := in.readFile(o); err != nil {
		return nil, inputError{err}
	}
	if err := in.readFlags(o); err != nil {
		return nil, inputError{err}
	}
	if err := in.readRootfsLists(o); err != nil {
		return nil, inputError{err}
	}
	in.name = cmp.Or(o.Name, in.name, contextName(o.Context), "bundle")
	in.version = cmp.Or(o.Version, in.version, "0.0.0")
	if err := checkNameVersion(in.name, in.version); err != nil {
		return nil, inputError{err}
	}
	if len(in.platforms) == 0 {
		in.platforms = hostPlatform()
	}
	platforms := make([]string, len(in.platforms))
	for i, s := range in.platforms {
		p, err := manifest.ParsePlatform(s)
		if err != nil {
			return nil, inputError{err}
		}
		platforms[i] = p.String()
	}
	in.platforms = platforms
	slices.Sort(in.platforms)
	in.platforms = slices.Compact(in.platforms)
	return in, nil
}

// hostPlatform is what a bundle is built for where nobody says.
func hostPlatform() []string { return []string{"linux/" + runtime.GOARCH} }

// checkNameVersion holds name and version to what a repository and a tag may
// be, since the bundle is served as bundle/NAME:VERSION.
func checkNameVersion(name, version string) error {
	ref, err := manifest.ParseReference("localhost/bundle/" + name + ":" + version)
	if err != nil || ref.Repository != "bundle/"+name || ref.Tag != version || strings.Contains(name, "/") {
		return fmt.Errorf("name %q and version %q cannot name a bundle: use lower-case letters, digits and .-_ for the name, and no blanks or slashes in the version", name, version)
	}
	return nil
}

// contextName gives the folder's own name, made fit for a repository.
func contextName(context string) string {
	if context == "" {
		return ""
	}
	abs, err := filepath.Abs(context)
	if err != nil {
		return ""
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '.', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, filepath.Base(abs)), "-._")
}

// buildFile finds the file that says what to build; "" where flags say it.
func buildFile(o Options) (string, error) {
	if o.File != "" {
		return o.File, nil
	}
	if o.Context == "" {
		if len(o.Images)+len(o.ImageLists)+len(o.Charts) == 0 {
			return "", errors.New("there is nothing to build: give a CONTEXT with a Kubefile or bundle.yaml, or --image, --image-list or --chart")
		}
		return "", nil
	}
	info, err := os.Stat(o.Context)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("the context %s does not exist", o.Context)
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", fmt.Errorf("the context %s is not a folder; give the file itself with --file", o.Context)
	}
	for _, name := range []string{"Kubefile", "bundle.yaml"} {
		p := filepath.Join(o.Context, name)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	if len(o.Images)+len(o.ImageLists)+len(o.Charts) > 0 {
		return "", nil
	}
	return "", fmt.Errorf("the context %s has neither a Kubefile nor a bundle.yaml; name the file with --file", o.Context)
}

func (in *inputs) readFile(o Options) error {
	file, err := buildFile(o)
	if err != nil || file == "" {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return noSuchFile(file, err)
	}
	defer f.Close()
	context := cmp.Or(o.Context, filepath.Dir(file))
	name := filepath.Base(file)
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		b, err := bundlefile.Parse(name, f)
		if err != nil {
			return err
		}
		return in.fromBundlefile(b, context, o)
	}
	if len(in.platforms) == 0 {
		in.platforms = hostPlatform()
	}
	dialect, err := kubefile.ParseDialect(o.Dialect)
	if err != nil {
		return err
	}
	k, err := kubefile.Parse(name, f, dialect)
	if err != nil {
		return err
	}
	return in.fromKubefile(k, context, o)
}

func (in *inputs) warn(source manifest.Source, format string, args ...any) {
	in.warnings = append(in.warnings, Warning{Source: source, Text: fmt.Sprintf(format, args...)})
}

// readFlags adds what the command line asks for besides the file.
func (in *inputs) readFlags(o Options) error {
	var errs []error
	for _, s := range o.Images {
		ref, err := manifest.ParseReference(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		in.images.add(ref, manifest.Source("--image "+s))
	}
	for _, p := range o.ImageLists {
		if err := in.readList(p, p); err != nil {
			errs = append(errs, err)
		}
	}
	for _, s := range o.Charts {
		in.charts = append(in.charts, chartInput{spec: s, source: manifest.Source("--chart " + s)})
	}
	return errors.Join(errs...)
}

func (in *inputs) readList(name, p string) error {
	f, err := os.Open(p)
	if err != nil {
		return fmt.Errorf("image list %w", noSuchFile(p, err))
	}
	defer f.Close()
	entries, err := imagelist.Parse(name, f)
	if err != nil {
		return err
	}
	for _, e := range entries {
		in.images.add(e.Ref, e.Sources()...)
	}
	return nil
}

// imageListPath is where sealer looks for the list of a cluster image.
const imageListPath = "manifests/imageList"

// readRootfsLists reads the image list that the context put where sealer
// looks for it.
func (in *inputs) readRootfsLists(Options) error {
	e := in.tree.entries[imageListPath]
	if e == nil || e.Type != "file" || e.src == "" {
		return nil
	}
	return in.readList(filepath.Base(e.src), e.src)
}

// mergeEnv puts later variables over earlier ones of the same name and app.
func mergeEnv(base, own []manifest.EnvVar) []manifest.EnvVar {
	key := func(v manifest.EnvVar) string { return v.App + "\x00" + v.Name }
	at := map[string]int{}
	var out []manifest.EnvVar
	for _, v := range slices.Concat(base, own) {
		if i, ok := at[key(v)]; ok {
			out[i] = v
			continue
		}
		at[key(v)] = len(out)
		out = append(out, v)
	}
	return out
}

func mergeLabels(base, own map[string]string) map[string]string {
	if len(base)+len(own) == 0 {
		return nil
	}
	out := maps.Clone(base)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, own)
	return out
}
