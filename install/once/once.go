package once

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"

	"bundle/install/host"
)

// base is the folder of all scripts on a host; only root may look in.
const base = "/var/lib/bundle/once"

// Script names one attempt to run one script.
type Script struct {
	// Key is the same for every attempt, such as the cluster and the step.
	Key string
	// Attempt is never used twice with the same key.
	Attempt string

	base string
}

// folders gives the folder of the script, and that of the attempt in it.
func (s Script) folders() (script, attempt string) {
	short := func(text string) string {
		h := sha256.Sum256([]byte(text))
		return hex.EncodeToString(h[:8])
	}
	root := s.base
	if root == "" {
		root = base
	}
	script = path.Join(root, short(s.Key))
	return script, path.Join(script, short(s.Attempt))
}

// On gives the host h as it is, except that Run runs a script as this attempt.
// The script has no standard input.
func (s Script) On(h host.Host) host.Host { return onHost{h, s} }

type onHost struct {
	host.Host
	s Script
}

// Run implements [host.Host].
func (o onHost) Run(ctx context.Context, c host.Command) error {
	if c.Stdin != nil {
		return fmt.Errorf("%w: it has an input, which it could not be given again", host.ErrCommand)
	}
	script, attempt := o.s.folders()
	c.Script = "__once=" + quote(attempt) + " __all=" + quote(script) + " __text=" + quote(c.Script) + "\n" + runScript
	return o.Host.Run(ctx, c)
}

// runScript clears away older attempts and runs $__text apart from us: its
// output goes into files, of which tail tells us as long as we are there.
const runScript = `
__umask=$(umask); umask 077
rm -rf -- "$__all" && mkdir -p -- "$__once" && : >"$__once/out" && : >"$__once/err" || exit 125
(
	IFS= read -r __l </proc/$BASHPID/stat
	set -- ${__l##*) }
	echo "$BASHPID ${20}" >"$__once/pid" || exit 125
	set --
	sync "$__once/pid" "$__once" "$__all" 2>/dev/null || sync
	(
		umask "$__umask"
		exec </dev/null >"$__once/out" 2>"$__once/err" 9< <(printf %s "exec 9<&-;$__text")
		unset -v __once __all __text __umask __l
		. /dev/fd/9
	)
	echo $? >"$__once/new" && sync "$__once/new" 2>/dev/null || sync
	mv -- "$__once/new" "$__once/code"
	sync "$__once" 2>/dev/null || sync
) &
__child=$!
tail -n +1 -s 0.1 -f --pid=$__child -- "$__once/out" 2>/dev/null &
__out=$!
tail -n +1 -s 0.1 -f --pid=$__child -- "$__once/err" >&2 2>/dev/null &
__err=$!
wait $__child
wait $__out $__err
read -r __code <"$__once/code" || exit 125
if [ "$__code" = 0 ]; then rm -f -- "$__once/out" "$__once/err"; fi
exit "$__code"
`

// State is what is known of an attempt.
type State int

// The states of an attempt.
const (
	Unknown State = iota // it was ended, and not by itself
	Never                // it did not begin
	Ended
)

// Result is what became of an attempt.
type Result struct {
	State State
	// Code is the exit code of one that ended, Said its last words.
	Code int
	Said string
}

// Find tells what became of an attempt. One that still runs is waited for.
func (s Script) Find(ctx context.Context, h host.Host) (Result, error) {
	_, attempt := s.folders()
	var out strings.Builder
	err := h.Run(ctx, host.Command{
		Label: "what became of a script", Script: findScript, Env: map[string]string{"ONCE": attempt}, Stdout: &limited{w: &out, left: 8 << 10},
	})
	if err != nil {
		return Result{}, err
	}
	word, said, _ := strings.Cut(strings.TrimSpace(out.String()), "\n")
	word, code, _ := strings.Cut(word, " ")
	switch word {
	case "never":
		return Result{State: Never}, nil
	case "unknown":
		return Result{Said: lastLine(said)}, nil
	case "ended":
		n, err := strconv.Atoi(code)
		if err != nil {
			return Result{}, nil // half a number is no end
		}
		return Result{State: Ended, Code: n, Said: lastLine(said)}, nil
	}
	return Result{}, fmt.Errorf("%s does not say what became of a script: it says %.80q", h.Name(), word)
}

// findScript waits while the process of the attempt is there. A process of
// the same number is another one if it began at another time.
const findScript = `
cd -- "$ONCE" 2>/dev/null || { echo never; exit 0; }
ended() { [ -s code ] && read -r code <code && echo "ended $code"; }
lives() {
	{ IFS= read -r l </proc/$pid/stat; } 2>/dev/null || return 1
	set -- ${l##*) }
	[ "$1" != Z ] && [ "${20}" = "$began" ]
}
if ! ended; then
	if ! [ -s pid ] || ! read -r pid began <pid; then echo never; exit 0; fi
	while lives; do sleep 0.2; done
	ended || echo unknown
fi
tail -c 2000 err 2>/dev/null || :
`

// limited passes on only so much.
type limited struct {
	w    *strings.Builder
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.w.Write(p[:n])
	l.left -= n
	return len(p), nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
