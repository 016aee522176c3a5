package selftest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Options say what to try.
type Options struct {
	// Dir is an empty folder to work in.
	Dir string
	// Program is the bundle program; what kills it is left out where it is empty.
	Program string
	// Bundle is a bundle of the user to be tried as well; it is only read.
	Bundle string
	// Chaos tries more, and kills the program.
	Chaos bool
	// Seed chooses the places that are hit; 0 chooses one by the clock.
	Seed uint64
	// Told, if set, is given each result as it comes.
	Told func(Result)
}

// Result is what came of one kind of trial.
type Result struct {
	// Name of what was tried.
	Name string `json:"name"`
	// Tried counts the trials.
	Tried int `json:"tried"`
	// Held: all went as it has to.
	Held bool `json:"held"`
	// Found says what was expected and came, or what went wrong.
	Found string `json:"found"`
	// Seconds it took.
	Seconds float64 `json:"seconds"`
}

// Report is what came of all.
type Report struct {
	OK bool `json:"ok"`
	// Seed chose the places; the same one tries the same again.
	Seed    uint64   `json:"seed"`
	Results []Result `json:"results"`
}

// tester is one run.
type tester struct {
	o   Options
	rnd *rand.Rand
	s   *sample
}

// Run tries everything. What does not hold is in the report; the error is one of
// the machine, such as a folder that cannot be written.
func Run(ctx context.Context, o Options) (*Report, error) {
	o.Seed = cmp.Or(o.Seed, uint64(time.Now().UnixNano()))
	t := &tester{o: o, rnd: rand.New(rand.NewPCG(o.Seed, 0))}
	rep := &Report{OK: true, Seed: o.Seed, Results: []Result{}}
	var err error
	if t.s, err = newSample(ctx, o.Dir, t.rnd); err != nil {
		return nil, err
	}
	trials := []trial{
		{"a good bundle", t.good}, {"signatures of others", t.untrusted},
		{"changed bytes", t.flips}, {"a file that is cut off", t.cuts}, {"bytes too many", t.extras},
		{"serving and pulling", t.serves}, {"damage while serving", t.damagedServing},
	}
	if o.Chaos && o.Program != "" {
		trials = append(trials, trial{"builds that are killed", t.killedBuilds}, trial{"signing that is killed", t.killedSigning})
	}
	if o.Bundle != "" {
		trials = append(trials, trial{"changed bytes in " + o.Bundle, t.flipsOf})
	}
	for _, x := range trials {
		r, err := x.run(ctx)
		if err != nil {
			return nil, err
		}
		rep.OK = rep.OK && r.Held
		rep.Results = append(rep.Results, r)
		if o.Told != nil {
			o.Told(r)
		}
	}
	return rep, nil
}

type trial struct {
	name string
	try  func(ctx context.Context) (tried int, found string, err error)
}

// broken is the error of a trial that did not hold.
type broken string

func (b broken) Error() string { return string(b) }

func brokenf(format string, args ...any) error { return broken(fmt.Sprintf(format, args...)) }

func (x trial) run(ctx context.Context) (Result, error) {
	begun := time.Now()
	tried, found, err := x.try(ctx)
	r := Result{Name: x.name, Tried: tried, Held: err == nil, Found: found, Seconds: time.Since(begun).Seconds()}
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	if b, ok := err.(broken); ok {
		r.Found, err = string(b), nil
	}
	return r, err
}

// times gives how often to try: more with chaos.
func (t *tester) times(n int) int {
	if t.o.Chaos {
		return 8 * n
	}
	return n
}
