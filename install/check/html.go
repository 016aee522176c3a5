package check

import (
	_ "embed"
	"html/template"
	"io"
	"slices"
	"time"

	"bundle/internal/page"
)

//go:embed report.html
var source string

var pageTemplate = page.New(source, words, page.Options{Funcs: template.FuncMap{
	"badge": func(s Status) string { return badges[s] },
}})

// badges are the styles of the outcomes.
var badges = map[Status]string{Pass: "ok", Fail: "bad", Warning: "warn", Skipped: ""}

// maxLines is how much of each list is shown where there is room.
const maxLines = 4000

// HTML writes the report as one page to print and to sign. It holds all that
// it needs and runs no script. Of a very large cluster it shows as much as the
// page has room for, and says how much more there is.
func (r Report) HTML(w io.Writer, lang page.Lang) error {
	return pageTemplate.Fit(w, lang, maxLines, func(limit int) any { return r.shown(lang, limit) })
}

// shownReport is a report cut to what fits, in one language.
type shownReport struct {
	Report
	Items                                                 []shownItem
	MoreHosts, MoreReleases, MoreWorkloads, MoreImages    int
	Lanes                                                 []lane
	MoreLanes                                             int
	Busy, Idle                                            time.Duration
	AllHosts, AllReleases, AllWorkloads, AllImages, Ready int
}

type shownItem struct {
	Item
	N    int
	More int
}

func (r Report) shown(lang page.Lang, limit int) shownReport {
	s := shownReport{Report: r, AllHosts: len(r.Hosts), AllReleases: len(r.Releases), AllWorkloads: len(r.Workloads), AllImages: len(r.Images)}
	for _, h := range r.Hosts {
		if h.Ready {
			s.Ready++
		}
	}
	s.Hosts, s.MoreHosts = page.Some(r.Hosts, limit)
	s.Releases, s.MoreReleases = page.Some(r.Releases, limit)
	s.Workloads, s.MoreWorkloads = page.Some(r.Workloads, limit)
	s.Images, s.MoreImages = page.Some(r.Images, limit)
	for n, i := range r.Items {
		i := shownItem{Item: i, N: n + 1, More: i.Omitted}
		if lang == page.Chinese {
			i.Title = i.TitleZH
			i.Summary, i.Hint, i.Evidence = either(i.zh.summary, i.Summary), either(i.zh.hint, i.Hint), i.zh.evidence
		}
		// What is well is in the lists below; what is not is said here.
		if i.Status == Pass || len(i.Evidence) == 1 && i.Omitted == 0 { // of one line the summary says all
			i.Evidence, i.More = nil, 0
		}
		shown, more := page.Some(i.Evidence, limit)
		i.Evidence, i.More = shown, i.More+more
		s.Items = append(s.Items, i)
	}
	if r.Course != nil {
		lanes, busy := lanesOf(r.Course.Steps)
		s.Lanes, s.MoreLanes = page.Some(lanes, limit)
		s.Busy = busy
		if whole := r.Course.Finished.Sub(r.Course.Started); whole > busy {
			s.Idle = whole - busy
		}
	}
	return s
}

func either(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// lane is one step of the timeline. Start and Width are in percent of the time
// in which steps ran; what was between two runs is left out.
type lane struct {
	CourseStep
	N            int
	Start, Width float64
	Class        string
	// State is the word for the status.
	State string
}

// span is from when to when something ran.
type span struct{ from, to time.Time }

func lanesOf(steps []CourseStep) (lanes []lane, busy time.Duration) {
	var spans []span
	for _, s := range steps {
		if s.Finished.After(s.Started) {
			spans = append(spans, span{s.Started, s.Finished})
		}
	}
	spans = union(spans)
	for _, s := range spans {
		busy += s.to.Sub(s.from)
	}
	// at is how much of the busy time is over at a time.
	at := func(t time.Time) (d time.Duration) {
		for _, s := range spans {
			if !t.After(s.from) {
				break
			}
			d += minTime(t, s.to).Sub(s.from)
		}
		return d
	}
	for n, s := range steps {
		l := lane{CourseStep: s, N: n + 1, State: s.Status}
		switch s.Status {
		case "failed":
			l.Class = "bad"
		case "started":
			l.Class = "warn"
		case "skipped":
			l.State = "left out"
		}
		if busy > 0 && !s.Finished.IsZero() {
			from, to := at(s.Started), at(s.Finished)
			l.Start = 100 * float64(from) / float64(busy)
			l.Width = max(100*float64(to-from)/float64(busy), 0.4) // something that ran is seen
			l.Start = min(l.Start, 100-l.Width)
		}
		lanes = append(lanes, l)
	}
	return lanes, busy
}

// union gives spans that do not touch, in order.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var out []span
	for _, s := range spans {
		if last := len(out) - 1; last >= 0 && !s.from.After(out[last].to) {
			if s.to.After(out[last].to) {
				out[last].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
