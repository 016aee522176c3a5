package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bundle/install/host"
)

// Trust makes a host fetch images from the registry: the authority, a
// hosts.toml for every upstream registry and every name of our own, docker's
// settings where there is docker, and the names in /etc/hosts. What other
// registries earlier calls named stays. It then asks the registry from the
// host. Errors wrap [ErrFile], [ErrUnreachable], or say what the host said.
func (s *Site) Trust(ctx context.Context, h host.Host, upstreams []string) (Outcome, error) {
	defer s.lock(h)()
	for _, n := range upstreams {
		if !registryName(n) {
			return Outcome{}, &Error{Text: fmt.Sprintf("%q cannot be the name of a registry", n), Err: ErrOptions}
		}
	}
	c, err := s.secrets.get(ctx, s.asServer(h))
	if err != nil {
		return Outcome{}, err
	}
	f, err := s.nodeFacts(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	changed, notes, err := s.settle(ctx, h, c, upstreams, f, "reload-or-restart")
	if err != nil {
		return Outcome{}, err
	}
	if s.needsConfigPath(f) {
		notes = append(notes, "containerd's config_path does not name "+s.p.certs+" yet")
	}
	silent, err := s.reach(ctx, h, c)
	if err != nil {
		return Outcome{}, err
	}
	if len(silent) > 0 {
		notes = append(notes, "no answer from the registry on "+strings.Join(silent, ", "))
	}
	return outcome(changed, "images come from the registry on site", notes), nil
}

// EnsureRuntime puts right what the installation of a container runtime, which
// may bring its own settings, left out or overwrote: containerd's config_path
// and docker's mirrors. It restarts containerd or docker if it has to. It is
// for after the runtime is there, and before anything runs in it.
func (s *Site) EnsureRuntime(ctx context.Context, h host.Host) (Outcome, error) {
	defer s.lock(h)()
	c, err := s.secrets.get(ctx, s.asServer(h))
	if err != nil {
		return Outcome{}, err
	}
	f, err := s.nodeFacts(ctx, h)
	if err != nil {
		return Outcome{}, err
	}
	changed, notes, err := s.settle(ctx, h, c, nil, f, "restart")
	if err != nil {
		return Outcome{}, err
	}
	if s.needsConfigPath(f) {
		did, note, err := s.ensureConfigPath(ctx, h)
		if err != nil {
			return Outcome{}, err
		}
		changed = append(changed, did...)
		notes = append(notes, note...)
	}
	return outcome(changed, "the container runtime asks the registry on site", notes), nil
}

func outcome(changed []string, done string, notes []string) Outcome {
	return Outcome{Changed: len(changed) > 0, Detail: strings.Join(append([]string{done}, notes...), "; ")}
}

// asServer gives h where it is a server, for only there secrets may be made.
func (s *Site) asServer(h host.Host) host.Host {
	if s.isServer(h.Name()) {
		return h
	}
	return nil
}

// nodeScript tells which runtimes a host has. The effective configuration is
// asked for, because it may come from several files.
const nodeScript = `
if command -v dockerd >/dev/null || [ -d "$DOCKER" ]; then echo "docker yes"; fi
if command -v containerd >/dev/null; then
  echo "containerd yes"
  if containerd --config "$CONFIG" config dump 2>/dev/null | grep -E '^[[:space:]]*config_path[[:space:]]*=' | grep -qE -- "[\"':]$CERTS[\"':]"; then echo "config_path yes"; fi
elif [ -f "$CONFIG" ]; then
  echo "containerd yes"
fi
`

func (s *Site) nodeFacts(ctx context.Context, h host.Host) (facts, error) {
	out, err := s.run(ctx, h, "look at the container runtime", nodeScript,
		map[string]string{"DOCKER": s.p.dockerDir, "CONFIG": s.p.containerd, "CERTS": s.p.certs}, nil)
	return parseFacts(out), err
}

// needsConfigPath tells whether there is a containerd that does not know where
// we say which registry to ask. Below docker it need not.
func (s *Site) needsConfigPath(f facts) bool {
	return s.o.Runtime != "docker" && f.has("containerd") && !f.has("config_path")
}

// settle writes everything that tells a host about the registry. how is what
// makes a docker that runs take new settings.
func (s *Site) settle(ctx context.Context, h host.Host, c *secrets, upstreams []string, f facts, how string) (changed, notes []string, err error) {
	names, err := s.known(ctx, h, upstreams)
	if err != nil {
		return nil, nil, err
	}
	servers := s.serversFor(h.Name())
	mode := fs.FileMode(0o644)
	if c.user != "" {
		mode = 0o600
	}
	edits := []edit{own(s.p.caCert, 0o644, c.caCert)}
	for _, n := range names {
		edits = append(edits, edit{path: s.hostsFile(n), mode: mode, keep: true, data: s.hostsTOML(n, servers, c.authorization())})
	}
	if f.has("docker") || s.o.Runtime == "docker" {
		edits = append(edits, s.dockerEdits(c, servers)...)
		if c.user != "" {
			notes = append(notes, "docker asks mirrors without a password, so only images named "+s.localNames()[0]+"/… can be pulled by it")
		}
	}
	lines, err := s.hostsLines(h.Name())
	if err != nil {
		return nil, nil, &Error{Text: err.Error(), Err: ErrOptions}
	}
	var rival []string
	edits = append(edits, edit{path: s.p.hosts, text: func(old []byte) ([]byte, error) {
		rival = rivals(old, lines)
		return setBlock(old, lines)
	}})
	if changed, err = s.apply(ctx, h, edits); err != nil {
		return nil, nil, err
	}
	for _, r := range rival {
		notes = append(notes, fmt.Sprintf("%s also says %q", s.p.hosts, r))
	}
	if slices.Contains(changed, s.p.daemon) {
		_, err = s.run(ctx, h, "have docker take its new settings", reloadScript, map[string]string{"SYSTEMD": s.p.systemd, "SERVICE": "docker", "HOW": how}, nil)
	}
	return changed, notes, err
}

// reloadScript makes a service that runs take new settings.
const reloadScript = `
if [ -d "$SYSTEMD" ] && systemctl is-active --quiet "$SERVICE"; then systemctl "$HOW" "$SERVICE"; fi
`

// known are the registries that a host is told about: these, those of earlier
// calls, and our own names.
func (s *Site) known(ctx context.Context, h host.Host, upstreams []string) ([]string, error) {
	text, err := s.read(ctx, h, s.p.records)
	if err != nil {
		return nil, err
	}
	recs, err := parseRecords(text)
	if err != nil {
		return nil, fileError(h, s.p.records, "cannot be understood: %v", err)
	}
	names := append(slices.Clone(upstreams), s.localNames()...)
	for _, p := range recs.paths() {
		if dir, ok := strings.CutPrefix(p, s.p.certs+"/"); ok && path.Base(p) == hostsName && registryName(path.Dir(dir)) {
			names = append(names, path.Dir(dir))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

const hostsName = "hosts.toml"

func (s *Site) hostsFile(registry string) string { return s.p.certs + "/" + registry + "/" + hostsName }

// registryName tells whether n is a host with or without a port, and so can
// be a folder's name too.
func registryName(n string) bool {
	name, port, ok := strings.Cut(n, ":")
	if ok && (port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "") {
		return false
	}
	return nameRE.MatchString(name) && !strings.Contains(name, "..")
}

func (s *Site) dockerEdits(c *secrets, servers []string) []edit {
	var list []edit
	var mirrors, plain []string
	for _, n := range s.localNames() {
		list = append(list, edit{path: s.p.dockerCerts + "/" + n + "/ca.crt", mode: 0o644, keep: true, data: c.caCert})
		plain = append(plain, "http://"+n)
	}
	for _, server := range servers {
		list = append(list, edit{path: s.p.dockerCerts + "/" + s.addr(server) + "/ca.crt", mode: 0o644, keep: true, data: c.caCert})
		mirrors = append(mirrors, "https://"+s.addr(server))
		plain = append(plain, "http://"+s.addr(server))
	}
	list = append(list, edit{path: s.p.daemon, keep: true, text: func(old []byte) ([]byte, error) { return daemonJSON(old, mirrors, plain) }})
	if c.user != "" {
		basic := strings.TrimPrefix(c.authorization(), "Basic ")
		list = append(list, edit{path: s.p.kubeletLogin, mode: 0o600, keep: true, text: func(old []byte) ([]byte, error) {
			return dockerLogin(old, s.localNames(), basic)
		}})
	}
	return list
}

// restartContainerdScript restarts a containerd that runs, and waits until it
// answers. One that cannot be asked is not waited for.
const restartContainerdScript = `
if [ -d "$SYSTEMD" ] && systemctl is-active --quiet containerd; then
  systemctl restart containerd
  if command -v ctr >/dev/null; then
    n=0
    until ctr --connect-timeout 2s version >/dev/null 2>&1; do
      n=$((n+1))
      if [ "$n" -gt 60 ]; then echo "it does not answer after its restart" >&2; exit 1; fi
      sleep 0.5
    done
  fi
  echo "restarted yes"
fi
`

// ensureConfigPath sets config_path where it is missing. A containerd that
// does not come up with it gets its old configuration back.
func (s *Site) ensureConfigPath(ctx context.Context, h host.Host) (changed, notes []string, err error) {
	var mirrors bool
	changed, err = s.apply(ctx, h, []edit{{path: s.p.containerd, keep: true, text: func(old []byte) ([]byte, error) {
		text, err := containerdConfig(old, s.p.certs)
		mirrors = errors.Is(err, errMirrors)
		if mirrors || errors.Is(err, errNoCRI) {
			return nil, nil
		}
		return text, err
	}}})
	if mirrors {
		return nil, []string{s.p.containerd + " " + errMirrors.Error() + ", so it is left as it is"}, err
	}
	if err != nil || len(changed) == 0 {
		return nil, nil, err
	}
	env := map[string]string{"SYSTEMD": s.p.systemd}
	out, err := s.run(ctx, h, "have containerd take its new settings", restartContainerdScript, env, nil)
	if err == nil {
		if !parseFacts(out).has("restarted") {
			notes = append(notes, "containerd was not running, and finds config_path when it starts")
		}
		return changed, notes, nil
	}
	if _, e := s.restore(ctx, h, s.p.containerd); e == nil {
		_, _ = s.run(ctx, h, "have containerd take its old settings", restartContainerdScript, env, nil)
	}
	return nil, nil, err
}
