package node

import (
	"strings"
	"testing"
)

// What kubeadm 1.20 to 1.34 print when they fail.
const (
	recordedPort = `[init] Using Kubernetes version: v1.34.4
[preflight] Running pre-flight checks
	[WARNING SystemVerification]: cgroups v1 support is in maintenance mode, please migrate to cgroups v2
error execution phase preflight: [preflight] Some fatal errors occurred:
	[ERROR Port-10250]: Port 10250 is in use
	[ERROR DirAvailable--var-lib-etcd]: /var/lib/etcd is not empty
[preflight] If you know what you are doing, you can make a check non-fatal with ` + "`--ignore-preflight-errors=...`" + `
To see the stack trace of this error execute with --v=5 or higher
`
	recordedImage = `[preflight] Pulling images required for setting up a Kubernetes cluster
error execution phase preflight: [preflight] Some fatal errors occurred:
	[ERROR ImagePull]: failed to pull image sea.hub:5000/oecp/kube-apiserver:v1.34.4: failed to pull image sea.hub:5000/oecp/kube-apiserver:v1.34.4: rpc error: code = NotFound desc = failed to pull and unpack image "sea.hub:5000/oecp/kube-apiserver:v1.34.4": sea.hub:5000/oecp/kube-apiserver:v1.34.4: not found
[preflight] If you know what you are doing, you can make a check non-fatal with ` + "`--ignore-preflight-errors=...`" + `
`
	recordedKubelet = `[preflight] Running pre-flight checks
[kubelet-start] Starting the kubelet
[kubelet-check] Waiting for a healthy kubelet at http://127.0.0.1:10248/healthz. This can take up to 4m0s
[kubelet-check] The kubelet is not healthy after 4m0.000516485s

Unfortunately, an error has occurred, likely caused by:
	- The kubelet is not running
	- The kubelet is unhealthy due to a misconfiguration of the node in some way (required cgroups disabled)

If you are on a systemd-powered system, you can try to troubleshoot the error with the following commands:
	- 'systemctl status kubelet'
	- 'journalctl -xeu kubelet'
error: error execution phase kubelet-wait-bootstrap: The HTTP call equal to 'curl -sSL http://127.0.0.1:10248/healthz' returned error: Get "http://127.0.0.1:10248/healthz": context deadline exceeded

To see the stack trace of this error execute with --v=5 or higher
`
	recordedWait120 = `[wait-control-plane] Waiting for the kubelet to boot up the control plane as static Pods from directory "/etc/kubernetes/manifests". This can take up to 4m0s
[kubelet-check] Initial timeout of 40s passed.
[kubelet-check] It seems like the kubelet isn't running or healthy.
[kubelet-check] The HTTP call equal to 'curl -sSL http://localhost:10248/healthz' failed with error: Get "http://localhost:10248/healthz": dial tcp 127.0.0.1:10248: connect: connection refused.

	Unfortunately, an error has occurred:
		timed out waiting for the condition

error execution phase wait-control-plane: couldn't initialize a Kubernetes cluster
To see the stack trace of this error execute with --v=5 or higher
`
	recordedConfig = `error: your configuration file uses an old API spec: "kubeadm.k8s.io/v1beta2" (kind: "ClusterConfiguration"). Please use kubeadm v1.22 instead
To see the stack trace of this error execute with --v=5 or higher
`
	recordedJoin = `[preflight] Running pre-flight checks
error execution phase preflight: couldn't validate the identity of the API Server: Get "https://apiserver.cluster.local:6443/api/v1/namespaces/kube-public/configmaps/cluster-info?timeout=10s": dial tcp 10.0.0.1:6443: connect: no route to host
To see the stack trace of this error execute with --v=5 or higher
`
	recordedJournal = `Starting kubelet
I1125 10:00:00.000000    1234 server.go:529] "Kubelet version" kubeletVersion="v1.34.4"
E1125 10:00:01.000000    1234 server.go:300] "Failed to run kubelet" err="failed to run Kubelet: misconfiguration: kubelet cgroup driver: \"systemd\" is different from docker cgroup driver: \"cgroupfs\""
kubelet.service: Main process exited, code=exited, status=1/FAILURE
`
)

func TestTheMeaningfulLineIsFound(t *testing.T) {
	for name, tt := range map[string]struct {
		output, want, hint string
		kubelet            bool
	}{
		"a port":         {recordedPort, "Port-10250: Port 10250 is in use (and 1 more problem)", "ss -lntp", false},
		"an image":       {recordedImage, "the image sea.hub:5000/oecp/kube-apiserver:v1.34.4 cannot be pulled: sea.hub:5000/oecp/kube-apiserver:v1.34.4: not found", "registry", false},
		"the kubelet":    {recordedKubelet, "the phase kubelet-wait-bootstrap failed: The HTTP call", "", true},
		"the wait":       {recordedWait120, "the phase wait-control-plane failed: couldn't initialize a Kubernetes cluster", "", true},
		"the API":        {recordedConfig, `your configuration file uses an old API spec: "kubeadm.k8s.io/v1beta2"`, "", false},
		"the discovery":  {recordedJoin, "the phase preflight failed: couldn't validate the identity of the API Server: Get", "", false},
		"nothing at all": {"", "", "", false},
		"something":      {"bash: line 3: kubeadm: Segmentation fault\n", "kubeadm: Segmentation fault", "", false},
		"a terminal":     {"error: \x1b[31mred\x1b[0m\n", "[31mred [0m", "", false},
	} {
		v := judge(tt.output)
		if !strings.Contains(v.text, tt.want) || !strings.Contains(v.hint, tt.hint) || v.kubelet != tt.kubelet || strings.ContainsAny(v.text, "\n\x1b") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

func TestTheKubeletsLastWord(t *testing.T) {
	if got := kubeletLine(recordedJournal); !strings.HasPrefix(got, `"Failed to run kubelet" err="failed to run Kubelet: misconfiguration`) {
		t.Errorf("%q", got)
	}
	if got := kubeletLine("E1125 10:00:01.000000 1 a.go:1] \"one\"\nI1125 10:00:01.000000 1 a.go:1] two\n"); got != `"one"` {
		t.Errorf("%q", got)
	}
	if got := kubeletLine("nothing"); got != "" {
		t.Errorf("%q", got)
	}
}

func FuzzJudge(f *testing.F) {
	for _, s := range []string{recordedPort, recordedImage, recordedKubelet, recordedWait120, recordedConfig, recordedJournal} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, text := range []string{judge(s).text, kubeletLine(s)} {
			if strings.ContainsAny(text, "\n\r\x1b\x00") || len(text) > 700 {
				t.Errorf("%q", text)
			}
		}
	})
}
