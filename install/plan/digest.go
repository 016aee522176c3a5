package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Digest tells two steps apart by what they do: two steps of the same digest
// may stand for each other. Where a step comes from, what it is called for
// people, its hosts and how long it may take do not count.
func (s Step) Digest() string {
	h := newSum()
	args, err := json.Marshal(s.Args)
	if err != nil {
		args = fmt.Append(nil, s.Args)
	}
	h.add(s.ID, s.Kind, s.Run, string(args), s.Script, s.Dir, s.Content)
	return h.String()
}

// Digest pins a plan: the bundle's content and every step with its hosts, in
// order.
func (p *Plan) Digest() digest.Digest {
	h := newSum()
	h.add(p.Operation, p.Cluster, p.Bundle, p.Version, p.IndexDigest.String())
	for _, s := range p.Steps {
		h.add(s.ID, s.Digest(), fmt.Sprint(s.Serial))
		h.add(s.Hosts...)
	}
	return digest.NewDigest(digest.SHA256, h.h)
}

// Known is what is remembered of a step of another plan.
type Known struct {
	ID, Digest string
	Hosts      []string
}

// Change is one difference between two plans.
type Change struct {
	ID string `json:"id"`
	// What is "new", "gone", "changed", "hosts" or "moved".
	What string `json:"what"`
	// Hosts that came ("+10.0.0.4") or went ("-10.0.0.4").
	Hosts []string `json:"hosts,omitempty"`
}

// String is the change for people.
func (c Change) String() string {
	switch c.What {
	case "hosts":
		return c.ID + " (hosts " + strings.Join(c.Hosts, " ") + ")"
	}
	return c.ID + " (" + c.What + ")"
}

// Changes compares the plan with what is remembered of an older one.
func (p *Plan) Changes(old []Known) []Change {
	var out []Change
	before := map[string]Known{}
	var oldOrder, newOrder []string
	for _, k := range old {
		before[k.ID] = k
		if _, ok := p.Step(k.ID); ok {
			oldOrder = append(oldOrder, k.ID)
		}
	}
	for _, s := range p.Steps {
		k, ok := before[s.ID]
		if !ok {
			out = append(out, Change{ID: s.ID, What: "new"})
			continue
		}
		newOrder = append(newOrder, s.ID)
		if k.Digest != s.Digest() {
			out = append(out, Change{ID: s.ID, What: "changed"})
		} else if h := hostChanges(k.Hosts, s.Tasks()); len(h) > 0 {
			out = append(out, Change{ID: s.ID, What: "hosts", Hosts: h})
		}
	}
	for _, k := range old {
		if _, ok := p.Step(k.ID); !ok {
			out = append(out, Change{ID: k.ID, What: "gone"})
		}
	}
	for i := range newOrder {
		if i < len(oldOrder) && newOrder[i] != oldOrder[i] {
			out = append(out, Change{ID: newOrder[i], What: "moved"})
			break // one is enough: all behind it may have moved
		}
	}
	return out
}

func hostChanges(old, now []string) []string {
	var out []string
	for _, h := range now {
		if !slices.Contains(old, h) {
			out = append(out, "+"+h)
		}
	}
	for _, h := range old {
		if !slices.Contains(now, h) {
			out = append(out, "-"+h)
		}
	}
	return out
}
