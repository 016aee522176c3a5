package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"bundle/internal/activity"
	"bundle/internal/page"
)

// sample is one look at the counters of a running job.
type sample struct {
	Done, Total int64
	Item        string
	// Active is what is worked on now, the longest first, where the job tells.
	Active []activity.State
}

// meter shows one job's progress on stderr. It only ever reads counters, at
// its own pace, so a slow terminal never slows the job.
type meter struct {
	a      *app
	gauge  *gauge
	look   func() sample
	show   func(reading)
	finish func(reading)
	clear  func() // takes the bar away before a line is printed
	stop   chan struct{}
	wg     sync.WaitGroup
	mu     sync.Mutex // of all that is shown
}

// How often the counters are looked at, and a plain line is printed.
const (
	lookInterval  = time.Second
	ttyInterval   = 100 * time.Millisecond
	plainInterval = 5 * time.Second
)

// startMeter shows look's samples until the returned function is called. unit
// is "bytes" or "items".
func (a *app) startMeter(phase, unit string, look func() sample) (stop func()) {
	m := &meter{a: a, gauge: newGauge(phase, unit, time.Now()), look: look, clear: func() {}, stop: make(chan struct{})}
	interval := lookInterval
	switch a.progressMode() {
	case "none":
		m.show, m.finish = func(reading) {}, func(reading) {}
	case "tty":
		interval = ttyInterval
		m.tty()
	case "json":
		m.json()
	default:
		m.plain()
	}
	forget := a.offerStatus(m.status)
	m.wg.Add(1)
	go m.run(interval)
	return sync.OnceFunc(func() {
		forget()
		close(m.stop)
		m.wg.Wait()
	})
}

// progressMode is --progress with auto decided.
func (a *app) progressMode() string {
	if a.progress != "auto" && a.progress != "" {
		return a.progress
	}
	if isTerminal(a.stderr) {
		return "tty"
	}
	return "plain"
}

func (m *meter) run(interval time.Duration) {
	defer m.wg.Done()
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m.mu.Lock()
			r := m.gauge.read(m.look(), time.Now())
			if r.notice != "" && m.a.progress != "none" && m.a.progress != "json" {
				m.clear()
				fmt.Fprintln(m.a.stderr, r.notice)
			}
			m.show(r)
			m.mu.Unlock()
		case <-m.stop:
			m.mu.Lock()
			m.finish(m.gauge.read(m.look(), time.Now()))
			m.mu.Unlock()
			return
		}
	}
}

// status prints everything that is known, for who asks by a signal.
func (m *meter) status() {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.gauge.read(m.look(), time.Now())
	m.clear()
	fmt.Fprintln(m.a.stderr, r.line())
	for _, s := range r.active {
		fmt.Fprintf(m.a.stderr, "    %s\n", describe(s, r.at))
	}
}

// barWidth is that of the bar itself, and barRest what else the library prints
// around it and the text behind it.
const (
	barWidth = 16
	barRest  = 11
)

// tty draws a bar with what matters behind it, never wider than the terminal.
func (m *meter) tty() {
	var bar *progressbar.ProgressBar
	ansi := os.Getenv("NO_COLOR") == ""
	m.clear = func() {
		if bar != nil {
			_ = bar.Clear()
		}
	}
	m.show = func(r reading) {
		if r.total <= 0 {
			return // there is nothing to measure against yet
		}
		if bar == nil {
			bar = progressbar.NewOptions64(r.total,
				progressbar.OptionSetWriter(m.a.stderr), progressbar.OptionSetWidth(barWidth),
				progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionSetPredictTime(false),
				progressbar.OptionSetElapsedTime(false), progressbar.OptionUseANSICodes(ansi),
			)
		}
		if bar.GetMax64() != r.total {
			bar.ChangeMax64(r.total)
		}
		room := terminalWidth(m.a.stderr) - barWidth - barRest
		bar.Describe(fit(r.brief(), room))
		_ = bar.Set64(r.done)
	}
	m.finish = func(r reading) {
		m.show(r)
		if bar != nil {
			_ = bar.Exit()
			fmt.Fprintln(m.a.stderr)
		}
	}
}

// terminalWidth is how many columns there are, 80 where nobody knows.
func terminalWidth(w any) int {
	const usual = 80
	f, ok := w.(*os.File)
	if !ok {
		return usual
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil || n <= 0 {
		return usual
	}
	return n
}

// fit cuts a text to so many columns and fills it up, so that nothing of a
// longer one stays behind it.
func fit(s string, width int) string {
	if width <= 0 {
		return ""
	}
	r := []rune(printableLine(s))
	if len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return string(r) + strings.Repeat(" ", width-len(r))
}

// plain prints a line every few seconds, for logs.
func (m *meter) plain() {
	start := time.Now()
	next := start.Add(plainInterval)
	m.show = func(r reading) {
		if r.at.Before(next) {
			return
		}
		next = r.at.Add(plainInterval)
		fmt.Fprintln(m.a.stderr, r.line())
	}
	m.finish = func(r reading) {
		// A short job needs no line: its result says enough.
		if r.at.Sub(start) > plainInterval {
			fmt.Fprintln(m.a.stderr, r.line())
		}
	}
}

func (m *meter) json() {
	enc := json.NewEncoder(m.a.stderr)
	m.show = func(r reading) {
		doc := progressLine{Time: r.at.UTC(), Phase: r.phase, Done: r.done, Total: r.total, Unit: r.unit, Item: r.item, Rate: int64(r.rate), SecondsLeft: int64(r.left.Seconds()), StalledSeconds: int64(r.stalled.Seconds())}
		if len(r.active) > 0 {
			doc.Slowest = r.active[0].Name
		}
		_ = enc.Encode(doc)
	}
	m.finish = m.show
}

// progressLine is one line of --progress json.
type progressLine struct {
	Time           time.Time `json:"time"`
	Phase          string    `json:"phase"`
	Done           int64     `json:"done"`
	Total          int64     `json:"total"`
	Unit           string    `json:"unit"`
	Item           string    `json:"item,omitempty"`
	Rate           int64     `json:"rate,omitempty"`
	SecondsLeft    int64     `json:"secondsLeft,omitempty"`
	Slowest        string    `json:"slowest,omitempty"`
	StalledSeconds int64     `json:"stalledSeconds,omitempty"`
}

const (
	// rateWindow is over how long a rate is taken: long enough to be calm, short
	// enough to be true.
	rateWindow = 15 * time.Second
	// stallAfter is how long nothing has to come until that is said, and said
	// again.
	stallAfter = 20 * time.Second
	// slowAfter is how long an item has to take to be called the slowest.
	slowAfter = 5 * time.Second
)

// gauge makes readings of samples. It knows no clock but what it is told.
type gauge struct {
	phase, unit string
	// high keeps progress from going backwards when a part starts over; first
	// is what was there at the beginning, from an earlier run.
	high, first int64
	begun       bool
	window      []point
	moved       time.Time // when done grew last
	said        time.Time // when a stall was said last
}

type point struct {
	at   time.Time
	done int64
}

// reading is what can be said of a job at one moment.
type reading struct {
	phase, unit string
	at          time.Time
	done, total int64
	item        string
	active      []activity.State
	rate        float64 // a second, 0 while unknown
	left        time.Duration
	stalled     time.Duration
	notice      string // a line to print now
}

func newGauge(phase, unit string, now time.Time) *gauge {
	return &gauge{phase: phase, unit: unit, moved: now}
}

func (g *gauge) read(s sample, now time.Time) reading {
	if !g.begun && s.Total > 0 {
		g.begun, g.first, g.high, g.moved = true, s.Done, s.Done, now
	}
	grown := s.Done > g.high
	g.high = max(g.high, s.Done)
	r := reading{phase: g.phase, unit: g.unit, at: now, done: min(g.high, max(s.Total, s.Done)), total: s.Total, item: s.Item, active: s.Active}
	g.measure(&r)
	g.stall(&r, grown)
	return r
}

// measure takes the rate of the last while, and what it makes of the rest.
func (g *gauge) measure(r *reading) {
	g.window = append(g.window, point{r.at, r.done})
	for len(g.window) > 2 && r.at.Sub(g.window[1].at) >= rateWindow {
		g.window = g.window[1:]
	}
	old := g.window[0]
	if d := r.at.Sub(old.at); d >= lookInterval {
		r.rate = float64(r.done-old.done) / d.Seconds()
	}
	if r.rate > 0 && r.total > r.done {
		r.left = time.Duration(float64(r.total-r.done) / r.rate * float64(time.Second))
	}
}

// stall says when nothing has come for a while, and when it goes on.
func (g *gauge) stall(r *reading, grown bool) {
	if grown || !g.begun || r.done >= r.total {
		if !g.said.IsZero() && grown {
			r.notice = fmt.Sprintf("%s: going on after %s", g.phase, page.Took(r.at.Sub(g.moved)))
		}
		g.moved, g.said = r.at, time.Time{}
		return
	}
	r.stalled = r.at.Sub(g.moved)
	last := g.moved
	if !g.said.IsZero() {
		last = g.said
	}
	if g.unit != "bytes" || r.at.Sub(last) < stallAfter {
		return
	}
	g.said = r.at
	r.notice = fmt.Sprintf("%s: no byte for %s%s", g.phase, page.Took(r.stalled), r.suspects())
}

// suspects names from where nothing comes.
func (r reading) suspects() string {
	var hosts []string
	for _, s := range r.active {
		if s.From != "" && !strings.Contains(strings.Join(hosts, " "), s.From) {
			hosts = append(hosts, s.From)
		}
	}
	switch {
	case len(hosts) > 0:
		return " from " + strings.Join(hosts, ", ") + " (" + r.active[0].Name + ")"
	case len(r.active) > 0:
		return " (" + r.active[0].Name + ")"
	case r.item != "":
		return " (" + r.item + ")"
	}
	return ""
}

// amount is how far it is: "1.2 of 4.0 GB".
func (r reading) amount() string {
	if r.unit != "bytes" {
		return fmt.Sprintf("%d of %d", r.done, r.total)
	}
	done, total := formatSize(r.done), formatSize(r.total)
	if n, unit, _ := strings.Cut(done, " "); strings.HasSuffix(total, " "+unit) {
		done = n
	}
	return done + " of " + total
}

// parts are the pieces of a line after the amount, what matters most first.
func (r reading) parts() []string {
	var list []string
	switch {
	case r.stalled >= stallAfter && r.unit == "bytes":
		list = append(list, "no byte for "+page.Took(r.stalled))
	case r.rate > 0 && r.unit == "bytes":
		list = append(list, formatSize(int64(r.rate))+"/s")
	}
	if r.left > 0 && r.stalled < stallAfter {
		list = append(list, page.Took(r.left.Round(time.Second))+" left")
	}
	if len(r.active) > 0 && r.at.Sub(r.active[0].Since) >= slowAfter {
		list = append(list, "slowest: "+describe(r.active[0], r.at))
	} else if r.item != "" {
		list = append(list, r.item)
	}
	return list
}

// brief is the text behind a bar, line the one of a log.
func (r reading) brief() string {
	return strings.Join(append([]string{r.phase + " " + r.amount()}, r.parts()...), ", ")
}

func (r reading) line() string {
	s := r.phase + ": " + r.amount()
	if r.total > 0 {
		s += fmt.Sprintf(" (%d %%)", r.done*100/r.total)
	}
	return printableLine(strings.Join(append([]string{s}, r.parts()...), ", "))
}

// describe says of one item how far it is and since when.
func describe(s activity.State, now time.Time) string {
	text := s.Name
	if s.Total > 0 {
		text += fmt.Sprintf(" %d %%", min(s.Done*100/s.Total, 100))
	}
	text += " after " + page.Took(now.Sub(s.Since))
	if quiet := now.Sub(s.Last); quiet >= stallAfter {
		text += ", no byte for " + page.Took(quiet)
	}
	return printableLine(text)
}
