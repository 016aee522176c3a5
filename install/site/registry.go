package site

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"bundle/install/host"
)

// Start runs the registry on a server, as a service where there is systemd,
// else as a process that a script keeps running, and waits until it answers.
// One that runs with all it needs is left alone. Errors wrap [ErrPort],
// [ErrUnreachable], or say what the host said.
func (s *Site) Start(ctx context.Context, h host.Host) (Outcome, error) {
	defer s.lock(h)()
	c, err := s.secrets.get(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	p, err := s.binary()
	if err != nil {
		return Outcome{}, err
	}
	placedText, err := s.read(ctx, h, s.p.placed)
	if err != nil {
		return Outcome{}, err
	}
	place, err := parsePlacement(placedText)
	if err != nil {
		return Outcome{}, fileError(h, s.p.placed, "cannot be understood: %v", err)
	}
	if len(place.Bundles) == 0 {
		return Outcome{}, &Error{Host: h.Name(), Text: "there is no bundle for the registry", Err: ErrOptions, hint: "run the install with --from registry.place"}
	}
	svc, err := s.service(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	if err := svc.free(h); err != nil {
		return Outcome{}, err
	}
	secret, err := s.apply(ctx, h, s.secretFiles(c))
	if err != nil {
		return Outcome{}, err
	}
	args := s.serveArgs(h.Name(), place.Bundles, c.user != "")
	m := mark(p.sum, place.Bundles, s.o.Policy.sum(), c.caCert)
	text := own(s.p.unit, 0o644, s.unitText(m, args))
	if !svc.systemd {
		text = own(s.p.supervisor, 0o755, s.supervisorText(m, args))
	}
	changed, err := s.apply(ctx, h, []edit{text})
	if err != nil {
		return Outcome{}, err
	}
	out := Outcome{Changed: len(secret) > 0, Detail: "the registry runs and answers at " + s.addr(h.Name())}
	if len(changed) > 0 || !svc.running || s.answers(ctx, h, c, s.dial(h)) != nil {
		out.Changed = true
		if err := s.restart(ctx, h, svc.systemd); err != nil {
			return Outcome{}, err
		}
		if err := s.await(ctx, h, c, svc.systemd); err != nil {
			return Outcome{}, err
		}
	}
	if !svc.systemd {
		out.Detail += "; there is no systemd, so nothing starts it when the host boots"
	}
	return out, s.tidy(ctx, h, place)
}

// service is what runs on a server before anything is done.
type service struct {
	systemd, running bool
	// owner is who listens on the port, by its command line; mine that it is
	// our own program.
	taken, mine bool
	pid, owner  string
}

// portScript tells who listens on PORT.
const portScript = `
owner() {
  hex=$(printf :%04X "$PORT")
  for a in $(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v p="$hex" '$4 == "0A" && substr($2, length($2)-4) == p {print $2 "," $10}'); do
    i=${a#*,}
    fd=$(find /proc/[0-9]*/fd -lname "socket:[[]${i}[]]" 2>/dev/null | head -n 1) || true
    pid=${fd#/proc/}; pid=${pid%%/*}
    line=
    if [ -n "$pid" ]; then line=$(head -c 4096 "/proc/$pid/cmdline" 2>/dev/null | tr '\0' ' ') || true; fi
    echo "port ${a%%:*} ${pid:-?} $line"
  done
}
`

// aliveScript tells whether the supervisor that PIDFILE names runs: the
// process has to have begun when the file says and to be running our script.
const aliveScript = `
alive() {
  [ -f "$PIDFILE" ] || return 1
  read -r pid began < "$PIDFILE" || return 1
  case $pid in ''|*[!0-9]*) return 1;; esac
  read -r st < "/proc/$pid/stat" 2>/dev/null || return 1
  st=${st##*) }
  set -- $st
  [ "${20}" = "$began" ] || return 1
  tr '\0' '\n' < "/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "$SUPERVISOR"
}
# child gives the registry's process, if the supervisor's note is true.
child() {
  [ -f "$CHILDFILE" ] || return 1
  read -r kid < "$CHILDFILE" || return 1
  case $kid in ''|*[!0-9]*) return 1;; esac
  [ "$(tr '\0' '\n' < "/proc/$kid/cmdline" 2>/dev/null | head -n 2 | tr '\n' ' ')" = "$BINARY serve " ]
}
`

const serviceScript = portScript + aliveScript + `
if [ -d "$SYSTEMD" ] && command -v systemctl >/dev/null; then
  echo "systemd yes"
  if systemctl is-active --quiet "$UNIT"; then echo "running yes"; fi
elif alive; then
  echo "running yes"
fi
owner
`

// env are the names that the scripts about the service use.
func (s *Site) env() map[string]string {
	return map[string]string{
		"SYSTEMD": s.p.systemd, "UNIT": Unit, "UNITFILE": s.p.unit, "PORT": strconv.Itoa(s.o.Registry.Port),
		"BINARY": s.p.binary, "SUPERVISOR": s.p.supervisor, "PIDFILE": s.p.pid, "CHILDFILE": s.p.child, "LOG": s.p.log,
	}
}

func (s *Site) service(ctx context.Context, h host.Host) (service, error) {
	out, err := s.run(ctx, h, "look at the registry", serviceScript, s.env(), nil)
	if err != nil {
		return service{}, err
	}
	f := parseFacts(out)
	v := service{systemd: f.has("systemd"), running: f.has("running")}
	for _, line := range f["port"] {
		addr, rest, _ := strings.Cut(line, " ")
		if !s.collides(addr) {
			continue
		}
		pid, cmd, _ := strings.Cut(rest, " ")
		mine := strings.HasPrefix(cmd, s.p.binary+" serve ")
		if !v.taken || v.mine {
			v.taken, v.mine, v.pid, v.owner = true, mine, pid, cmd
		}
	}
	return v, nil
}

// collides tells whether a socket that listens on the address, as the kernel
// writes it, keeps us from listening.
func (s *Site) collides(kernel string) bool {
	b, err := hex.DecodeString(kernel)
	if err != nil || len(b)%4 != 0 {
		return true
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4]) // words in the order of the processor, which is little-endian
	}
	got, ok := netip.AddrFromSlice(b)
	if !ok || s.o.Listen == "" || got.Unmap().IsUnspecified() {
		return true
	}
	want, _ := netip.ParseAddr(s.o.Listen) // checked by New
	return want.IsUnspecified() || got.Unmap() == want.Unmap()
}

// free errs where somebody else has the port.
func (v service) free(h host.Host) error {
	if !v.taken || v.mine {
		return nil
	}
	who := "another program"
	if name, _, _ := strings.Cut(printable(v.owner), " "); name != "" {
		who = fmt.Sprintf("%s (process %s)", filepath.Base(name), v.pid)
	} else if v.pid != "?" {
		who = "process " + v.pid
	}
	return &Error{
		Host: h.Name(), Text: "the registry cannot start, because its port is taken by " + who, Err: ErrPort,
		hint: "stop it, or give the registry another port in the Clusterfile",
	}
}

const restartUnitScript = `
systemctl daemon-reload
systemctl enable --quiet "$UNIT"
systemctl restart "$UNIT"
`

// stopScript ends the supervisor and the registry that it runs, and nothing
// else: first kindly, then not.
const stopScript = `
halt() {
  stopped=
  pids=
  if alive; then pids=$pid; fi
  if child; then pids="$pids $kid"; fi
  for p in $pids; do
    stopped="$stopped $p"
    kill -TERM "$p" 2>/dev/null || true
  done
  for p in $pids; do
    n=0
    while [ -d "/proc/$p" ] && ! grep -q '^State:[[:space:]]*Z' "/proc/$p/status" 2>/dev/null; do
      n=$((n+1))
      if [ "$n" -gt 150 ]; then kill -KILL "$p" 2>/dev/null || true; break; fi
      sleep 0.1
    done
  done
  rm -f -- "$PIDFILE" "$CHILDFILE"
}
`

const restartProcessScript = aliveScript + stopScript + `
halt
if [ -f "$LOG" ]; then mv -f -- "$LOG" "$LOG.1"; fi
: > "$LOG"
setsid bash "$SUPERVISOR" </dev/null >/dev/null 2>&1 &
`

func (s *Site) restart(ctx context.Context, h host.Host, systemd bool) error {
	script := restartProcessScript
	if systemd {
		script = restartUnitScript
	}
	_, err := s.run(ctx, h, "start the registry", script, s.env(), nil)
	return err
}

// stateScript tells whether the registry has ended since it was started, and
// its last words.
const stateScript = `
if [ "$KIND" = systemd ]; then
  state=$(systemctl is-active "$UNIT" || true)
  if [ "$state" != active ]; then
    echo "ended $state"
    journalctl -u "$UNIT" -n 20 --no-pager -o cat 2>/dev/null | sed 's/^/log /' || true
  fi
elif grep -q '^ended with code ' "$LOG" 2>/dev/null; then
  echo "ended"
  tail -n 20 -- "$LOG" | sed 's/^/log /'
fi
`

// poll is how often a registry that starts is asked.
const poll = 200 * time.Millisecond

// await waits until the registry answers, or says why it does not.
func (s *Site) await(ctx context.Context, h host.Host, c *secrets, systemd bool) error {
	deadline := time.Now().Add(s.o.StartTimeout)
	env := s.env()
	env["KIND"] = "process"
	if systemd {
		env["KIND"] = "systemd"
	}
	var last error
	for {
		if last = s.answers(ctx, h, c, s.dial(h)); last == nil {
			return nil
		}
		out, err := s.run(ctx, h, "look at the registry", stateScript, env, nil)
		if err != nil {
			return err
		}
		if f := parseFacts(out); f.has("ended") {
			return &Error{Host: h.Name(), Text: "the registry ends right after it started: " + lastWords(f["log"]), Err: ErrUnreachable, hint: s.logHint(systemd)}
		}
		if time.Now().After(deadline) {
			return &Error{
				Host: h.Name(), Text: fmt.Sprintf("the registry does not answer within %s: %v", s.o.StartTimeout, last),
				Err: ErrUnreachable, hint: s.logHint(systemd),
			}
		}
		if err := pause(ctx, poll); err != nil {
			return err
		}
	}
}

func (s *Site) logHint(systemd bool) string {
	if systemd {
		return "journalctl -u " + Unit + " on the host says more"
	}
	return s.p.log + " on the host says more"
}

// lastWords picks the line of a log that says why a program ended.
func lastWords(lines []string) string {
	for _, l := range slices.Backward(lines) {
		if _, text, ok := strings.Cut(l, "error: "); ok {
			return printable(text)
		}
	}
	for _, l := range slices.Backward(lines) {
		if l = printable(strings.TrimSpace(l)); l != "" && !strings.HasPrefix(l, "ended with code ") {
			return l
		}
	}
	return "it says nothing"
}

// tidy removes bundle files that are served no more.
func (s *Site) tidy(ctx context.Context, h host.Host, p *placement) error {
	var keep strings.Builder
	for _, b := range p.Bundles {
		fmt.Fprintln(&keep, b.Path)
	}
	_, err := s.run(ctx, h, "remove bundles that are served no more", `
for f in "$BUNDLES"/*; do
  if [ -f "$f" ] && ! printf %s "$KEEP" | grep -qxF -- "$f"; then rm -f -- "$f"; fi
done
`, map[string]string{"BUNDLES": s.p.bundles, "KEEP": keep.String()}, nil)
	return err
}
