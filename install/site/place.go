package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"bundle/install/host"
	"bundle/verify"
)

// placement is what lies on a server: what the registry serves.
type placement struct {
	Version int      `json:"version"`
	Bundles []placed `json:"bundles"`
}

// placed is one bundle on a host.
type placed struct {
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Index   digest.Digest `json:"index"`
	Path    string        `json:"path"`
	// InPlace: the file is the user's, and never removed.
	InPlace bool  `json:"inPlace,omitempty"`
	Size    int64 `json:"size"`
	// Stat is inode and time of change when it was verified, Policy the sum of
	// the policy that it satisfied. A file that differs is verified again.
	Stat   string `json:"stat"`
	Policy string `json:"policy"`
}

func (p placed) String() string { return bundleName(p.Name, p.Version) }

func parsePlacement(data []byte) (*placement, error) {
	p := &placement{Version: 1}
	if len(data) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(data, p); err != nil {
		return nil, err
	}
	if p.Version != 1 {
		return nil, errors.New("it was written by another version of this program")
	}
	for _, b := range p.Bundles {
		if b.Index.Validate() != nil || !filepath.IsAbs(b.Path) || strings.ContainsFunc(b.Path, control) {
			return nil, errors.New("it names a bundle that cannot be")
		}
	}
	return p, nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// with gives the placement with the bundles given, which take the place of
// what has the same name. Others stay: an application is served beside the
// platform that was installed before it.
func (p *placement) with(given []placed) *placement {
	next := &placement{Version: 1}
	for _, old := range p.Bundles {
		if !slices.ContainsFunc(given, func(b placed) bool { return b.Name == old.Name || b.Path == old.Path }) {
			next.Bundles = append(next.Bundles, old)
		}
	}
	next.Bundles = append(next.Bundles, given...)
	return next
}

func (p *placement) find(path string) (placed, bool) {
	i := slices.IndexFunc(p.Bundles, func(b placed) bool { return b.Path == path })
	if i < 0 {
		return placed{}, false
	}
	return p.Bundles[i], true
}

func (p *placement) text() []byte {
	b, _ := json.MarshalIndent(p, "", "  ") // nothing in it can fail
	return append(b, '\n')
}

// Place puts our program and the bundles on a server and has them verified
// there. What lies there verified stays. Errors wrap [ErrSpace], [ErrArch],
// [ErrBundle], or say what the host said.
func (s *Site) Place(ctx context.Context, h host.Host, bundles []Source) (Outcome, error) {
	defer s.lock(h)()
	if err := checkSources(bundles); err != nil {
		return Outcome{}, err
	}
	newProgram, err := s.placeProgram(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	newKeys, err := s.apply(ctx, h, s.policyFiles())
	if err != nil {
		return Outcome{}, err
	}
	text, err := s.read(ctx, h, s.p.placed)
	if err != nil {
		return Outcome{}, err
	}
	before, err := parsePlacement(text)
	if err != nil {
		return Outcome{}, fileError(h, s.p.placed, "cannot be understood: %v", err)
	}
	out := Outcome{Changed: newProgram || len(newKeys) > 0}
	var now []placed
	var details []string
	for _, b := range bundles {
		p, did, err := s.placeBundle(ctx, h, b, before)
		if err != nil {
			return Outcome{}, err
		}
		now = append(now, p)
		details = append(details, b.String()+" "+did)
		out.Changed = out.Changed || did != wasThere
	}
	changed, err := s.apply(ctx, h, []edit{{path: s.p.placed, mode: 0o600, text: func(old []byte) ([]byte, error) {
		current, err := parsePlacement(old)
		if err != nil {
			return nil, fmt.Errorf("cannot be understood: %w", err)
		}
		return current.with(now).text(), nil
	}}})
	if err != nil {
		return Outcome{}, err
	}
	out.Changed = out.Changed || len(changed) > 0
	out.Detail = strings.Join(details, ", ")
	return out, nil
}

func checkSources(bundles []Source) error {
	if len(bundles) == 0 {
		return &Error{Text: "no bundle is named for the registry", Err: ErrOptions}
	}
	for _, b := range bundles {
		if b.Name == "" || b.Index.Validate() != nil || b.Size <= 0 {
			return &Error{Text: fmt.Sprintf("what bundle %s is has not been said", b.Path), Err: ErrOptions}
		}
	}
	return nil
}

const wasThere = "is there and verified"

// statScript says of FILE what tells one state of it from another, and how
// much of it is there from an upload that broke.
const statScript = `
if [ -f "$FILE" ]; then
  echo "size $(stat -L -c %s -- "$FILE")"
  echo "stat $(stat -L -c '%i %y' -- "$FILE")"
fi
`

func (s *Site) stat(ctx context.Context, h host.Host, name string) (size int64, stat string, err error) {
	out, err := s.run(ctx, h, "look at the bundle", statScript, map[string]string{"FILE": name}, nil)
	if err != nil {
		return 0, "", err
	}
	f := parseFacts(out)
	size, ok := f.number("size")
	if !ok {
		return -1, "", nil
	}
	return size, f.get("stat"), nil
}

// placeBundle brings one bundle to the host and tells what it did.
func (s *Site) placeBundle(ctx context.Context, h host.Host, b Source, before *placement) (placed, string, error) {
	p := placed{Name: b.Name, Version: b.Version, Index: b.Index, Size: b.Size, Policy: s.o.Policy.sum()}
	p.Path = s.p.bundles + "/" + b.Index.Encoded() + ".tar.zst"
	if h.Local() && s.o.InPlace && b.Whole == nil {
		name, err := inPlace(b.Path, s.p.base)
		if err != nil {
			return p, "", err
		}
		p.Path, p.InPlace = name, true
	}
	size, stat, err := s.stat(ctx, h, p.Path)
	if err != nil {
		return p, "", err
	}
	p.Stat = stat
	if old, ok := before.find(p.Path); ok && size == b.Size && old.same(p) {
		return p, wasThere, nil
	}
	did := "verified where it lay"
	there := size == b.Size
	for try := 0; ; try++ {
		if !there && !p.InPlace {
			if did, err = s.transfer(ctx, h, b, p.Path); err != nil {
				return p, "", err
			}
			did += " and verified"
		}
		err = s.verify(ctx, h, b, p.Path)
		if err == nil {
			break
		}
		if p.InPlace || !errors.Is(err, ErrBundle) {
			return p, "", err
		}
		if e := s.remove(ctx, h, p.Path); e != nil {
			return p, "", e
		}
		// A file that was there from before, or one that an upload went on
		// with, may be what is wrong: once more, from nothing.
		if try > 0 || h.Local() && !there || errors.Is(err, verify.ErrUntrusted) {
			return p, "", err
		}
		there = false
	}
	size, p.Stat, err = s.stat(ctx, h, p.Path)
	if err == nil && size != b.Size {
		err = &Error{Host: h.Name(), Text: fmt.Sprintf("%s changed while it was verified", b), Err: ErrBundle, hint: "run the install again"}
	}
	return p, did, err
}

// same tells whether what was verified then is what is there now.
func (p placed) same(now placed) bool {
	return p.Index == now.Index && p.Size == now.Size && p.Stat == now.Stat && p.Policy == now.Policy && p.Stat != ""
}

func (s *Site) remove(ctx context.Context, h host.Host, name string) error {
	_, err := s.run(ctx, h, "remove a bundle that is not good", `rm -f -- "$FILE"`, map[string]string{"FILE": name}, nil)
	return err
}

// inPlace gives the real path of a bundle that is served from where it lies.
func inPlace(name, base string) (string, error) {
	abs, err := filepath.Abs(name)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	switch {
	case err != nil:
		return "", &Error{Text: fmt.Sprintf("bundle %s cannot be served from where it lies: %v", name, err), Err: ErrOptions}
	case strings.ContainsFunc(abs, control):
		return "", &Error{Text: fmt.Sprintf("bundle %q cannot be served from where it lies, because its path holds control characters", name), Err: ErrOptions}
	case strings.HasPrefix(abs, base+"/"):
		return "", &Error{Text: fmt.Sprintf("bundle %s cannot be served from where it lies, because clean removes %s", name, base), Err: ErrOptions, hint: "move it to another folder"}
	}
	return abs, nil
}

// transfer copies a bundle to the host.
func (s *Site) transfer(ctx context.Context, h host.Host, b Source, to string) (did string, err error) {
	if b.Whole != nil {
		return s.upload(ctx, h, b, b.Whole, to)
	}
	f, err := os.Open(b.Path)
	if err != nil {
		return "", &Error{Text: fmt.Sprintf("%s cannot be read: %v", b, err), Err: err}
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", &Error{Text: fmt.Sprintf("%s cannot be read: %v", b, err), Err: err}
	}
	if info.Size() != b.Size {
		return "", &Error{Text: fmt.Sprintf("%s has %d bytes instead of %d: %s changed since it was opened", b, info.Size(), b.Size, b.Path), Err: ErrBundle, hint: "run the install again"}
	}
	if h.Local() {
		return s.copyHere(ctx, h, b, info, to)
	}
	return s.upload(ctx, h, b, f, to)
}

// upload sends a bundle to the host.
func (s *Site) upload(ctx context.Context, h host.Host, b Source, content io.ReaderAt, to string) (did string, err error) {
	if err := s.room(ctx, h, b.Size-s.partial(ctx, h, to)); err != nil {
		return "", err
	}
	sent := func(n int64) {
		if s.o.Sent != nil {
			s.o.Sent(h.Name(), n)
		}
	}
	if err := h.Upload(ctx, to, 0o644, content, b.Size, sent); err != nil {
		return "", wrapHost(ctx, h, "upload "+b.String(), err)
	}
	return fmt.Sprintf("uploaded (%s)", size(b.Size)), nil
}

// partial is how many bytes are there from an upload that broke.
func (s *Site) partial(ctx context.Context, h host.Host, to string) int64 {
	out, err := s.run(ctx, h, "look for a broken upload", `
for f in "${FILE%/*}"/*"${FILE##*/}"* "${FILE%/*}"/.*"${FILE##*/}"*; do
  if [ -f "$f" ]; then echo "part $(stat -c %s -- "$f")"; fi
done
`, map[string]string{"FILE": to}, nil)
	if err != nil {
		return 0
	}
	var sum int64
	for _, v := range parseFacts(out)["part"] {
		n, _ := strconv.ParseInt(v, 10, 64)
		sum += n
	}
	return sum
}

// copyScript takes over a file of the same machine: a second name for it, else
// a clone of its blocks, else a copy if there is room.
const copyScript = `
mkdir -p -- "${TO%/*}"
t=$TO.part
rm -f -- "$TO" "$t"
if [ "$LINK" = yes ] && ln -- "$FROM" "$t" 2>/dev/null; then
  echo "did linked"
elif cp --reflink=always -- "$FROM" "$t" 2>/dev/null; then
  echo "did cloned"
else
  rm -f -- "$t"
  df -Pk -- "${TO%/*}" | { read -r _; read -r _ _ _ free _; echo "free $free"; [ "$free" -ge "$NEED" ]; } || exit 0
  trap 'rm -f -- "$t"' EXIT
  cp -- "$FROM" "$t"
  trap - EXIT
  echo "did copied"
fi
sync -- "$t" 2>/dev/null || sync
mv -f -- "$t" "$TO"
sync -- "${TO%/*}" 2>/dev/null || sync
`

func (s *Site) copyHere(ctx context.Context, h host.Host, b Source, info os.FileInfo, to string) (did string, err error) {
	from, err := filepath.Abs(b.Path)
	if err == nil {
		from, err = filepath.EvalSymlinks(from)
	}
	if err != nil {
		return "", &Error{Text: fmt.Sprintf("%s cannot be read: %v", b, err), Err: err}
	}
	env := map[string]string{"FROM": from, "TO": to, "LINK": "no", "NEED": strconv.FormatInt((b.Size+reserve)>>10+1, 10)}
	if linkable(info) {
		env["LINK"] = "yes"
	}
	out, err := s.run(ctx, h, "copy "+b.String(), copyScript, env, nil)
	if err != nil {
		return "", err
	}
	f := parseFacts(out)
	if !f.has("did") {
		free, _ := f.number("free")
		return "", s.enough(h, min(free<<10, b.Size+reserve-1), b.Size)
	}
	return f.get("did"), nil
}
