package api

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"bundle/install/kube"
	"bundle/manifest"
	"bundle/manifest/step"
)

// tree makes a root file system of names and texts.
func tree(files map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// connect connects to the cluster as an install does.
func connect(t *testing.T, files map[string]string) *kube.Cluster {
	t.Helper()
	return connectWith(t, kube.Options{Files: tree(files)})
}

func connectWith(t *testing.T, o kube.Options) *kube.Cluster {
	t.Helper()
	config, err := cluster.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	o.Master0, o.Poll = master0IP, 100*time.Millisecond
	if o.QPS == 0 {
		o.QPS = -1
	}
	if o.Note == nil {
		o.Note = func(line string) { t.Log(line) }
	}
	// A test that ends early leaves nobody to log to.
	var mu sync.Mutex
	over, note := false, o.Note
	o.Note = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			note(line)
		}
	}
	c, err := kube.Connect(config, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		over = true
		c.Close()
	})
	return c
}

// asStep makes a step of an action, with a time in seconds.
func asStep(a step.Action, seconds int) manifest.Step {
	return step.Build(a, manifest.Step{ID: "test-01", TimeoutSeconds: seconds})
}

// do runs a step and wants it to succeed and to change something or not.
func do(t *testing.T, c *kube.Cluster, a step.Action, changed bool) kube.Outcome {
	t.Helper()
	out, err := c.Run(t.Context(), asStep(a, 300)) // a busy machine is no failure
	if err != nil {
		t.Fatalf("%s: %v", a.Summary(), err)
	}
	if out.Changed != changed {
		t.Errorf("%s: changed %v, want %v (%s)", a.Summary(), out.Changed, changed, out.Detail)
	}
	if out.Detail == "" || strings.Contains(out.Detail, "\n") {
		t.Errorf("%s: says %q", a.Summary(), out.Detail)
	}
	return out
}

// twice runs a step that changes something, and then nothing any more.
func twice(t *testing.T, c *kube.Cluster, a step.Action) {
	t.Helper()
	do(t, c, a, true)
	do(t, c, a, false)
}

// refuse runs a step that fails with a class, about an object ("" is any), with
// texts in its one sentence.
func refuse(t *testing.T, c *kube.Cluster, a step.Action, seconds int, class error, object string, texts ...string) error {
	t.Helper()
	if seconds >= 10 && (errors.Is(class, kube.ErrInput) || errors.Is(class, kube.ErrConflict)) {
		seconds = 300 // nothing is waited for; only a busy machine takes long
	}
	out, err := c.Run(t.Context(), asStep(a, seconds))
	if err == nil {
		t.Fatalf("%s: succeeded (%s)", a.Summary(), out.Detail)
	}
	var e *kube.Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: an error of another type: %v", a.Summary(), err)
	}
	if !errors.Is(err, class) {
		t.Errorf("%s: %v is no %v", a.Summary(), err, class)
	}
	if object != "" && e.Object() != object {
		t.Errorf("%s: the error is about %q, want %q", a.Summary(), e.Object(), object)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got\n%v\nwant in it\n%s", a.Summary(), err, text)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than one line: %v", a.Summary(), err)
	}
	return err
}

// eventually waits for something in the cluster.
func eventually(t *testing.T, what string, look func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited five minutes for %s", what)
		case <-tick.C:
		}
	}
}

// podOf waits for a pod with a label that has a node (or none is wanted).
func podOf(t *testing.T, ns, selector string, placed bool) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	eventually(t, "a pod with "+selector, func() bool {
		list, err := client(t).CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			if p := &list.Items[i]; p.DeletionTimestamp == nil && (!placed || p.Spec.NodeName != "" && p.Status.PodIP != "") {
				pod = p
				return true
			}
		}
		return false
	})
	return pod
}

// report plays the kubelet: it changes the status of a pod that kwok has
// started already and leaves alone from then on.
func report(t *testing.T, p *corev1.Pod, patch string) {
	t.Helper()
	_, err := client(t).CoreV1().Pods(p.Namespace).Patch(t.Context(), p.Name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
}

// event plays the kubelet, or whoever else says something about an object.
func event(t *testing.T, kind, ns, name string, uid types.UID, reason, message string) {
	t.Helper()
	now := metav1.Now()
	_, err := client(t).CoreV1().Events(ns).Create(t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: "test-", Namespace: ns},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: kind, Namespace: ns, Name: name, UID: uid},
		Type:           corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: now, FirstTimestamp: now,
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// connectAs connects with another address of the first master.
func connectAs(t *testing.T, address string) *kube.Cluster {
	t.Helper()
	config, err := cluster.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.Connect(config, kube.Options{Master0: address, Poll: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// startAgain starts the API server again and waits until the controllers have
// noticed: they pause for longer and longer while it is away, and the tests
// that follow rely on them.
func startAgain(t *testing.T) {
	t.Helper()
	if err := cluster.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ns := namespace(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "awake"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		// It needs a service account, a node and a kubelet: all of them.
		_, _ = client(t).CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{})
		if p, err := client(t).CoreV1().Pods(ns).Get(ctx, "awake", metav1.GetOptions{}); err == nil && p.Status.Phase == corev1.PodRunning {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal("the controllers do not work again after the API server was away")
		case <-tick.C:
		}
	}
}

// hostFile are the files of a host.
type hostFile map[string]string

// ReadFile implements [kube.FileReader].
func (h hostFile) ReadFile(_ context.Context, path string, _ int64) ([]byte, error) {
	text, ok := h[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func configMapCalled(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
