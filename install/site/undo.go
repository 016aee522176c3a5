package site

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"bundle/install/host"
)

// Report is what [Site.Undo] did, for people.
type Report struct {
	Outcome
	// Removed was ours and is gone, or is as it was before.
	Removed []string
	// Left is what others have changed since, and was not touched.
	Left []string
}

// Undo takes everything of ours from a host: the service and its process, what
// was written outside of our folder, the block in /etc/hosts, and the folder.
// A file that others have changed since stays as it is; what it was before us
// is put beside it. Where there is nothing of ours it does nothing.
func (s *Site) Undo(ctx context.Context, h host.Host) (Report, error) {
	defer s.lock(h)()
	var r Report
	if err := s.undoService(ctx, h, &r); err != nil {
		return r, err
	}
	if err := s.undoFiles(ctx, h, &r); err != nil {
		return r, err
	}
	if err := s.undoFolder(ctx, h, &r); err != nil {
		return r, err
	}
	r.Changed = len(r.Removed) > 0
	switch {
	case r.Changed:
		r.Detail = fmt.Sprintf("removed: %s", strings.Join(r.Removed, ", "))
	default:
		r.Detail = "there is nothing of ours"
	}
	if len(r.Left) > 0 {
		r.Detail += fmt.Sprintf("; left: %s", strings.Join(r.Left, ", "))
	}
	return r, nil
}

const undoServiceScript = aliveScript + stopScript + `
if [ -e "$UNITFILE" ]; then
  if [ -d "$SYSTEMD" ] && command -v systemctl >/dev/null; then
    systemctl stop "$UNIT"
    systemctl disable --quiet "$UNIT" 2>/dev/null || true
  fi
  rm -f -- "$UNITFILE" "${UNITFILE%/*}/multi-user.target.wants/$UNIT"
  if [ -d "$SYSTEMD" ] && command -v systemctl >/dev/null; then
    systemctl daemon-reload
    systemctl reset-failed "$UNIT" 2>/dev/null || true
  fi
  echo "unit removed"
fi
halt
if [ -n "$stopped" ]; then echo "stopped$stopped"; fi
`

func (s *Site) undoService(ctx context.Context, h host.Host, r *Report) error {
	out, err := s.run(ctx, h, "stop the registry", undoServiceScript, s.env(), nil)
	if err != nil {
		return err
	}
	f := parseFacts(out)
	if f.has("unit") {
		r.Removed = append(r.Removed, "service "+Unit)
	}
	for _, pids := range f["stopped"] {
		r.Removed = append(r.Removed, "process "+strings.Join(strings.Fields(pids), " and "))
	}
	return nil
}

// restoring is what is done about one recorded file.
type restoring struct {
	put  put
	done string
	left string
}

// beside is what the name of a kept original ends in.
const beside = ".before-bundle"

// restoreOne decides about one file.
func restoreOne(rec record, now file) restoring {
	switch {
	case rec.untouched(now), !now.exists && !rec.Existed:
		return restoring{}
	case rec.ours(now) && !rec.Existed:
		return restoring{put: put{path: rec.Path, old: now, remove: true}, done: rec.Path}
	case rec.ours(now):
		return restoring{put: put{path: rec.Path, mode: rec.Mode, old: now, data: rec.Before}, done: rec.Path + " (it is as it was)"}
	case !now.exists:
		// Nobody's work is lost by putting it back.
		return restoring{put: put{path: rec.Path, mode: rec.Mode, old: now, data: rec.Before}, done: rec.Path + " (it is as it was)"}
	case rec.Existed:
		return restoring{
			put:  put{path: rec.Path + beside, mode: rec.Mode, data: rec.Before},
			left: fmt.Sprintf("%s, which others have changed since (what it was before is in %s)", rec.Path, rec.Path+beside),
		}
	}
	return restoring{left: rec.Path + ", which others have changed since"}
}

func (s *Site) undoFiles(ctx context.Context, h host.Host, r *Report) error {
	text, err := s.read(ctx, h, s.p.records)
	if err != nil {
		return err
	}
	recs, err := parseRecords(text)
	if err != nil {
		return fileError(h, s.p.records, "cannot be understood: %v", err)
	}
	var restored []string
	for _, p := range recs.paths() {
		did, err := s.restore(ctx, h, p)
		if err != nil {
			return err
		}
		if did.done != "" {
			r.Removed = append(r.Removed, did.done)
			restored = append(restored, p)
		}
		if did.left != "" {
			r.Left = append(r.Left, did.left)
		}
	}
	changed, err := s.apply(ctx, h, []edit{{path: s.p.hosts, text: func(old []byte) ([]byte, error) {
		if rest, err := setBlock(old, nil); err != nil || len(rest) < len(old) {
			return rest, err
		}
		return nil, nil
	}}})
	if err != nil {
		return err
	}
	if len(changed) > 0 {
		r.Removed = append(r.Removed, "the block in "+s.p.hosts)
	}
	if err := s.undoFolders(ctx, h, recs.Folders); err != nil {
		return err
	}
	for _, rt := range []struct{ settings, service, how string }{
		{s.p.containerd, "containerd", "restart"}, {s.p.daemon, "docker", "reload-or-restart"},
	} {
		if !slices.Contains(restored, rt.settings) {
			continue
		}
		// A runtime that does not start without us is not our failure to clean.
		env := map[string]string{"SYSTEMD": s.p.systemd, "SERVICE": rt.service, "HOW": rt.how}
		if _, err := s.run(ctx, h, "have "+rt.service+" take its old settings", reloadScript, env, nil); err != nil {
			if ctx.Err() != nil {
				return err
			}
			r.Left = append(r.Left, rt.service+", which does not take its old settings")
		}
	}
	return nil
}

// restore puts one recorded file back.
func (s *Site) restore(ctx context.Context, h host.Host, name string) (restoring, error) {
	for range attempts {
		text, err := s.read(ctx, h, s.p.records)
		if err != nil {
			return restoring{}, err
		}
		files, err := s.look(ctx, h, []string{name, name + beside})
		if err != nil {
			return restoring{}, err
		}
		recs, err := parseRecords(text)
		if err != nil {
			return restoring{}, fileError(h, s.p.records, "cannot be understood: %v", err)
		}
		rec := recs.find(name)
		if rec == nil {
			return restoring{}, nil
		}
		did := restoreOne(*rec, files[0])
		if did.put.path == "" {
			return did, nil
		}
		if did.put.path != name {
			did.put.old = files[1]
		}
		fresh, err := s.write(ctx, h, []put{did.put})
		if err != nil || fresh {
			return did, err
		}
	}
	return restoring{}, busy(h, name)
}

// undoFolders removes the folders that we made and that are empty now.
func (s *Site) undoFolders(ctx context.Context, h host.Host, folders []string) error {
	if len(folders) == 0 {
		return nil
	}
	list := slices.Clone(folders)
	slices.SortFunc(list, func(a, b string) int { return len(b) - len(a) })
	_, err := s.run(ctx, h, "remove empty folders", `
while IFS= read -r d; do rmdir -- "$d" 2>/dev/null || true; done
`, nil, []byte(strings.Join(list, "\n")+"\n"))
	return err
}

// undoFolderScript removes what is in our folder, but for the folders below
// state: those are journals of installs, perhaps of this very one.
const undoFolderScript = `
[ -d "$BASE" ] || exit 0
kib=0
for f in "$BASE"/* "$BASE"/.[!.]* "$STATE"/* "$STATE"/.[!.]*; do
  [ -e "$f" ] || [ -L "$f" ] || continue
  if [ "$f" = "$STATE" ]; then continue; fi
  if [ "${f%/*}" = "$STATE" ] && [ -d "$f" ]; then continue; fi
  n=$(du -sk -- "$f" | cut -f 1)
  kib=$((kib+n))
  rm -rf --one-file-system -- "$f" 2>/dev/null || true
  if [ -e "$f" ]; then echo "left $f"; else echo "gone $f"; fi
done
rmdir -- "$STATE" "$BASE" 2>/dev/null || true
echo "size $kib"
`

func (s *Site) undoFolder(ctx context.Context, h host.Host, r *Report) error {
	out, err := s.run(ctx, h, "remove "+s.p.base, undoFolderScript, map[string]string{"BASE": s.p.base, "STATE": s.p.state}, nil)
	if err != nil {
		return err
	}
	f := parseFacts(out)
	if kib, ok := f.number("size"); ok && f.has("gone") {
		r.Removed = append(r.Removed, fmt.Sprintf("what was in %s (%s)", s.p.base, size(kib<<10)))
	}
	for _, name := range f["left"] {
		r.Left = append(r.Left, printable(name)+", which is a mount or in use")
	}
	return nil
}
