// Package activity keeps what a job with several workers does at this moment:
// which items, since when, how far and from where. Workers write counters;
// whoever shows progress samples them at a pace of its own.
//
// It decides nothing and prints nothing.
package activity

import (
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Set is the items under way. The zero value is ready.
type Set struct {
	mu    sync.Mutex
	items map[*Item]bool
}

// Item is one thing that a worker is busy with.
type Item struct {
	set        *Set
	name, from string
	total      int64
	since      time.Time
	done       atomic.Int64
	last       atomic.Int64 // of the last byte, Unix nanoseconds
}

// State is an item as it was when it was looked at.
type State struct {
	Name string
	// From says where its bytes come from; it may be empty.
	From string
	// Done and Total count bytes. Done goes back where an item begins anew.
	Done, Total int64
	// Since is when it was begun, Last when the last byte came.
	Since, Last time.Time
}

// Begin says that a worker has taken an item up.
func (s *Set) Begin(name, from string, total int64) *Item {
	i := &Item{set: s, name: name, from: from, total: total, since: time.Now()}
	i.last.Store(i.since.UnixNano())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items == nil {
		s.items = map[*Item]bool{}
	}
	s.items[i] = true
	return i
}

// End says that the item is done, or given up.
func (i *Item) End() {
	i.set.mu.Lock()
	defer i.set.mu.Unlock()
	delete(i.set.items, i)
}

// Reader counts what is read through it, beginning at an offset of the item.
func (i *Item) Reader(r io.ReadCloser, offset int64) io.ReadCloser {
	i.done.Store(offset)
	return &reader{r, i}
}

type reader struct {
	io.ReadCloser
	item *Item
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if n > 0 {
		r.item.done.Add(int64(n))
		r.item.last.Store(time.Now().UnixNano())
	}
	return n, err
}

// Now gives what is under way, the longest first.
func (s *Set) Now() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]State, 0, len(s.items))
	for i := range s.items {
		list = append(list, State{Name: i.name, From: i.from, Done: i.done.Load(), Total: i.total, Since: i.since, Last: time.Unix(0, i.last.Load())})
	}
	slices.SortFunc(list, func(a, b State) int { return a.Since.Compare(b.Since) })
	return list
}
