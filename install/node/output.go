package node

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"bundle/install/host"
)

var (
	preflightLine = regexp.MustCompile(`^\s*\[ERROR ([A-Za-z0-9._-]+)\]:\s*(.*)$`)
	phaseLine     = regexp.MustCompile(`^(?:error: )?error execution phase ([a-z/-]+): (.*)$`)
	imageName     = regexp.MustCompile(`failed to pull image "?([^\s":]+(?::[0-9]+/[^\s":]+)?(?::[^\s":]+)?)"?`)
	kubeletFatal  = regexp.MustCompile(`(?i)failed to run kubelet|failed to load kubelet config|failed to validate kubelet|command failed|panic:|no such file`)
	klogError     = regexp.MustCompile(`^[EF]\d{4} [0-9:.]+\s+\d+ \S+\] ?(.*)$`)
)

// verdict is what was found in a long output.
type verdict struct {
	text, hint string
	kubelet    bool // the kubelet's own log will say more
}

// hints are what to do about checks of kubeadm that fail, by the beginning of
// their names.
var hints = []struct{ check, hint string }{
	{"Port-", "something else listens there; find it with ss -lntp, stop it, and run the install again"},
	{"DirAvailable-", "it holds something of an earlier cluster; bundle clean removes what is ours, kubeadm reset the rest"},
	{"FileAvailable-", "it is left from an earlier cluster; bundle clean removes what is ours, kubeadm reset the rest"},
	{"FileExisting-", "install the program that is missing, from the image or the distribution"},
	{"ImagePull", "the container runtime does not get it from the bundle's registry; bundle status says whether that runs, and the runtime has to trust it (the step registry.trust)"},
	{"Swap", "turn swap off with swapoff -a, and in /etc/fstab"},
	{"CRI", "the container runtime does not answer; systemctl status containerd (or docker) says why"},
	{"NumCPU", "a control plane needs two CPUs"},
	{"Mem", "a control plane needs 1700 MB of memory"},
	{"KubeletVersion", "kubelet and kubeadm must come from one release"},
	{"IsPrivilegedUser", "log in as root, or as a user with sudo"},
	{"FileContent--proc-sys-net-", "load br_netfilter and set the sysctl; the image's scripts usually do"},
	{"SystemVerification", "the kernel or the container runtime lacks something that Kubernetes needs"},
	{"Hostname", "the host's own name should resolve; a line in /etc/hosts will do"},
}

// judge finds the sentence that matters in what kubeadm printed.
func judge(output string) verdict {
	var checks []string
	var hint, last, phase string
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n")
		if m := preflightLine.FindStringSubmatch(line); m != nil {
			if hint == "" {
				hint = hintFor(m[1])
			}
			checks = append(checks, m[1]+": "+m[2])
			continue
		}
		if m := phaseLine.FindStringSubmatch(line); m != nil {
			phase = m[1]
			last = m[2]
			continue
		}
		if t := strings.TrimSpace(line); strings.HasPrefix(t, "error: ") || strings.HasPrefix(t, "[kubelet-check] The HTTP call") && last == "" {
			last = strings.TrimPrefix(t, "error: ")
		}
	}
	if len(checks) > 0 {
		text := checks[0]
		if strings.HasPrefix(text, "ImagePull: ") {
			if m := imageName.FindStringSubmatch(text); m != nil {
				text = "the image " + m[1] + " cannot be pulled: " + lastReason(text)
			}
		}
		if n := len(checks) - 1; n > 0 {
			text += " (and " + count(n, "more problem") + ")"
		}
		return verdict{text: printable(text), hint: hint}
	}
	waits := phase == "wait-control-plane" || phase == "kubelet-start" || phase == "kubelet-wait-bootstrap" ||
		strings.Contains(output, "The kubelet is not running") || strings.Contains(output, "The kubelet is not healthy") ||
		strings.Contains(output, "isn't running or healthy") || strings.Contains(output, "[kubelet-check]") && strings.Contains(output, "timed out")
	switch {
	case phase != "":
		return verdict{text: printable("the phase " + phase + " failed: " + last), kubelet: waits}
	case last != "":
		return verdict{text: printable(last), kubelet: waits}
	}
	return verdict{text: printable(lastLine(output)), kubelet: waits}
}

func hintFor(check string) string {
	for _, h := range hints {
		if strings.HasPrefix(check, h.check) {
			return h.hint
		}
	}
	return ""
}

// lastReason is what stands behind the last colon that separates sentences.
func lastReason(s string) string {
	s = strings.TrimSuffix(strings.TrimSpace(s), ": exit status 1")
	if i := strings.LastIndex(s, "desc = "); i >= 0 {
		s = s[i+len("desc = "):]
	}
	parts := strings.Split(s, ": ")
	if n := len(parts); n > 2 {
		parts = parts[n-2:]
	}
	return strings.Join(parts, ": ")
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		s = s[i+1:]
	}
	return strings.TrimSpace(s)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

const kubeletScript = `
systemctl is-active kubelet 2>/dev/null | head -n 1 | sed 's/^/state /' || true
if command -v journalctl >/dev/null; then journalctl -u kubelet -n 60 --no-pager -o cat 2>/dev/null || true; fi
`

// kubeletSays gives the line of the kubelet's log that explains why it does
// not run, and one that may; empty where nothing speaks.
func (n *Nodes) kubeletSays(ctx context.Context, h host.Host) string {
	out, err := n.run(ctx, h, "read the kubelet's log", kubeletScript, n.env(), nil)
	if err != nil {
		return ""
	}
	state, log, _ := strings.Cut(strings.TrimSpace(out), "\n")
	state = strings.TrimPrefix(state, "state ")
	said := kubeletLine(log)
	switch {
	case said != "":
		return "the kubelet says: " + said
	case state != "" && state != "active" && !strings.Contains(state, " "):
		return "the kubelet's service is " + printable(state)
	}
	return ""
}

// kubeletLine picks the line that ended the kubelet, or else its last error.
func kubeletLine(log string) string {
	var fatal, failed string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		text := line
		m := klogError.FindStringSubmatch(line)
		if m != nil {
			text = m[1]
			failed = text
		}
		if kubeletFatal.MatchString(line) && (m != nil || strings.HasPrefix(line, "Error:") || strings.HasPrefix(line, "panic:")) {
			fatal = text
		}
	}
	if fatal != "" {
		return printable(fatal)
	}
	return printable(failed)
}

// explain makes one sentence of what kubeadm printed when it failed.
func (n *Nodes) explain(ctx context.Context, h host.Host, doing, output string, err error) error {
	exit, ok := errors.AsType[*host.ExitError](err)
	if !ok {
		return err // the connection's own sentence, or the end of the context
	}
	v := judge(output)
	text := doing + " failed: " + v.text
	hint := v.hint
	if v.kubelet {
		if said := n.kubeletSays(ctx, h); said != "" {
			text += "; " + said
		}
		if hint == "" {
			hint = "journalctl -u kubelet on " + h.Name() + " says more"
		}
	}
	if exit.Log != "" {
		if hint != "" {
			hint += "; "
		}
		hint += "all of kubeadm's output is in " + exit.Log
	}
	return fail(h, ErrKubeadm, err, hint, "%s", printable(text))
}
