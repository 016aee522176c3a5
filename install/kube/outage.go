package kube

import (
	"fmt"
	"sync"
	"time"
)

// outage remembers since when the API server is out of reach.
type outage struct {
	say func(string)
	now func() time.Time

	mu    sync.Mutex
	since time.Time
	why   string
	told  bool
}

// notice is how long a server may be away before people hear of it.
const notice = 2 * time.Second

// down notes a request that did not get through.
func (o *outage) down(why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		o.since = o.now()
	}
	o.why = why
	if !o.told && o.now().Sub(o.since) >= notice {
		o.told = true
		o.say("the API server does not answer (" + why + "); trying again")
	}
}

// up notes one that did.
func (o *outage) up() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told {
		o.say(fmt.Sprintf("the API server answers again after %s", span(o.now().Sub(o.since))))
	}
	o.since, o.why, o.told = time.Time{}, "", false
}

// state gives how long the server has been away, and why; 0 if it is there.
func (o *outage) state() (time.Duration, string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.since.IsZero() {
		return 0, ""
	}
	return o.now().Sub(o.since), o.why
}
