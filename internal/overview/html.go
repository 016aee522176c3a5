package overview

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"bundle/internal/page"
	"bundle/manifest"
	"bundle/verify"
)

//go:embed page.html
var source string

var pageTemplate = page.New(source, words, page.Options{Funcs: template.FuncMap{
	"first":  func(list []manifest.Source) []manifest.Source { return list[:min(len(list), 1)] },
	"rest":   func(list []manifest.Source) []manifest.Source { return list[min(len(list), 1):] },
	"shown":  func(list []manifest.Source) []manifest.Source { s, _ := page.Some(list, maxSources); return s },
	"hidden": func(list []manifest.Source) int { _, n := page.Some(list, maxSources); return n },
	"mode":   func(m uint32) string { return fmt.Sprintf("%04o", m) },
	"key":    func(id string) string { return id[:min(len(id), 16)] },
}})

const (
	// maxSources bounds who is named of those who asked for one image.
	maxSources = 20
	// maxLines is how much of each list is shown where there is room.
	maxLines = 5000
)

// HTML writes one page of one or several bundles. Where they hold more than a
// page has room for it says how much more.
func HTML(w io.Writer, lang page.Lang, bundles ...*Overview) error {
	return pageTemplate.Fit(w, lang, maxLines, func(limit int) any {
		var d struct {
			Title   string
			Bundles []*shown
		}
		var names []string
		for _, o := range bundles {
			names = append(names, o.Name+" "+o.Version)
			d.Bundles = append(d.Bundles, o.show(lang, limit))
		}
		d.Title = strings.Join(names, ", ")
		return d
	})
}

// shown is an overview cut to what fits.
type shown struct {
	*Overview
	Map        page.Map
	State      state
	Legend     []legend
	Images     []Image
	Charts     []manifest.Chart
	Phases     []phase
	Files      []manifest.File
	Candidates []manifest.Candidate
	// AllFiles counts no folders.
	AllFiles                                                     int
	MoreImages, MoreCharts, MoreSteps, MoreFiles, MoreCandidates int
}

type legend struct {
	Class Class
	Name  string
	Sum
	Percent float64
}

// phase is the steps that belong together.
type phase struct {
	Name  string
	Steps []numbered
}

type numbered struct {
	N int
	manifest.Step
}

// state is what the page says of the signature at its head.
type state struct{ Class, Text string }

func (s Signature) state() state {
	switch {
	case s.Judged != nil && s.Judged.Status == verify.StatusVerified:
		return state{"ok", "Signature verified"}
	case len(s.Claims) == 0:
		return state{"bad", "Not signed"}
	}
	return state{"warn", "Signed, not checked"}
}

var classNames = map[Class]string{
	Own: "Images, layers of their own", Shared: "Layers that several images share", Charts: "Charts", Files: "Files for the hosts", Other: "Inventory, signatures of images and the like",
}

func (o *Overview) show(lang page.Lang, limit int) *shown {
	s := &shown{Overview: o, Map: o.chart(pageTemplate, lang), State: o.Signature.state()}
	for _, sum := range o.Sums {
		s.Legend = append(s.Legend, legend{sum.Class, classNames[sum.Class], sum, 100 * float64(sum.Bytes) / float64(max(o.Bytes, 1))})
	}
	s.Images, s.MoreImages = page.Some(o.Images, limit)
	s.Charts, s.MoreCharts = page.Some(o.Contents.Charts, limit)
	files := slices.DeleteFunc(slices.Clone(o.Contents.Files), func(f manifest.File) bool { return f.Type == "dir" })
	s.AllFiles = len(files)
	s.Files, s.MoreFiles = page.Some(files, limit)
	s.Candidates, s.MoreCandidates = page.Some(o.Contents.Candidates, limit)
	steps, more := page.Some(o.Steps, limit)
	s.MoreSteps = more
	for n, step := range steps {
		if last := len(s.Phases) - 1; last < 0 || s.Phases[last].Name != step.Phase {
			s.Phases = append(s.Phases, phase{Name: step.Phase})
		}
		p := &s.Phases[len(s.Phases)-1]
		p.Steps = append(p.Steps, numbered{n + 1, step})
	}
	return s
}
