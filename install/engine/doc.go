// Package engine runs a plan against a journal.
//
// It owns the rules of running again. A step counts as done on a host only
// after its end was seen and written down:
//
//   - what is done is passed over, as long as the plan is the same;
//   - what was started and not seen to end runs again, unless it removes data
//     and cannot simply be repeated: then the run refuses to begin, and the
//     user says --redo or --skip. A [Finder] can spare that question;
//   - what removes data runs once on a host, also when everything else is
//     started over;
//   - acceptance always runs: it only looks.
//
// Steps run one after the other; the hosts of a step at once, within a bound,
// unless the step is serial. Where one host fails the others finish the step,
// then the run stops and lists every failure.
//
// The package prints nothing. It knows two kinds of steps, those that only
// look: acceptance, and preflight, before whose end no host is written to. A
// [Runner] does the work.
package engine
