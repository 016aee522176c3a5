package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// sample is one look at the counters of a running job.
type sample struct {
	Done, Total int64
	Item        string
}

// meter shows one job's progress on stderr. It only ever reads counters, at
// its own pace, so a slow terminal never slows the job.
type meter struct {
	phase, unit string
	look        func() sample
	show        func(sample)
	finish      func(sample)
	stop        chan struct{}
	wg          sync.WaitGroup
	// high keeps the bar from going backwards when a part starts over.
	high int64
}

// How often the counters are looked at.
const (
	ttyInterval   = 100 * time.Millisecond
	plainInterval = 5 * time.Second
	jsonInterval  = time.Second
)

// startMeter shows look's samples until the returned function is called. unit
// is "bytes" or "items".
func (a *app) startMeter(phase, unit string, look func() sample) (stop func()) {
	mode := a.progress
	if mode == "auto" {
		mode = "plain"
		if isTerminal(a.stderr) {
			mode = "tty"
		}
	}
	m := &meter{phase: phase, unit: unit, look: look, stop: make(chan struct{})}
	var interval time.Duration
	switch mode {
	case "none":
		return func() {}
	case "tty":
		interval = ttyInterval
		m.tty(a)
	case "json":
		interval = jsonInterval
		m.json(a)
	default:
		interval = plainInterval
		m.plain(a)
	}
	m.wg.Add(1)
	go m.run(interval)
	return sync.OnceFunc(func() {
		close(m.stop)
		m.wg.Wait()
	})
}

func (m *meter) run(interval time.Duration) {
	defer m.wg.Done()
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			m.show(m.sample())
		case <-m.stop:
			m.finish(m.sample())
			return
		}
	}
}

func (m *meter) sample() sample {
	s := m.look()
	m.high = max(m.high, s.Done)
	s.Done = min(m.high, max(s.Total, s.Done))
	return s
}

func (m *meter) tty(a *app) {
	opts := []progressbar.Option{
		progressbar.OptionSetWriter(a.stderr),
		progressbar.OptionSetDescription(m.phase),
		progressbar.OptionThrottle(ttyInterval),
		progressbar.OptionShowCount(),
		progressbar.OptionFullWidth(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionUseANSICodes(os.Getenv("NO_COLOR") == ""),
	}
	if m.unit == "bytes" {
		opts = append(opts, progressbar.OptionShowBytes(true))
	}
	bar := progressbar.NewOptions64(-1, opts...)
	m.show = func(s sample) {
		if s.Total > 0 && bar.GetMax64() != s.Total {
			bar.ChangeMax64(s.Total)
		}
		if s.Item != "" {
			bar.Describe(m.phase + " " + s.Item)
		}
		_ = bar.Set64(s.Done)
	}
	m.finish = func(s sample) {
		m.show(s)
		_ = bar.Exit()
		fmt.Fprintln(a.stderr)
	}
}

func (m *meter) plain(a *app) {
	start := time.Now()
	m.show = func(s sample) {
		line := m.phase + ": " + m.count(s)
		if s.Total > 0 {
			line += fmt.Sprintf(" (%d %%)", s.Done*100/s.Total)
		}
		if sec := time.Since(start).Seconds(); m.unit == "bytes" && sec > 0 {
			line += ", " + formatSize(int64(float64(s.Done)/sec)) + "/s"
		}
		if s.Item != "" {
			line += ", " + s.Item
		}
		fmt.Fprintln(a.stderr, line)
	}
	m.finish = func(s sample) {
		// A short job needs no line: its result says enough.
		if time.Since(start) > plainInterval {
			m.show(s)
		}
	}
}

func (m *meter) count(s sample) string {
	if m.unit == "bytes" {
		return formatSize(s.Done) + " of " + formatSize(s.Total)
	}
	return fmt.Sprintf("%d of %d", s.Done, s.Total)
}

func (m *meter) json(a *app) {
	enc := json.NewEncoder(a.stderr)
	m.show = func(s sample) {
		_ = enc.Encode(struct {
			Time  time.Time `json:"time"`
			Phase string    `json:"phase"`
			Done  int64     `json:"done"`
			Total int64     `json:"total"`
			Unit  string    `json:"unit"`
			Item  string    `json:"item,omitempty"`
		}{time.Now().UTC(), m.phase, s.Done, s.Total, m.unit, s.Item})
	}
	m.finish = m.show
}
