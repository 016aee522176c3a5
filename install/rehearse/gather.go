package rehearse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/chart"
	"bundle/manifest/discover"
	"bundle/manifest/imagelist"
	"bundle/manifest/step"
)

// Places in a root file system.
const (
	imageListPath = "manifests/imageList"
	metadataPath  = "Metadata"
)

// gatherer collects what the install will ask for.
type gatherer struct {
	ctx   context.Context
	in    Input
	files fs.FS
	kube  string
	// found are images, in the order in which the install meets them.
	found    []discover.Found
	problems []Problem
	notes    []Note
	// read are files, and charts folders, that were looked at.
	read      map[string]bool
	charts    int
	manifests int
	nodePorts []int
	// apis are the groups and versions of the custom resources so far.
	apis []string
}

func gather(ctx context.Context, in Input) (*gatherer, error) {
	g := &gatherer{ctx: ctx, in: in, files: in.Files, read: map[string]bool{}, kube: in.KubeVersion}
	if g.files == nil {
		g.files = empty{}
	}
	if g.kube == "" {
		g.kube = g.metadataVersion()
	}
	g.imageList()
	g.kubeadm()
	for _, s := range in.Steps {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		g.step(s)
	}
	g.otherManifests()
	g.otherCharts()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	slices.Sort(g.nodePorts)
	g.nodePorts = slices.Compact(g.nodePorts)
	return g, nil
}

// empty is a file system without files.
type empty struct{}

func (empty) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

func (g *gatherer) problem(kind Kind, object string, source manifest.Source, hint, format string, args ...any) {
	g.problems = append(g.problems, Problem{
		Kind: kind, Object: object, Sources: []manifest.Source{source}, Hint: hint, Reason: fmt.Sprintf(format, args...),
	})
}

func (g *gatherer) note(object string, source manifest.Source, format string, args ...any) {
	g.notes = append(g.notes, Note{Object: object, Sources: []manifest.Source{source}, Text: fmt.Sprintf(format, args...)})
}

// imageList takes every line of the list that came with the image: kubeadm
// and the scripts ask for what is in it.
func (g *gatherer) imageList() {
	data, err := g.readFile(imageListPath)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			g.problem(Unusable, imageListPath, imageListPath, "", "cannot be read: %s", err)
		}
		return
	}
	g.read[imageListPath] = true
	list, err := imagelist.Parse(imageListPath, bytes.NewReader(data))
	if err != nil {
		g.problem(Unusable, imageListPath, imageListPath, "", "is not a list of images: %s", err)
		return
	}
	for _, e := range list {
		g.found = append(g.found, discover.Found{Ref: e.Ref, Raw: e.Ref.String(), Class: discover.Required, Source: e.Source})
	}
}

// step takes what one step asks for.
func (g *gatherer) step(s plan.Step) {
	switch s.Kind {
	case plan.KindHostScript, manifest.StepExec:
		g.script(s)
		return
	}
	if s.Kind != manifest.StepHelmRelease && s.Kind != manifest.StepKubectlApply && s.Kind != manifest.StepKubectlCreate {
		return
	}
	action, err := step.Decode(s.Step)
	if err != nil {
		g.problem(Unusable, "step "+s.ID, s.Source, "", "cannot be understood: %s", err)
		return
	}
	g.action(action, s.Source, "", false)
}

const filesHint = "bundle files lists what is in the root file system"

// absentError says that something that a chart needs is not there.
type absentError struct{ what string }

func (e *absentError) Error() string { return e.what + " is not there" }

// action takes what a typed step asks for. dir is the folder it runs in, of
// the root file system; a lenient one stands in a script, where the shell may
// have changed it.
func (g *gatherer) action(action step.Action, source manifest.Source, dir string, lenient bool) {
	var err error
	var object string
	switch a := action.(type) {
	case *step.HelmRelease:
		object = "chart " + a.Chart
		err = g.release(*a, path.Join(dir, a.Dir), source)
	case *step.Apply:
		object = strings.Join(a.Files, ", ")
		err = g.apply(path.Join(dir, a.Dir), a.Files, a.Recursive, source)
	case *step.Create:
		object = strings.Join(a.Files, ", ")
		err = g.apply(path.Join(dir, a.Dir), a.Files, a.Recursive, source)
	}
	absent, isAbsent := errors.AsType[*absentError](err)
	switch {
	case err == nil:
	case lenient:
		g.note(object, source, "is asked for by a script and was not looked into: %s", err)
	case isAbsent:
		g.problem(Missing, object, source, filesHint, "wants %s, which is not in the root file system of the bundle", absent.what)
	case errors.Is(err, fs.ErrNotExist):
		g.problem(Missing, object, source, filesHint, "is not in the root file system of the bundle")
	default:
		g.problem(Unusable, object, source, "", "cannot be installed: %s", err)
	}
}

// script takes the lines of a shell script that could be typed steps, and what
// else in it looks like an image.
func (g *gatherer) script(s plan.Step) {
	dir, below := g.relative(s.Dir)
	for line := range strings.Lines(s.Script) {
		line = strings.TrimSpace(line)
		if !below || !strings.HasPrefix(line, "helm ") && !strings.HasPrefix(line, "kubectl ") {
			continue
		}
		for _, inner := range step.From([]step.Command{{Text: line, Source: s.Source}}, "", "line") {
			if action, err := step.Decode(inner); err == nil {
				g.action(action, s.Source, dir, true)
			}
		}
	}
	found, err := discover.Lines([]byte(s.Script), discover.Origin{Name: string(s.Source)})
	if err != nil {
		g.note("step "+s.ID, s.Source, "was not looked through for images: %s", err)
	}
	for _, f := range found {
		if f.Malformed() {
			continue
		}
		f.Class = discover.Candidate
		g.found = append(g.found, f)
	}
}

// relative gives a path of a host as one of the root file system.
func (g *gatherer) relative(p string) (string, bool) {
	clean := path.Clean("/" + p)
	root := path.Clean("/" + g.in.Rootfs)
	switch rest, below := strings.CutPrefix(clean, root+"/"); {
	case p == "", clean == root:
		return ".", true
	case below:
		return rest, true
	}
	return "", false
}

// locate gives the path in the root file system that a step in dir means.
func (g *gatherer) locate(dir, name string) (string, error) {
	if path.IsAbs(name) {
		p, below := g.relative(name)
		if !below {
			return "", fmt.Errorf("%s lies outside of the root file system", name)
		}
		return p, nil
	}
	p := path.Join(dir, name)
	if !fs.ValidPath(p) {
		return "", fmt.Errorf("%s leads out of the root file system", name)
	}
	return p, nil
}

// maxFile bounds one manifest, values file or list.
const maxFile = 16 << 20

func (g *gatherer) readFile(name string) ([]byte, error) {
	f, err := g.files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d MiB", name, maxFile>>20)
	}
	return data, err
}

// objects takes the images of one manifest.
func (g *gatherer) objects(name string, required bool) error {
	data, err := g.readFile(name)
	if err != nil {
		return err
	}
	found, err := discover.File(name, data)
	if err != nil {
		return err
	}
	g.read[name] = true
	g.manifests++
	g.take(found, required)
	g.look(data)
	return nil
}

func (g *gatherer) take(found []discover.Found, required bool) {
	for _, f := range found {
		if !required {
			if f.Malformed() {
				continue
			}
			f.Class = discover.Candidate
		}
		g.found = append(g.found, f)
	}
}

// otherManifests reads what lies in manifests/ and no typed step applies:
// scripts do, or operators.
func (g *gatherer) otherManifests() {
	_ = fs.WalkDir(g.files, "manifests", func(p string, d fs.DirEntry, err error) error {
		if err != nil || g.ctx.Err() != nil {
			return fs.SkipAll // there is none
		}
		if !d.IsDir() && hasManifestExt(p) && !g.read[p] {
			if err := g.objects(p, true); err != nil {
				g.problem(Unusable, p, manifest.Source(p), "", "cannot be read: %s", err)
			}
		}
		return nil
	})
}

// otherCharts renders the charts that no typed step installs with their own
// values: scripts install them, and nobody knows with which.
func (g *gatherer) otherCharts() {
	for _, root := range []string{"charts", "chart", "application/apps"} {
		_ = fs.WalkDir(g.files, root, func(p string, d fs.DirEntry, err error) error {
			if err != nil || g.ctx.Err() != nil {
				return fs.SkipAll
			}
			switch {
			case d.IsDir():
				if _, err := fs.Stat(g.files, path.Join(p, "Chart.yaml")); err != nil {
					return nil
				}
			case !strings.HasSuffix(p, ".tgz"):
				return nil
			}
			if !g.read[p] {
				c, err := chart.LoadFS(g.files, p)
				if err == nil && !c.Library {
					err = g.render(c, p, chart.RenderOptions{ReleaseName: c.Name}, false)
				}
				if err != nil {
					g.note("chart "+p, manifest.Source(p), "is installed by no typed step and was not looked into: %s", err)
				}
			}
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		})
	}
}

func hasManifestExt(p string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(p))
}
