package main

import "sync/atomic"

// counter counts items for a meter; it is what engines get as a hook.
type counter struct {
	done, total atomic.Int64
	item        atomic.Pointer[string]
}

// Add says that n more items are known to be there.
func (c *counter) Add(n int) { c.total.Add(int64(n)) }

// Done says that one item, of this name, is finished.
func (c *counter) Done(name string) {
	c.done.Add(1)
	c.item.Store(&name)
}

func (c *counter) sample() sample {
	s := sample{Done: c.done.Load(), Total: c.total.Load()}
	if p := c.item.Load(); p != nil {
		s.Item = *p
	}
	return s
}
