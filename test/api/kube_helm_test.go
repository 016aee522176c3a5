package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage/driver"

	"bundle/install/kube"
	"bundle/manifest/step"
)

// app is a chart whose deployment runs on nodes of a kind.
func app(more map[string]string) map[string]string {
	files := map[string]string{
		"charts/app/Chart.yaml":  "apiVersion: v2\nname: app\nversion: 1.0.0\n",
		"charts/app/values.yaml": "replicas: 1\nnodes: {}\ntext: one\nlist: []\n",
		"charts/app/templates/all.yaml": `
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      nodeSelector: {{ toJson .Values.nodes }}
      containers: [{name: app, image: app}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data: {text: {{ .Values.text | quote }}, list: {{ toJson .Values.list | quote }}}
---
apiVersion: v1
kind: Secret
metadata: {name: {{ .Release.Name }}}
stringData: {password: secret}
`,
		"nowhere.yaml": "nodes: {no: where}\n",
	}
	maps.Copy(files, more)
	return files
}

// claim is a template of the app that keeps data.
const claim = `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: {{ .Release.Name }}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}, storageClassName: ""}
`

// nowhere is what makes the app never ready.
var nowhere = []string{"nowhere.yaml"}

func install(ns string) step.HelmRelease {
	return step.HelmRelease{Release: "app", Chart: "charts/app", Namespace: ns}
}

// records gives the status of each revision of a release, oldest first.
func records(t *testing.T, ns, name string) string {
	t.Helper()
	l, err := client(t).CoreV1().Secrets(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm,name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for v := 1; len(out) < len(l.Items) && v < 50; v++ {
		for _, s := range l.Items {
			if s.Labels["version"] == fmt.Sprint(v) {
				out = append(out, s.Labels["status"])
			}
		}
	}
	return strings.Join(out, " ")
}

func wantRecords(t *testing.T, ns, want string) {
	t.Helper()
	if got := records(t, ns, "app"); got != want {
		t.Errorf("the revisions are %q, want %q", got, want)
	}
}

func configMap(t *testing.T, ns, name string) *corev1.ConfigMap {
	t.Helper()
	c, err := client(t).CoreV1().ConfigMaps(ns).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReleaseIsInstalledUpgradedAndRemovedOnce(t *testing.T) {
	ns := namespace(t) + "-made"
	c := connect(t, app(nil))
	t.Cleanup(func() {
		_ = client(t).CoreV1().Namespaces().Delete(context.Background(), ns, metav1.DeleteOptions{})
	})
	a := install(ns)
	refuse(t, c, a, 10, kube.ErrInput, "namespace "+ns, "release app in namespace "+ns+" cannot be installed: there is no namespace "+ns)
	a.CreateNamespace, a.Wait = true, true
	a.Mode = step.ModeUpgrade
	refuse(t, c, a, 10, kube.ErrInput, "release app in namespace "+ns, "cannot be upgraded: it is not installed")
	a.Mode = ""
	twice(t, c, a)
	wantRecords(t, ns, "deployed")
	a.Set = []string{"text=two,replicas=2"}
	twice(t, c, a)
	wantRecords(t, ns, "superseded deployed")
	a.Mode = step.ModeUpgrade
	do(t, c, a, false)
	a.Set = nil // `helm upgrade` without values keeps those it has
	do(t, c, a, false)
	if got := configMap(t, ns, "app").Data["text"]; got != "two" {
		t.Errorf("the value is %s", got)
	}
	// Something that is gone comes back.
	kubectl(t, "", "-n", ns, "delete", "configmap", "app")
	out := do(t, c, a, true)
	if !strings.Contains(out.Detail, "1 objects of release app in namespace "+ns+" were gone, such as configmap app") {
		t.Errorf("says %s", out.Detail)
	}
	configMap(t, ns, "app")
	un := step.HelmUninstall{Release: "app", Namespace: ns}
	twice(t, c, un)
	wantRecords(t, ns, "")
	if _, err := client(t).CoreV1().ConfigMaps(ns).Get(t.Context(), "app", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the objects are there after the uninstall: %v", err)
	}
}

func TestReleaseThatIsNotReadyTellsWhyAndIsTakenUpAgain(t *testing.T) {
	ns := namespace(t)
	c := connect(t, app(nil))
	a := install(ns)
	a.Wait, a.Values = true, nowhere
	err := refuse(t, c, a, 8, kube.ErrNotReady, "",
		"release app in namespace "+ns+" is not ready after ", "no node takes pod app-", "didn't match Pod's node affinity/selector")
	if !errors.Is(err, kube.ErrTimeout) {
		t.Errorf("%v is no timeout", err)
	}
	wantRecords(t, ns, "failed")
	a.Values = nil
	out := do(t, c, a, true)
	if !strings.Contains(out.Detail, "an earlier try to install release app in namespace "+ns+" ended as failed, so it was cleared away; installed release app") {
		t.Errorf("says %s", out.Detail)
	}
	do(t, c, a, false)
	wantRecords(t, ns, "deployed")

	// A failed upgrade leaves everything, and the next goes on from there.
	a.Values, a.Set = nowhere, []string{"text=three"}
	uid := configMap(t, ns, "app").UID
	refuse(t, c, a, 8, kube.ErrNotReady, "", "no node takes pod app-")
	wantRecords(t, ns, "deployed failed")
	if got := configMap(t, ns, "app"); got.UID != uid || got.Data["text"] != "three" {
		t.Errorf("after a failed upgrade there is %v", got)
	}
	a.Values = nil
	twice(t, c, a)
	wantRecords(t, ns, "superseded failed deployed")
}

func TestAtomicInstallIsTakenBackAndStillTellsWhy(t *testing.T) {
	ns := namespace(t)
	c := connect(t, app(nil))
	a := install(ns)
	a.Wait, a.Atomic, a.Values = true, true, nowhere
	_, err := c.Run(t.Context(), asStep(a, 8))
	if err == nil || !errors.Is(err, kube.ErrNotReady) || !strings.Contains(err.Error(), "no node takes pod app-") {
		t.Fatalf("got %v", err)
	}
	wantRecords(t, ns, "")
	a.Values = nil
	twice(t, c, a)
}

func TestObjectOfSomebodyElseIsNotTakenOver(t *testing.T) {
	ns := namespace(t)
	kubectl(t, "", "-n", ns, "create", "configmap", "app")
	c := connect(t, app(nil))
	err := refuse(t, c, install(ns), 20, kube.ErrConflict, "release app in namespace "+ns, `ConfigMap "app" in namespace "`+ns+`" exists and cannot be imported into the current release`)
	if hint(err) == "" {
		t.Error("no hint")
	}
	wantRecords(t, ns, "")
}

func TestBrokenChartsAreNamed(t *testing.T) {
	ns := namespace(t)
	c := connect(t, app(map[string]string{
		"charts/fails/Chart.yaml": "apiVersion: v2\nname: fails\nversion: 1.0.0\n", "charts/fails/templates/a.yaml": `{{ fail "set the domain" }}`,
		"charts/schema/Chart.yaml": "apiVersion: v2\nname: schema\nversion: 1.0.0\n", "charts/schema/values.schema.json": `{"type":"object","required":["domain"]}`,
		"charts/kind/Chart.yaml": "apiVersion: v2\nname: kind\nversion: 1.0.0\n", "charts/kind/templates/a.yaml": "apiVersion: no.example.com/v1\nkind: Gadget\nmetadata: {name: g}\n",
	}))
	for name, want := range map[string]string{"fails": "set the domain", "schema": "domain", "kind": `no matches for kind "Gadget" in version "no.example.com/v1"`} {
		refuse(t, c, step.HelmRelease{Release: name, Chart: "charts/" + name, Namespace: ns}, 20, kube.ErrInput, "release "+name+" in namespace "+ns, want)
	}
	refuse(t, c, step.HelmRelease{Release: "x", Chart: "charts/absent", Namespace: ns}, 20, kube.ErrInput, "charts/absent", "the bundle has no charts/absent")
}

func TestFailedHookTellsWhatItsJobDiedOf(t *testing.T) {
	ns := namespace(t)
	c := connect(t, app(map[string]string{"charts/app/templates/hook.yaml": `
apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {helm.sh/hook: post-install, helm.sh/hook-delete-policy: hook-failed}
spec:
  activeDeadlineSeconds: 2
  template: {spec: {restartPolicy: Never, nodeSelector: {no: where}, containers: [{name: m, image: m}]}}
`}))
	refuse(t, c, install(ns), 30, kube.ErrNotReady, "job migrate in namespace "+ns, "release app in namespace "+ns+" is not ready after ", "job migrate in namespace "+ns+" failed")
	wantRecords(t, ns, "failed")
}

func TestInstallThatWasKilledIsTakenUpAndLosesNoData(t *testing.T) {
	ns := namespace(t)
	files := app(map[string]string{"charts/app/templates/claim.yaml": claim})
	killed(t, ns, files, "pending-install")
	wantRecords(t, ns, "pending-install")
	before, err := client(t).CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := connect(t, files)
	a := install(ns)
	out := do(t, c, a, true)
	if !strings.Contains(out.Detail, "ended as pending-install, so it was cleared away; installed release app in namespace "+ns+", revision 1 of app 1.0.0") {
		t.Errorf("says %s", out.Detail)
	}
	do(t, c, a, false)
	wantRecords(t, ns, "deployed")
	after, err := client(t).CoreV1().PersistentVolumeClaims(ns).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil || after.UID != before.UID || after.DeletionTimestamp != nil {
		t.Errorf("the claim is not the one it was: %v", err)
	}
	do(t, c, step.WaitRollout{Resource: "deployment", Name: "app", Namespace: ns}, false)
}

func TestUpgradeThatWasKilledIsDoneFromWhereItWas(t *testing.T) {
	ns := namespace(t)
	c := connect(t, app(nil))
	do(t, c, install(ns), true)
	uid := configMap(t, ns, "app").UID
	extra := app(map[string]string{"charts/app/templates/extra.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"})
	killed(t, ns, extra, "pending-upgrade")
	wantRecords(t, ns, "deployed pending-upgrade")
	a := install(ns)
	a.Set = []string{"text=two"}
	out := do(t, c, a, true)
	if !strings.Contains(out.Detail, "left release app in namespace "+ns+" as pending-upgrade, so what it had changed was put right first; upgraded release app") {
		t.Errorf("says %s", out.Detail)
	}
	do(t, c, a, false)
	wantRecords(t, ns, "superseded failed deployed")
	do(t, c, step.WaitRollout{Resource: "deployment", Name: "app", Namespace: ns}, false)
	if got := configMap(t, ns, "app"); got.UID != uid || got.Data["text"] != "two" {
		t.Errorf("there is %v", got)
	}
	if _, err := client(t).CoreV1().ConfigMaps(ns).Get(t.Context(), "extra", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what the aborted upgrade made is still there: %v", err)
	}
}

// rewrite changes the status of a revision, as a kill at the right moment
// leaves it.
func rewrite(t *testing.T, ns string, revision int, status common.Status) {
	t.Helper()
	d := driver.NewSecrets(client(t).CoreV1().Secrets(ns))
	key := fmt.Sprintf("sh.helm.release.v1.app.v%d", revision)
	got, err := d.Get(key)
	if err != nil {
		t.Fatal(err)
	}
	r := got.(*release.Release)
	r.Info.Status = status
	if err := d.Update(key, r); err != nil {
		t.Fatal(err)
	}
}

func TestReleaseIsTakenUpWhateverItsRecordsSay(t *testing.T) {
	for name, c := range map[string]struct {
		status []common.Status
		say    string
		want   string
	}{
		"between two records":  {[]common.Status{"superseded", "pending-upgrade"}, "as pending-upgrade, so what it had changed was put right first", "superseded superseded deployed"},
		"rollback":             {[]common.Status{"deployed", "pending-rollback"}, "as pending-rollback", "superseded failed deployed"},
		"uninstall":            {[]common.Status{"superseded", "uninstalling"}, "an earlier uninstall of release app", "superseded superseded deployed"},
		"uninstalled, history": {[]common.Status{"superseded", "uninstalled"}, "installed release app", "superseded superseded deployed"},
		"never deployed":       {[]common.Status{"failed", "pending-upgrade"}, "ended as pending-upgrade, so it was cleared away", "deployed"},
		"unknown":              {[]common.Status{"deployed", "unknown"}, "as unknown", "superseded unknown deployed"},
	} {
		t.Run(name, func(t *testing.T) {
			ns := namespace(t)
			kc := connect(t, app(nil))
			a := install(ns)
			do(t, kc, a, true)
			a.Set = []string{"text=two"}
			do(t, kc, a, true)
			for i, s := range c.status {
				rewrite(t, ns, i+1, s)
			}
			if name == "uninstalled, history" {
				kubectl(t, "", "-n", ns, "delete", "deployment,configmap,secret", "app")
			}
			a.Set = []string{"text=three"}
			if out := do(t, kc, a, true); !strings.Contains(out.Detail, c.say) {
				t.Errorf("says %s", out.Detail)
			}
			do(t, kc, a, false)
			wantRecords(t, ns, c.want)
			if got := configMap(t, ns, "app").Data["text"]; got != "three" {
				t.Errorf("the value is %s", got)
			}
			twice(t, kc, step.HelmUninstall{Release: "app", Namespace: ns})
		})
	}
}

// many is a chart of so many objects that it takes a while.
func many(n int) map[string]string {
	return app(map[string]string{"charts/app/templates/many.yaml": fmt.Sprintf(`{{ range until %d }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: many-{{ . }}}
{{ end }}`, n)})
}

func TestAPIServerMayRestartInTheMidstOfAStep(t *testing.T) {
	ns := namespace(t)
	var told []string
	c := connectWith(t, kube.Options{Files: tree(many(40)), QPS: 20, Note: func(s string) { told = append(told, s) }})
	done := make(chan error, 1)
	go func() {
		_, err := c.Run(t.Context(), asStep(install(ns), 180))
		done <- err
	}()
	eventually(t, "the first objects", func() bool {
		l, err := client(t).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
		return err == nil && len(l.Items) > 5
	})
	cluster.StopAPIServer()
	startAgain(t)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Log(told)
	wantRecords(t, ns, "deployed")
	l, err := client(t).CoreV1().ConfigMaps(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(l.Items) < 41 {
		t.Errorf("%d objects, %v", len(l.Items), err)
	}
	do(t, c, install(ns), false)
}

func TestOutageIsToldAsOne(t *testing.T) {
	ns := namespace(t)
	c := connect(t, app(nil))
	cluster.StopAPIServer()
	defer startAgain(t)
	begin := time.Now()
	server := "the API server https://" + cluster.Addr()
	err := refuse(t, c, install(ns), 3, kube.ErrTimeout, server, server+" has not answered for ", "(connection refused), so this was not done: Install or upgrade the Helm release app")
	if hint(err) == "" {
		t.Error("no hint")
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("a step of 3 seconds took %s", d)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.WaitAPI(ctx); !errors.Is(err, kube.ErrTimeout) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("waiting for it gave %v", err)
	}
}

func TestStopOfTheRunStopsTheStep(t *testing.T) {
	ns := namespace(t)
	c := connect(t, app(nil))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		a := install(ns)
		a.Wait, a.Values = true, nowhere
		_, err := c.Run(ctx, asStep(a, 300))
		done <- err
	}()
	podOf(t, ns, "app=app", false)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	// What was under way is written down as failed, and taken up.
	wantRecords(t, ns, "failed")
	do(t, c, install(ns), true)
}
