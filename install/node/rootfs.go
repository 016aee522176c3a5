package node

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/install/host"
	"bundle/install/node/agent"
	"bundle/manifest/cluster"
)

// Source is where a host finds the bundle.
type Source struct {
	// Registries that serve it, https://HOST:PORT, as the host reaches them;
	// asked in order.
	Registries []string
	// CA is the file on the host with the registry's authority.
	CA string
	// Username and Password; empty where everybody may pull.
	Username string
	Password cluster.Secret
	// Ref is bundle/NAME:VERSION, and Digest that of the manifest it names.
	Ref    string
	Digest digest.Digest
	// Progress, if set, hears how many of how many bytes are there.
	Progress func(done, total int64)
}

const agentScript = `
if [ ! -x "$PROGRAM" ]; then echo '{"error":{"code":"missing"}}'; exit 3; fi
args=()
while IFS= read -r -d '' a; do
	if [ "$a" = -- ]; then break; fi
	args+=("$a")
done
exec "$PROGRAM" node "${args[@]}"
`

// PullRootfs has the host bring the root file system from the registry to
// where the Clusterfile wants it. Our program must be there already.
func (n *Nodes) PullRootfs(ctx context.Context, h host.Host, s Source) (Outcome, error) {
	args := []string{"rootfs", "--progress", "json", "--registry", strings.Join(s.Registries, ","),
		"--ref", s.Ref, "--digest", s.Digest.String(), "--to", n.rootfs}
	if s.CA != "" {
		args = append(args, "--ca", s.CA)
	}
	var secret []byte
	if s.Username != "" {
		args = append(args, "--credentials", "-")
		secret, _ = json.Marshal(map[string]string{"username": s.Username, "password": s.Password.Reveal()}) // texts
	}
	var r agent.Result
	progress := &progressReader{told: s.Progress}
	if err := n.agent(ctx, h, "bring the root file system", args, secret, progress, &r); err != nil {
		return Outcome{}, err
	}
	took := time.Duration(r.Millis) * time.Millisecond
	switch r.State {
	case agent.Unchanged:
		return Outcome{Detail: fmt.Sprintf("%d files were there and right", r.Files)}, nil
	case agent.Repaired:
		return Outcome{Changed: true, Detail: fmt.Sprintf("%d of %d files were put right, from %s", r.Written, r.Files, printable(r.Registry))}, nil
	}
	detail := fmt.Sprintf("%d files, %s, from %s in %s", r.Files, humanBytes(r.Bytes), printable(r.Registry), took.Round(100*time.Millisecond))
	if r.Kept > 0 {
		detail += fmt.Sprintf("; %d were there from a run before", r.Kept)
	}
	return Outcome{Changed: true, Detail: detail}, nil
}

// File is one file of the site.
type File struct {
	// Path is relative to the root file system.
	Path string
	// Mode is 0644 if it is 0.
	Mode uint32
	Data []byte
}

// WriteFiles lays files over the root file system: all that the site has, for
// those that an earlier call wrote and this one does not name are the bundle's
// again.
func (n *Nodes) WriteFiles(ctx context.Context, h host.Host, files []File) (Outcome, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	sorted := slices.Clone(files)
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i, f := range sorted {
		if f.Mode == 0 {
			f.Mode = 0o644
		}
		p := path.Clean(f.Path)
		if i > 0 && p == path.Clean(sorted[i-1].Path) {
			return Outcome{}, fail(h, nil, nil, "", "%s is to be written twice", p)
		}
		if err := tw.WriteHeader(&tar.Header{Name: p, Typeflag: tar.TypeReg, Mode: int64(f.Mode & 0o777), Size: int64(len(f.Data))}); err != nil {
			return Outcome{}, fail(h, nil, err, "", "%s cannot be written: %v", p, err)
		}
		if _, err := tw.Write(f.Data); err != nil {
			return Outcome{}, fail(h, nil, err, "", "%s cannot be written: %v", p, err)
		}
	}
	if err := tw.Close(); err != nil {
		return Outcome{}, err
	}
	var r agent.FilesResult
	if err := n.agent(ctx, h, "write the site's files", []string{"files", "--progress", "none", "--to", n.rootfs}, buf.Bytes(), nil, &r); err != nil {
		return Outcome{}, err
	}
	detail := fmt.Sprintf("%d files written, %d were right", r.Written, r.Unchanged)
	if r.Restored > 0 {
		detail += fmt.Sprintf(", %d are the bundle's own again", r.Restored)
	}
	return Outcome{Changed: r.Written+r.Restored > 0, Detail: detail}, nil
}

// agent runs our program on the host and reads its answer. Arguments stand
// before the program's own input, each ended by a NUL.
func (n *Nodes) agent(ctx context.Context, h host.Host, label string, args []string, input []byte, progress *progressReader, answer any) error {
	var in bytes.Buffer
	for _, a := range append(args, "--") {
		in.WriteString(a)
		in.WriteByte(0)
	}
	in.Write(input)
	var out, errs tail
	out.limit, errs.limit = maxOutput, maxErrors
	c := host.Command{Label: label, Script: prelude + agentScript, Env: n.env("PROGRAM", n.o.Program), Stdin: &in, Stdout: &out, Stderr: &errs}
	if progress != nil && progress.told != nil {
		c.Stderr = progress
	}
	err := h.Run(ctx, c)
	exit, ended := errors.AsType[*host.ExitError](err)
	if err != nil && !ended {
		return err
	}
	if err == nil {
		if jsonErr := json.Unmarshal([]byte(out.String()), answer); jsonErr != nil {
			return fail(h, ErrAgent, jsonErr, "", "our own program gave an answer that is none")
		}
		return nil
	}
	var told struct {
		Error struct{ Code, Message, Hint string }
	}
	if json.Unmarshal([]byte(out.String()), &told) != nil || told.Error.Code == "" {
		return fail(h, ErrAgent, exit, exit.Hint(), "our own program ended with code %d: %s", exit.Code, printable(exit.LastLine()))
	}
	class := ErrAgent
	switch told.Error.Code {
	case "missing":
		return fail(h, ErrAgent, nil, "run the install from the start: the step that brings the bundle's program puts it there", "our own program is not at %s", n.o.Program)
	case "damaged":
		class = ErrDamaged
	}
	return fail(h, class, nil, printable(told.Error.Hint), "%s", printable(told.Error.Message))
}

// progressReader reads the lines that our program writes about its progress.
type progressReader struct {
	told func(done, total int64)
	line []byte
}

// Write implements [io.Writer].
func (p *progressReader) Write(b []byte) (int, error) {
	const longest = 4096
	for _, c := range b {
		if c != '\n' {
			if len(p.line) < longest {
				p.line = append(p.line, c)
			}
			continue
		}
		var s struct{ Done, Total int64 }
		if json.Unmarshal(p.line, &s) == nil && s.Total > 0 && s.Done >= 0 && s.Done <= s.Total {
			p.told(s.Done, s.Total)
		}
		p.line = p.line[:0]
	}
	return len(b), nil
}

func humanBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, exp := float64(n)/unit, 0
	for ; value >= unit && exp < 4; exp++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[exp])
}
