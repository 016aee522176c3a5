package host

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"

	"bundle/manifest/cluster"
)

// maxScript bounds a script with its variables; bash reads it byte by byte.
const maxScript = 4 << 20

// maxJunk is what a login shell may print before our script starts.
const maxJunk = 1 << 20

// scriptPath is the PATH of every script, whatever the login gives.
const scriptPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// boot is all that an argument list shows. It prints a mark on both streams
// (before it, login shells and sudo may print what they like), reads three
// texts that end with a NUL, and leaves the rest of standard input to the
// script. The first text is what sudo may have left of the password; the
// second sets up folder and variables. The third is the script; it is sourced
// rather than evaluated so that errors have line numbers, and starts by
// closing the descriptor that it is read from. No quote, backslash or
// exclamation mark: the user's login shell may be any.
const boot = `IFS= read -r __a </proc/$$/stat; set -- ${__a##*) }; ` +
	`echo "@MARK $$ $4 $EUID@"; echo "@MARK $$ $4 $EUID@" >&2; set --; ` +
	`LC_ALL=C IFS= read -r -d "" __a && LC_ALL=C IFS= read -r -d "" __a && LC_ALL=C IFS= read -r -d "" __s || exit 125; ` +
	`eval "$__a"; exec 9< <(printf %s "$__s"); unset -v __a __s; . /dev/fd/9`

// markWord stands for the mark in boot.
const markWord = "MARK"

// closeSource is put before the first line of a script.
const closeSource = "exec 9<&-;"

// sourceName is what bash calls a sourced script in front of errors.
const sourceName = "/dev/fd/9: "

// root is a way to become root.
type root struct {
	sudo     bool
	password cluster.Secret
}

// line is the command line that starts boot.
func (r root) line(mark string) string {
	line := "bash -c '" + strings.ReplaceAll(boot, markWord, mark) + "'"
	switch {
	case !r.sudo:
		return line
	case r.password == "":
		return "sudo -n -H -- " + line
	}
	// -k: ask always, so that the password is always read.
	return `sudo -S -k -p "` + question(mark) + `" -H -- ` + line
}

// question is what sudo prints when it asks for the password.
func question(mark string) string { return mark + "?" }

// newMark is a text that nothing else prints.
func newMark() string { return "bundle-" + rand.Text() }

// started is what a script's mark says about its process.
type started struct {
	mark              string
	pid, session, uid int
}

// readMark reads up to the line with the mark. What stood before it is kept
// for messages, as far as its end goes.
func readMark(r *bufio.Reader, mark string) (started, string, error) {
	junk := &tail{max: 4 << 10}
	read := 0
	for {
		line, err := r.ReadSlice('\n')
		if i := bytes.Index(line, []byte("@"+mark+" ")); i >= 0 && err == nil {
			s := started{mark: mark}
			n, scanErr := fmt.Sscanf(string(line[i+len(mark)+2:]), "%d %d %d@\n", &s.pid, &s.session, &s.uid)
			if n == 3 && scanErr == nil && s.pid > 1 && s.session >= 0 {
				return s, junk.String(), nil
			}
		}
		_, _ = junk.Write(line)
		if read += len(line); read > maxJunk {
			return started{}, junk.String(), errEndless
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return started{}, junk.String(), err
		}
	}
}

// listener reads a stream and calls again when text came a second time.
type listener struct {
	r     io.Reader
	text  string
	again func()
	seen  int
	carry []byte
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.seen < 2 && n > 0 {
		l.carry = append(l.carry, p[:n]...)
		for l.seen < 2 {
			_, rest, ok := bytes.Cut(l.carry, []byte(l.text))
			if !ok {
				break
			}
			l.carry = rest
			if l.seen++; l.seen == 2 {
				l.again()
			}
		}
		// An occurrence may be cut in two.
		keep := min(len(l.carry), len(l.text)-1)
		l.carry = append([]byte(nil), l.carry[len(l.carry)-keep:]...)
	}
	return n, err
}

// payload is what boot reads, up to the script's own input.
func (c Command) payload() ([]byte, error) {
	bad := func(format string, args ...any) ([]byte, error) {
		return nil, fmt.Errorf("%w: %s", ErrCommand, fmt.Sprintf(format, args...))
	}
	if strings.ContainsRune(c.Script, 0) {
		return bad("a script holds a NUL byte")
	}
	if c.Dir != "" && (!path.IsAbs(c.Dir) || strings.ContainsRune(c.Dir, 0)) {
		return bad("the folder %q is not an absolute path", c.Dir)
	}
	var b bytes.Buffer
	b.WriteString("\x00export PATH=" + scriptPath + "\n")
	names := make([]string, 0, len(c.Env))
	for name := range c.Env {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if !ValidEnvName(name) {
			return bad("%q is no name for a variable of a script", name)
		}
		if strings.ContainsRune(c.Env[name], 0) {
			return bad("the value of the variable %s holds a NUL byte", name)
		}
		b.WriteString("export " + name + "=" + quote(c.Env[name]) + "\n")
	}
	if c.Dir == "" {
		b.WriteString("cd 2>/dev/null || cd /\n")
	} else {
		b.WriteString("cd -- " + quote(c.Dir) + " || exit 1\n")
	}
	b.WriteString("\x00" + closeSource + c.Script + "\n\x00")
	if b.Len() > maxScript {
		return bad("a script with its variables has %d bytes, more than the %d allowed", b.Len(), maxScript)
	}
	return b.Bytes(), nil
}

// readonlyVars are bash's own; setting them is an error there.
var readonlyVars = []string{"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"}

// ValidEnvName tells whether a script can have a variable of that name.
func ValidEnvName(name string) bool {
	for i, c := range []byte(name) {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != "" && !slices.Contains(readonlyVars, name)
}

// quote makes one word of s for a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// endOf is a script that ends every process of a session, gently first. It does so only
// where one of them is ours by its mark, and never to its own session: there
// are servers that give all sessions the same. grace is in tenths of a second.
func endOf(s started, grace int) string {
	return `IFS= read -r l </proc/$$/stat; set -- ${l##*) }
sid=` + strconv.Itoa(s.session) + `
[ "$4" != $sid ] || exit 0
all() {
	pids= ours=
	for f in /proc/[0-9]*/stat; do
		{ IFS= read -r l <"$f"; } 2>/dev/null || continue
		set -- ${l##*) }
		[ "$4" = $sid ] && [ "$1" != Z ] || continue
		p=${f#/proc/}; p=${p%/stat}
		pids="$pids $p"
		grep -qsaF -e '` + s.mark + `' /proc/$p/cmdline && ours=1
	done
	[ -n "$pids" ]
}
all && [ -n "$ours" ] || exit 0
kill -TERM $pids 2>/dev/null
for i in $(seq ` + strconv.Itoa(grace) + `); do sleep 0.1; all || exit 0; done
for i in 1 2 3 4 5 6 7 8 9 10; do kill -KILL $pids 2>/dev/null; sleep 0.1; all || exit 0; done
exit 1
`
}

// errEndless is a login shell that prints and never starts.
var errEndless = errors.New("prints without end")
