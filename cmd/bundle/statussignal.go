package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"bundle/internal/page"
)

// statusBoard knows whom to ask when a signal wants a status.
type statusBoard struct {
	mu      sync.Mutex
	started time.Time
	tell    []*func()
}

// offerStatus has f print a status when one is asked for, until forget is
// called.
func (a *app) offerStatus(f func()) (forget func()) {
	a.board.mu.Lock()
	defer a.board.mu.Unlock()
	a.board.tell = append(a.board.tell, &f)
	return func() {
		a.board.mu.Lock()
		defer a.board.mu.Unlock()
		a.board.tell = slices.DeleteFunc(a.board.tell, func(g *func()) bool { return g == &f })
	}
}

// printStatus asks whoever is at work.
func (a *app) printStatus() {
	a.board.mu.Lock()
	list := slices.Clone(a.board.tell)
	a.board.mu.Unlock()
	for _, f := range list {
		(*f)()
	}
	if len(list) == 0 {
		fmt.Fprintf(a.stderr, "bundle: at work for %s\n", page.Took(time.Since(a.board.started)))
	}
}
