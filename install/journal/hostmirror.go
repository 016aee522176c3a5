package journal

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"bundle/install/host"
)

// OnHost is the mirror in the folder [HostDir] of a host. On the machine that
// the journal itself is on there is nothing to mirror.
func OnHost(h host.Host, cluster string) (Mirror, error) {
	if err := checkName(cluster); err != nil {
		return nil, err
	}
	return hostMirror{h, path.Join(HostDir, cluster)}, nil
}

type hostMirror struct {
	h   host.Host
	dir string
}

func (m hostMirror) Name() string { return m.h.Name() }

func (m hostMirror) Read(ctx context.Context) ([]byte, error) {
	return m.h.ReadFile(ctx, path.Join(m.dir, FileName), maxSize)
}

// writeScript puts standard input behind the first OFFSET bytes. What is there
// already has to be a part of it, from a try that broke, or half a line.
// Otherwise it says "diverged" and touches nothing.
const writeScript = `set -eu
umask 077
diverged() { echo diverged; exit 0; }
sum() { set -- $(sha256sum); echo "$1"; }
mkdir -p "$DIR"
cd "$DIR"
exec 9>> "$NAME"
if command -v flock > /dev/null; then flock -w 20 9; fi
trap 'rm -f incoming.$$' EXIT
cat > incoming.$$
size=$(wc -c < "$NAME")
test "$size" -ge "$OFFSET" || diverged
test "$(head -c "$OFFSET" "$NAME" | sum)" = "$BEFORE" || diverged
more=$((size - OFFSET))
if test "$more" -gt 0; then
	theirs=$(tail -c +"$((OFFSET + 1))" "$NAME" | sum)
	ours=$(head -c "$more" incoming.$$ | sum)
	lines=$(tail -c +"$((OFFSET + 1))" "$NAME" | wc -l)
	test "$theirs" = "$ours" || test "$lines" -eq 0 || diverged
	truncate -s "$OFFSET" "$NAME"
fi
cat incoming.$$ >&9
sync "$NAME" . 2> /dev/null || sync
echo written
`

func (m hostMirror) Write(ctx context.Context, off int64, before string, data []byte) error {
	var out, errs bytes.Buffer
	err := m.h.Run(ctx, host.Command{
		Label:  "keep the journal",
		Script: writeScript,
		Env:    map[string]string{"DIR": m.dir, "NAME": FileName, "OFFSET": strconv.FormatInt(off, 10), "BEFORE": before},
		Stdin:  bytes.NewReader(data),
		Stdout: &out, Stderr: &errs,
	})
	said := strings.TrimSpace(out.String())
	switch {
	case err != nil:
		return fmt.Errorf("the journal on %s cannot be written: %w%s", m.Name(), err, lastLine(errs.String()))
	case said == "diverged":
		return fmt.Errorf("the journal on %s: %w", m.Name(), ErrDiverged)
	case said != "written":
		return fmt.Errorf("the journal on %s cannot be written: the host said %.80q", m.Name(), said)
	}
	return nil
}

const removeScript = `cd -- "$DIR" 2> /dev/null || exit 0
rm -f -- "$NAME" "$NAME".torn-* incoming.*
cd /
rmdir -- "$DIR" "${DIR%/*}" "${DIR%/*/*}" 2> /dev/null || :
`

func (m hostMirror) Remove(ctx context.Context) error {
	return m.h.Run(ctx, host.Command{
		Label: "remove the journal", Script: removeScript, Env: map[string]string{"DIR": m.dir, "NAME": FileName},
	})
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	if s = s[strings.LastIndexByte(s, '\n')+1:]; s == "" {
		return ""
	}
	return ": " + bound(s)
}
