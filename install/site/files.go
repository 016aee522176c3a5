package site

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"bundle/install/host"
)

// maxFile bounds a settings file of a host, in bytes.
const maxFile = 1 << 20

// keepMode leaves the mode of a file that is there already.
const keepMode fs.FileMode = 0

// file is a settings file of a host as it was read.
type file struct {
	exists bool
	mode   fs.FileMode
	sum    string
	// data is read only where it is needed.
	data []byte
	// missing are the folders above that are not there, deepest first.
	missing []string
}

// edit is one file, and what is to become of it.
type edit struct {
	path string
	// mode is enforced, or keepMode: then a new file gets 0644.
	mode fs.FileMode
	// keep has the file as it was recorded, to be put back by [Site.Undo].
	keep bool
	// data is the new content of a file that is wholly ours. Where it is nil,
	// text makes the content from what others put there: the file as it is
	// or, where it is ours, as it was before us; nil then leaves it alone.
	data []byte
	text func(old []byte) ([]byte, error)
}

// own is an edit of a file below our own folder.
func own(name string, mode fs.FileMode, data []byte) edit {
	return edit{path: name, mode: mode, data: data}
}

// lookScript tells digest and mode of files, never what is in them: what a
// script prints is logged.
const lookScript = `
i=0
while IFS= read -r p; do
  if [ -f "$p" ]; then
    s=$(sha256sum < "$p")
    echo "file $i $(stat -L -c %a -- "$p") ${s%% *}"
  elif [ -e "$p" ]; then
    echo "other $i"
  else
    d=${p%/*}
    while [ -n "$d" ] && [ ! -e "$d" ]; do echo "missing $i $d"; d=${d%/*}; done
  fi
  i=$((i+1))
done
`

// look looks at settings files in one go.
func (s *Site) look(ctx context.Context, h host.Host, names []string) ([]file, error) {
	out, err := s.run(ctx, h, "look at the settings", lookScript, nil, []byte(strings.Join(names, "\n")+"\n"))
	if err != nil {
		return nil, err
	}
	files := make([]file, len(names))
	for line := range strings.Lines(out) {
		strange := &Error{Host: h.Name(), Text: fmt.Sprintf("cannot look at the settings: it answers %.60q", printable(line)), Err: ErrFile}
		f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(f) < 2 {
			return nil, strange
		}
		i, err := strconv.Atoi(f[1])
		if err != nil || i < 0 || i >= len(names) {
			return nil, strange
		}
		switch {
		case f[0] == "other":
			return nil, fileError(h, names[i], "is not a file")
		case f[0] == "missing" && len(f) == 3:
			files[i].missing = append(files[i].missing, f[2])
		case f[0] == "file" && len(f) == 4:
			mode, err := strconv.ParseUint(f[2], 8, 32)
			if err != nil {
				return nil, strange
			}
			files[i].exists, files[i].mode, files[i].sum = true, fs.FileMode(mode)&0o7777, f[3]
		default:
			return nil, strange
		}
	}
	return files, nil
}

// load reads what is in a file, and tells whether that is what was looked at.
func (s *Site) load(ctx context.Context, h host.Host, name string, f *file) (fresh bool, err error) {
	if !f.exists || f.data != nil {
		return true, nil
	}
	data, err := h.ReadFile(ctx, name, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, wrapHost(ctx, h, "read "+name, err)
	}
	f.data = data
	return sumOf(data) == f.sum, nil
}

// read gives the content of one file; nil where there is none.
func (s *Site) read(ctx context.Context, h host.Host, name string) ([]byte, error) {
	data, err := h.ReadFile(ctx, name, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, wrapHost(ctx, h, "read "+name, err)
}

// putScript writes files that nobody has changed since they were read. Its
// input is a line "MODE SUM DATA PATH" for each; SUM is the digest that the
// file must have, or "absent", DATA is base64 behind a colon, or "-" to remove
// the file. It stops at the first that has changed, with "stale PATH". The
// lock on the folder keeps a second install out.
const putScript = `
mkdir -p -- "$ETC"
exec 9<"$ETC"
if command -v flock >/dev/null; then
  flock -w 60 9 || { echo "another install is at work on this host" >&2; exit 1; }
fi
t=
trap '[ -z "$t" ] || rm -f -- "$t"' EXIT
while read -r mode want data p; do
  d=${p%/*}
  if [ "$data" != - ]; then mkdir -p -- "$d"; fi
  real=$(readlink -f -- "$p") || real=$p
  have=absent
  if [ -e "$real" ]; then have=$(sha256sum < "$real"); have=${have%% *}; fi
  if [ "$have" != "$want" ]; then echo "stale $p"; exit 0; fi
  if [ "$data" = - ]; then rm -f -- "$p"; continue; fi
  t=$(mktemp "${real%/*}/.bundle-XXXXXX")
  if [ -e "$real" ]; then cp -p --preserve=all -- "$real" "$t" 2>/dev/null || cp -p -- "$real" "$t"; else chmod 644 -- "$t"; fi
  if [ "$mode" != 0 ]; then chmod "$mode" -- "$t"; fi
  printf %s "${data#:}" | base64 -d > "$t"
  sync -- "$t" 2>/dev/null || sync
  # A file that is a mount of its own cannot be replaced, only written into.
  mv -f -- "$t" "$real" 2>/dev/null || { cat -- "$t" > "$real"; if [ "$mode" != 0 ]; then chmod "$mode" -- "$real"; fi; rm -f -- "$t"; }
  t=
  sync -- "${real%/*}" 2>/dev/null || sync
done
`

// put is one line for putScript.
type put struct {
	path string
	mode fs.FileMode
	old  file
	// data is what to write; remove takes the file away instead.
	data   []byte
	remove bool
}

// write writes files in order and tells whether all were as they had been
// read; after the first that was not it stops.
func (s *Site) write(ctx context.Context, h host.Host, puts []put) (fresh bool, err error) {
	var in bytes.Buffer
	for _, p := range puts {
		want, data := "absent", "-"
		if p.old.exists {
			want = p.old.sum
		}
		if !p.remove {
			data = ":" + base64.StdEncoding.EncodeToString(p.data)
		}
		fmt.Fprintf(&in, "%o %s %s %s\n", p.mode, want, data, p.path)
	}
	out, err := s.run(ctx, h, "write the settings", putScript, map[string]string{"ETC": s.p.etc}, in.Bytes())
	if err != nil {
		return false, err
	}
	return !strings.HasPrefix(out, "stale "), nil
}

// attempts bounds how often a change is begun anew because somebody else
// changed the same file meanwhile.
const attempts = 8

func busy(h host.Host, what string) error {
	return &Error{Host: h.Name(), Text: what + " cannot be written: something else keeps changing it", Err: ErrFile}
}

// apply brings files into the wanted state and gives the paths that changed.
// What is there already is left alone, and what others change meanwhile is
// taken into account.
func (s *Site) apply(ctx context.Context, h host.Host, edits []edit) (changed []string, err error) {
	names := []string{s.p.records}
	for _, e := range edits {
		names = append(names, e.path)
	}
	for range attempts {
		files, err := s.look(ctx, h, names)
		if err != nil {
			return nil, err
		}
		puts, fresh, err := s.plan(ctx, h, files[0], files[1:], edits)
		if err != nil {
			return nil, err
		}
		if fresh && len(puts) == 0 {
			return nil, nil
		}
		if fresh {
			if fresh, err = s.write(ctx, h, puts); err != nil {
				return nil, err
			}
		}
		if fresh {
			for _, p := range puts {
				if p.path != s.p.records {
					changed = append(changed, p.path)
				}
			}
			return changed, nil
		}
	}
	return nil, busy(h, "a settings file")
}

// plan compares files with edits. The record of what was there goes first, so
// that no crash leaves a change that nobody can take back.
func (s *Site) plan(ctx context.Context, h host.Host, recorded file, files []file, edits []edit) (puts []put, fresh bool, err error) {
	if fresh, err = s.load(ctx, h, s.p.records, &recorded); err != nil || !fresh {
		return nil, false, err
	}
	recs, err := parseRecords(recorded.data)
	if err != nil {
		return nil, false, fileError(h, s.p.records, "cannot be understood: %v", err)
	}
	for i, e := range edits {
		old := &files[i]
		r := recs.find(e.path)
		ours := e.keep && r != nil && r.ours(*old)
		data := e.data
		if data == nil {
			var base []byte
			if ours {
				base = r.Before
			} else {
				if fresh, err = s.load(ctx, h, e.path, old); err != nil || !fresh {
					return nil, false, err
				}
				base = old.data
			}
			if data, err = e.text(base); err != nil {
				return nil, false, fileError(h, e.path, "%w", err)
			}
			if data == nil {
				continue
			}
		}
		if old.exists && old.sum == sumOf(data) && (e.mode == keepMode || e.mode == old.mode) {
			continue
		}
		if len(data) > maxFile {
			return nil, false, fileError(h, e.path, "would have more than %d bytes", maxFile)
		}
		if e.keep {
			if !ours {
				if fresh, err = s.load(ctx, h, e.path, old); err != nil || !fresh {
					return nil, false, err
				}
			}
			recs.note(e.path, *old, data)
			recs.folders(old.missing, s.p.base)
		}
		puts = append(puts, put{path: e.path, mode: e.mode, old: *old, data: data})
	}
	if text := recs.text(); !recs.empty() && !bytes.Equal(text, recorded.data) {
		puts = append([]put{{path: s.p.records, mode: 0o600, old: recorded, data: text}}, puts...)
	}
	return puts, true, nil
}
