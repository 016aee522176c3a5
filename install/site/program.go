package site

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"bundle/install/host"
)

// program is our own program for the hosts.
type program struct {
	path string
	size int64
	sum  string
	// machines are what uname -m says where it runs.
	machines []string
}

// machines maps what an ELF file is for to what uname says.
var machines = map[elf.Machine][]string{
	elf.EM_X86_64:    {"x86_64", "amd64"},
	elf.EM_AARCH64:   {"aarch64", "arm64"},
	elf.EM_386:       {"i386", "i486", "i586", "i686", "x86_64"},
	elf.EM_ARM:       {"armv6l", "armv7l", "armv8l", "aarch64"},
	elf.EM_PPC64:     {"ppc64le", "ppc64"},
	elf.EM_S390:      {"s390x"},
	elf.EM_RISCV:     {"riscv64"},
	elf.EM_LOONGARCH: {"loongarch64"},
	elf.EM_MIPS:      {"mips64", "mips"},
}

const otherProgram = "give a program that was built for the hosts, from the same release"

func inspectProgram(name string) (program, error) {
	p := program{path: name}
	var err error
	if p.path == "" {
		if p.path, err = os.Executable(); err != nil {
			return p, &Error{Text: fmt.Sprintf("our own program cannot be found: %v", err), Err: ErrOptions, hint: otherProgram}
		}
	}
	f, err := os.Open(p.path)
	if err != nil {
		return p, &Error{Text: fmt.Sprintf("our own program cannot be read: %v", err), Err: ErrOptions, hint: otherProgram}
	}
	defer func() { _ = f.Close() }()
	e, err := elf.NewFile(f)
	if err != nil {
		return p, &Error{Text: fmt.Sprintf("%s is no program for Linux, and the hosts need one", p.path), Err: ErrArch, hint: otherProgram}
	}
	if p.machines = machines[e.Machine]; p.machines == nil {
		return p, &Error{Text: fmt.Sprintf("%s is for %s, which no host is", p.path, e.Machine), Err: ErrArch, hint: otherProgram}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return p, err
	}
	h := sha256.New()
	if p.size, err = io.Copy(h, f); err != nil {
		return p, &Error{Text: fmt.Sprintf("our own program cannot be read: %v", err), Err: ErrOptions}
	}
	p.sum = hex.EncodeToString(h.Sum(nil))
	return p, nil
}

const programScript = `
echo "machine $(uname -m)"
if [ -f "$BINARY" ]; then s=$(sha256sum < "$BINARY"); echo "sum ${s%% *}"; fi
`

// PlaceProgram puts our own program on a host.
func (s *Site) PlaceProgram(ctx context.Context, h host.Host) (Outcome, error) {
	defer s.lock(h)()
	changed, err := s.placeProgram(ctx, h)
	switch {
	case err != nil:
		return Outcome{}, err
	case changed:
		return Outcome{Changed: true, Detail: "the program bundle is on the host"}, nil
	}
	return Outcome{Detail: "the program bundle was there"}, nil
}

func (s *Site) placeProgram(ctx context.Context, h host.Host) (changed bool, err error) {
	p, err := s.binary()
	if err != nil {
		return false, err
	}
	const doing = "put the program there"
	env := map[string]string{"BINARY": s.p.binary}
	out, err := s.run(ctx, h, doing, programScript, env, nil)
	if err != nil {
		return false, err
	}
	f := parseFacts(out)
	if !p.runsOn(f.get("machine")) {
		return false, &Error{
			Host: h.Name(),
			Text: fmt.Sprintf("%s is a program for %s, and this host is %s", p.path, p.machines[0], printable(f.get("machine"))),
			Err:  ErrArch, hint: otherProgram,
		}
	}
	if f.get("sum") == p.sum {
		return false, nil
	}
	if err := s.room(ctx, h, p.size); err != nil {
		return false, err
	}
	src, err := os.Open(p.path)
	if err != nil {
		return false, &Error{Text: fmt.Sprintf("our own program cannot be read: %v", err), Err: ErrOptions}
	}
	defer func() { _ = src.Close() }()
	if err := h.Upload(ctx, s.p.binary, 0o755, src, p.size, func(int64) {}); err != nil {
		return false, wrapHost(ctx, h, doing, err)
	}
	// A service may only start what SELinux takes for a program.
	out, err = s.run(ctx, h, doing, programScript+`
if command -v selinuxenabled >/dev/null && selinuxenabled; then chcon -t bin_t -- "$BINARY" || true; fi
`, env, nil)
	if err != nil {
		return false, err
	}
	if got := parseFacts(out).get("sum"); got != p.sum {
		return false, &Error{Host: h.Name(), Text: fmt.Sprintf("the program arrived with the digest %.12s instead of %.12s", got, p.sum), Err: ErrBundle, hint: "run the install again"}
	}
	return true, nil
}

func (p program) runsOn(machine string) bool {
	for _, m := range p.machines {
		if m == machine {
			return true
		}
	}
	return false
}

// reserve is what has to stay free on a host's disk, in bytes.
const reserve = 64 << 20

const roomScript = `
d=$BASE
while [ ! -d "$d" ]; do d=${d%/*}; d=${d:-/}; done
df -Pk -- "$d" | { read -r _; read -r _ _ _ free _; echo "free $free"; }
`

// room errs where our folder's disk has not so many bytes free.
func (s *Site) room(ctx context.Context, h host.Host, need int64) error {
	out, err := s.run(ctx, h, "find out the free space", roomScript, map[string]string{"BASE": s.p.base}, nil)
	if err != nil {
		return err
	}
	free, ok := parseFacts(out).number("free")
	if !ok {
		return &Error{Host: h.Name(), Text: "cannot find out the free space: df printed something else", Err: ErrFile}
	}
	return s.enough(h, free<<10, need)
}

func (s *Site) enough(h host.Host, free, need int64) error {
	if free >= need+reserve {
		return nil
	}
	return &Error{
		Host: h.Name(),
		Text: fmt.Sprintf("%s has %s free and the registry needs %s", s.p.base, size(free), size(need+reserve)),
		Err:  ErrSpace, hint: "make room, or mount a larger disk at " + s.p.base,
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
