package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"bundle/install/kube"
	"bundle/manifest/step"
)

// web is a deployment of one replica with something more in its pod's spec.
func web(more string) string {
	return strings.Replace(strings.Replace(deployment, "replicas: 3", "replicas: 1", 1),
		"      containers:", more+"      containers:", 1)
}

func rollout(ns string) step.WaitRollout {
	return step.WaitRollout{Resource: "deployment", Name: "web", Namespace: ns}
}

func TestWaitTellsWhichImageCannotBePulled(t *testing.T) {
	ns := namespace(t)
	c := connect(t, map[string]string{"d.yaml": web("")})
	do(t, c, step.Apply{Files: []string{"d.yaml"}, Namespace: ns}, true)
	p := podOf(t, ns, "app=web", true)
	const message = `rpc error: code = NotFound desc = failed to pull and unpack image "sea.hub:5000/library/web:1": not found`
	event(t, "Pod", ns, p.Name, p.UID, "Failed", `Failed to pull image "sea.hub:5000/library/web:1": `+message)
	report(t, p, `{"status":{"phase":"Pending","conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"web","ready":false,
		"image":"sea.hub:5000/library/web:1","imageID":"","restartCount":0,"state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image"}}}]}}`)
	eventually(t, "the deployment to see it", func() bool {
		d, err := client(t).AppsV1().Deployments(ns).Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && d.Status.ObservedGeneration == d.Generation && d.Status.Replicas == 1 && d.Status.AvailableReplicas == 0
	})
	err := refuse(t, c, rollout(ns), 3, kube.ErrNotReady, "pod "+p.Name+" in namespace "+ns,
		"deployment web in namespace "+ns+" is not ready after 3s: pod "+p.Name+" in namespace "+ns+
			` cannot pull the image sea.hub:5000/library/web:1 of its container web: failed to pull and unpack image "sea.hub:5000/library/web:1": not found`)
	if !errors.Is(err, kube.ErrTimeout) {
		t.Errorf("%v is no timeout", err)
	}
	if h := hint(err); !strings.Contains(h, "bundle images") {
		t.Errorf("the hint is %q", h)
	}
}

func hint(err error) string {
	var e *kube.Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return ""
}

func TestWaitTellsWhyNoNodeTakesAPod(t *testing.T) {
	ns := namespace(t)
	c := connect(t, map[string]string{"d.yaml": web("      nodeSelector: {disk: nvme}\n")})
	do(t, c, step.Apply{Files: []string{"d.yaml"}, Namespace: ns}, true)
	podOf(t, ns, "app=web", false)
	refuse(t, c, rollout(ns), 5, kube.ErrNotReady, "pod "+podOf(t, ns, "app=web", false).Name+" in namespace "+ns,
		"no node takes pod", "nodes are available", "didn't match Pod's node affinity/selector")
}

func TestWaitTellsWhoseQuotaIsExceeded(t *testing.T) {
	ns := namespace(t)
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "small"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}}}
	if _, err := client(t).CoreV1().ResourceQuotas(ns).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the quota to be counted", func() bool {
		q, err := client(t).CoreV1().ResourceQuotas(ns).Get(t.Context(), "small", metav1.GetOptions{})
		return err == nil && len(q.Status.Hard) > 0
	})
	c := connect(t, map[string]string{"d.yaml": web("")})
	do(t, c, step.Apply{Files: []string{"d.yaml"}, Namespace: ns}, true)
	err := refuse(t, c, rollout(ns), 5, kube.ErrNotReady, "deployment web in namespace "+ns, "may not make pods: ", "exceeded quota: small")
	if hint(err) == "" {
		t.Error("no hint")
	}
}

func TestWaitTellsWhichClaimIsNotBound(t *testing.T) {
	ns := namespace(t)
	c := connect(t, map[string]string{"s.yaml": `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db, volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: local-lvm, resources: {requests: {storage: 1Gi}}}
`})
	do(t, c, step.Apply{Files: []string{"s.yaml"}, Namespace: ns}, true)
	eventually(t, "the event of the claim", func() bool {
		l, err := client(t).CoreV1().Events(ns).List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=data-db-0"})
		return err == nil && len(l.Items) > 0
	})
	refuse(t, c, step.WaitRollout{Resource: "statefulset", Name: "db", Namespace: ns}, 4, kube.ErrNotReady, "claim data-db-0 in namespace "+ns,
		"pod db-0 in namespace "+ns+" waits: claim data-db-0 in namespace "+ns+` is not bound: storageclass.storage.k8s.io "local-lvm" not found`)
}

// kubelet plays one that answers for logs, on a node that kwok leaves alone.
func kubelet(t *testing.T, name, log string) {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("previous") != "true" || r.URL.Query().Get("tailLines") == "" {
			t.Errorf("the log was asked for as %s", r.URL)
		}
		_, _ = io.WriteString(w, log)
	}))
	t.Cleanup(s.Close)
	port := s.Listener.Addr().(*net.TCPAddr).Port
	n, err := client(t).CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client(t).CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}) })
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	n.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}
	status, err := json.Marshal(map[string]any{"status": n.Status})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t).CoreV1().Nodes().Patch(t.Context(), name, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

func TestWaitTellsTheLastLinesOfACrash(t *testing.T) {
	ns := namespace(t)
	node := "node-" + ns
	kubelet(t, node, "starting\nconnecting to db:5432\npanic: no database\n")
	c := connect(t, map[string]string{"d.yaml": web("      nodeName: " + node + "\n")})
	do(t, c, step.Apply{Files: []string{"d.yaml"}, Namespace: ns}, true)
	p := podOf(t, ns, "app=web", false)
	report(t, p, `{"status":{"phase":"Running","conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"web","ready":false,
		"image":"web","imageID":"","restartCount":4,"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off"}},
		"lastState":{"terminated":{"exitCode":2,"reason":"Error"}}}]}}`)
	refuse(t, c, rollout(ns), 3, kube.ErrNotReady, "pod "+p.Name+" in namespace "+ns,
		"container web of pod "+p.Name+" in namespace "+ns+" crashes: it ended with exit code 2 (restarted 4 times); its last lines: starting | connecting to db:5432 | panic: no database")
}

func TestWaitForADefinitionFailsWhenTimeIsOver(t *testing.T) {
	group := namespace(t) + ".example.com"
	dropCRD(t, "gadgets."+group)
	dropCRD(t, "widgets."+group)
	c := connect(t, map[string]string{
		"crd.yaml": crd(group, "gadget"),
		// Another definition of the same kind.
		"clash.yaml": strings.Replace(crd(group, "widget"), "kind: Widget", "kind: Gadget", 1),
	})
	do(t, c, step.Apply{Files: []string{"crd.yaml"}}, true)
	refuse(t, c, step.WaitCRD{CRD: "addons." + group}, 2, kube.ErrTimeout, "custom resource definition addons."+group,
		"the custom resource definition addons."+group+" is not established: the cluster has ", "but not this one")
	refuse(t, c, step.WaitCRD{CRD: "Gadgetz"}, 2, kube.ErrTimeout, "custom resource definition Gadgetz", "close to it are gadgets."+group)
	refuse(t, c, step.Apply{Files: []string{"clash.yaml"}}, 3, kube.ErrTimeout, "custom resource definition widgets."+group,
		"widgets."+group+" is there, but its names are not accepted: ", "Gadget")

	// A definition that comes while it is waited for.
	done := make(chan error, 1)
	go func() {
		_, err := c.Run(t.Context(), asStep(step.WaitCRD{CRD: "thing." + group, IntervalSeconds: 1}, 60))
		done <- err
	}()
	late := connect(t, map[string]string{"crd.yaml": crd(group, "thing")})
	dropCRD(t, "things."+group)
	do(t, late, step.Apply{Files: []string{"crd.yaml"}}, true)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWaitForWorkloadThatNeverComes(t *testing.T) {
	ns := namespace(t)
	c := connect(t, nil)
	refuse(t, c, rollout(ns), 2, kube.ErrNotReady, "deployment web in namespace "+ns, "deployment web in namespace "+ns+" is not ready after 2s: deployment web in namespace "+ns+" is not there")
}

func TestWaitForNodesNamesTheOneThatIsNotReady(t *testing.T) {
	c := connect(t, nil)
	all := []string{master0IP, "10.77.0.12", "10.77.0.13"}
	if err := c.WaitNodes(t.Context(), all, true); err != nil {
		t.Fatal(err)
	}
	wait := func(want []string, ready bool) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return c.WaitNodes(ctx, want, ready)
	}
	if err := wait(append(all, "10.77.0.14"), false); err == nil || !errors.Is(err, kube.ErrTimeout) ||
		!strings.HasPrefix(err.Error(), "no node has the address 10.77.0.14 (there are master0 at 10.77.0.11, node1 at 10.77.0.12, node2 at 10.77.0.13") {
		t.Errorf("got %v", err)
	}
	if _, err := client(t).CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "mute"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client(t).CoreV1().Nodes().Delete(context.Background(), "mute", metav1.DeleteOptions{}) })
	if err := wait([]string{"mute"}, false); err != nil {
		t.Error(err)
	}
	if err := wait([]string{"mute"}, true); err == nil || !strings.HasPrefix(err.Error(), "node mute (mute) is not ready: ") {
		t.Errorf("got %v", err)
	}
}

func TestAPIServerIsReachedThroughTheDialerAlone(t *testing.T) {
	config, err := cluster.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	// The address of the first master, which only its own network knows.
	text := strings.Replace(string(config), "server: https://"+cluster.Addr(), "server: https://apiserver.cluster.local:6443\n    tls-server-name: 127.0.0.1", 1)
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	var dialed atomic.Int32
	c, err := kube.Connect([]byte(text), kube.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "apiserver.cluster.local:6443" {
			return nil, fmt.Errorf("dialed %s", address)
		}
		dialed.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, cluster.Addr())
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.WaitAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := c.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Nodes) < 3 || dialed.Load() == 0 || !strings.HasPrefix(st.Version, "v1.") {
		t.Errorf("%d nodes of %s after %d dials", len(st.Nodes), st.Version, dialed.Load())
	}
}

func TestObserveGivesWhatAnAcceptanceJudges(t *testing.T) {
	ns := namespace(t)
	c := connect(t, map[string]string{
		"d.yaml": web("") + `---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, nodeSelector: {no: where}, containers: [{name: once, image: once}]}}}
`,
		"charts/app/Chart.yaml": "apiVersion: v2\nname: app\nversion: 1.2.3\nappVersion: \"9\"\n", "charts/app/templates/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
	})
	do(t, c, step.Apply{Files: []string{"d.yaml"}, Namespace: ns}, true)
	do(t, c, rollout(ns), false)
	do(t, c, step.HelmRelease{Release: "app", Chart: "charts/app", Namespace: ns}, true)
	eventually(t, "the scheduler to say no", func() bool {
		p := podOf(t, ns, "job-name=once", false)
		return len(p.Status.Conditions) > 0
	})
	st, err := c.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range st.Releases {
		if r.Namespace == ns {
			seen++
			if r.Name != "app" || r.Status != "deployed" || r.Revision != 1 || r.Chart != "app" || r.ChartVersion != "1.2.3" || r.AppVersion != "9" {
				t.Errorf("the release is %+v", r)
			}
		}
	}
	for _, w := range st.Workloads {
		switch {
		case w.Namespace != ns:
		case w.Kind == "Deployment":
			seen++
			if w.Name != "web" || !w.Done || w.Ready != 1 || w.Desired != 1 {
				t.Errorf("the deployment is %+v", w)
			}
		case w.Kind == "Job":
			seen++
			if w.Done || !strings.Contains(w.Reason, "no node takes pod once-") {
				t.Errorf("the job is %+v", w)
			}
		}
	}
	for _, s := range st.Services {
		if s.Namespace == ns {
			seen++
			if s.Type != "NodePort" || len(s.Ports) != 1 || s.Ports[0].NodePort == 0 || s.Ports[0].Port != 80 || s.Ports[0].Protocol != "TCP" {
				t.Errorf("the service is %+v", s)
			}
		}
	}
	for _, p := range st.Pods {
		if p.Namespace == ns && strings.HasPrefix(p.Name, "web-") {
			seen++
			if !p.Ready || p.Node == "" || p.Reason != "" || len(p.Containers) != 1 || p.Containers[0].Image != "sea.hub:5000/library/web:1" {
				t.Errorf("the pod is %+v", p)
			}
		}
	}
	for _, n := range st.Nodes {
		if n.Name == master0 {
			seen++
			if !n.Ready || n.Addresses[0] != master0IP || n.Roles[0] != "control-plane" {
				t.Errorf("the node is %+v", n)
			}
		}
	}
	if seen != 6 {
		t.Errorf("saw %d of 6 things in %+v", seen, st)
	}
}
