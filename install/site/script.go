package site

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"bundle/install/host"
)

// prelude stands before every script of ours. Programs that a bare PATH does
// not reach are found, and their messages are in English.
const prelude = `set -eu
export PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" LC_ALL=C TZ=UTC
umask 022
`

// maxOutput bounds what is kept of a script's output, in bytes.
const maxOutput = 4 << 20

// run runs a script and gives what it printed. doing is what it is for, in
// the host's log and in errors: "start the registry".
func (s *Site) run(ctx context.Context, h host.Host, doing, script string, env map[string]string, stdin []byte) (string, error) {
	var out, errs bounded
	out.limit, errs.limit = maxOutput, 64<<10
	c := host.Command{Label: doing, Script: prelude + script, Env: env, Stdout: &out, Stderr: &errs}
	if stdin != nil {
		c.Stdin = bytes.NewReader(stdin)
	}
	err := h.Run(ctx, c)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if exit, ok := errors.AsType[*host.ExitError](err); ok {
		return "", &Error{Host: h.Name(), Text: "cannot " + doing + ": " + reason(errs.String(), exit), Err: err}
	}
	if err != nil {
		return "", err // the connection's own sentence
	}
	if out.cut {
		return "", &Error{Host: h.Name(), Text: "cannot " + doing + ": the host sent more than anybody asked for", Err: ErrFile}
	}
	return out.String(), nil
}

// reason is the last line that a script complained in, else how it ended.
func reason(stderr string, exit *host.ExitError) string {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if last := printable(strings.TrimSpace(lines[len(lines)-1])); last != "" {
		return last
	}
	if exit.Signal != "" {
		return "the signal " + exit.Signal + " ended it"
	}
	return fmt.Sprintf("it ended with code %d", exit.Code)
}

// printable takes control characters out of what a host said, and shortens it.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	const most = 500
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// facts are "key value" lines of a script.
type facts map[string][]string

func parseFacts(out string) facts {
	f := facts{}
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if k != "" {
			f[k] = append(f[k], v)
		}
	}
	return f
}

func (f facts) get(key string) string {
	if v := f[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func (f facts) has(key string) bool { return len(f[key]) > 0 }

func (f facts) number(key string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(f.get(key)), 10, 64)
	return n, err == nil
}

// bounded keeps the first limit bytes that are written to it.
type bounded struct {
	bytes.Buffer
	limit int
	cut   bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := b.limit - b.Len(); len(p) > room {
		b.cut = true
		b.Buffer.Write(p[:room])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// ReadFrom hides that of bytes.Buffer, which knows no limit.
func (b *bounded) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{b}, r)
}

// shellQuote makes one word of s for a shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// fileError says what is wrong with a file of a host.
func fileError(h host.Host, path, format string, args ...any) *Error {
	err := fmt.Errorf(path+" "+format, args...)
	return &Error{Host: h.Name(), Text: err.Error(), Err: fmt.Errorf("%w: %w", ErrFile, err)}
}

// wrapHost makes a sentence of what a host's method returned.
func wrapHost(ctx context.Context, h host.Host, doing string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ok := errors.AsType[*host.Error](err); ok {
		return err // a sentence that names the host
	}
	return &Error{Host: h.Name(), Text: "cannot " + doing + ": " + err.Error(), Err: err}
}
