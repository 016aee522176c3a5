package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Exit codes of our own scripts for what is no accident.
const (
	exitAbsent  = 44
	exitNotFile = 45
	exitShort   = 46
)

// readScript prints a file and a dot, so that a cut answer is noticed.
const readScript = `[ -e "$F" ] || exit 44
[ -f "$F" ] || exit 45
head -c "$N" -- "$F" && printf .
`

// writeStart and writeEnd make a file in one step. sync takes files since
// coreutils 8.24; before, it syncs everything.
const (
	writeStart = `set -eu
d=${F%/*}; [ -n "$d" ] || d=/
(umask 022; mkdir -p -- "$d")
umask 077
`
	writeEnd = `chown 0:0 -- "$t"
chmod "$M" -- "$t"
sync -- "$t" 2>/dev/null || sync
mv -fT -- "$t" "$F"
trap - EXIT
sync -- "$d" 2>/dev/null || sync
`
	writeScript = writeStart + `t=$(mktemp -- "$d/.${F##*/}.XXXXXXXX")
trap 'rm -f -- "$t"' EXIT
cat >"$t"
[ "$(stat -c %s -- "$t")" = "$N" ] || exit 46
` + writeEnd
)

// ReadFile implements [Host].
func (m *machine) ReadFile(ctx context.Context, file string, limit int64) ([]byte, error) {
	if err := m.checkPath(file, limit); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err := m.run(ctx, job{
		Command: Command{
			Label:  "reading " + file,
			Script: readScript,
			Env:    map[string]string{"F": file, "N": strconv.FormatInt(limit+1, 10)},
			Stdout: &b,
		},
		private: true,
	})
	data, whole := bytes.CutSuffix(b.Bytes(), []byte("."))
	switch {
	case exitCode(err) == exitAbsent:
		return nil, &fs.PathError{Op: "reading on " + m.name, Path: file, Err: fs.ErrNotExist}
	case exitCode(err) == exitNotFile:
		return nil, m.fileError("cannot read "+file+": it is not a plain file", nil)
	case err != nil:
		return nil, m.failed("cannot read "+file, err)
	case !whole:
		return nil, m.fileError("sent only a part of "+file, nil)
	case int64(len(data)) > limit:
		e := m.fileError(fmt.Sprintf("has more than the %d bytes in %s that are allowed there", limit, file), nil)
		e.Class = ErrTooLarge
		return nil, e
	}
	return data, nil
}

// WriteFile implements [Host].
func (m *machine) WriteFile(ctx context.Context, file string, mode fs.FileMode, data []byte) error {
	if err := m.checkPath(file, 0); err != nil {
		return err
	}
	err := m.run(ctx, job{
		Command: Command{
			Label:  "writing " + file,
			Script: writeScript,
			Env:    writeEnv(file, mode, int64(len(data))),
			Stdin:  bytes.NewReader(data),
		},
		private: true,
	})
	if exitCode(err) == exitShort {
		return m.fileError("got only a part of "+file, nil)
	}
	if err != nil {
		return m.failed("cannot write "+file, err)
	}
	return nil
}

func writeEnv(file string, mode fs.FileMode, size int64) map[string]string {
	return map[string]string{
		"F": file,
		"M": fmt.Sprintf("%04o", unixMode(mode)),
		"N": strconv.FormatInt(size, 10),
	}
}

// unixMode is the mode as chmod takes it.
func unixMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for _, b := range []struct {
		mode fs.FileMode
		bit  uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&b.mode != 0 {
			bits |= b.bit
		}
	}
	return bits
}

// checkPath refuses what is no file's name on any host.
func (m *machine) checkPath(file string, size int64) error {
	if !path.IsAbs(file) || path.Clean(file) != file || file == "/" || strings.ContainsRune(file, 0) || size < 0 {
		return fmt.Errorf("%w: %q is not the absolute path of a file on %s", ErrCommand, file, m.name)
	}
	return nil
}

func (m *machine) fileError(reason string, err error) *Error {
	return &Error{Host: m.name, Class: ErrFile, Reason: reason, Err: err}
}

// failed says what a script of ours did not do; errors of the connection
// speak for themselves.
func (m *machine) failed(what string, err error) error {
	exit, ok := errors.AsType[*ExitError](err)
	if !ok {
		return err
	}
	e := m.fileError(what, err)
	if said := exit.LastLine(); said != "" {
		e.Reason += ": " + said
	} else {
		e.Reason += fmt.Sprintf(" (code %d)", exit.Code)
	}
	if strings.Contains(e.Reason, "No space left") {
		e.Next = "free some space there, then run the same command again"
	}
	return e
}

func exitCode(err error) int {
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e.Code
	}
	return 0
}
