package kube

import (
	"encoding/json"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// read makes an object of JSON as an API server gives it.
func read[T any](t *testing.T, text string) T {
	t.Helper()
	var o T
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// The pods and events below are what kubelets 1.22 and 1.36 report.
const (
	podHead = `{"metadata":{"name":"web-7d4b9","namespace":"prod","uid":"u1"},
"spec":{"nodeName":"n1","containers":[{"name":"web","image":"sea.hub:5000/app/web:1.4"}],"initContainers":[{"name":"wait","image":"sea.hub:5000/app/wait:1"}]},
"status":{"phase":"Pending",`

	pullOld = podHead + `"containerStatuses":[{"name":"web","image":"sea.hub:5000/app/web:1.4","restartCount":0,
"state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image \"sea.hub:5000/app/web:1.4\""}}}]}}`

	pullNew = podHead + `"containerStatuses":[{"name":"web","image":"sea.hub:5000/app/web:1.4","restartCount":0,
"state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image \"sea.hub:5000/app/web:1.4\": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image \"sea.hub:5000/app/web:1.4\": failed to resolve image: sea.hub:5000/app/web:1.4: not found"}}}]}}`

	config = podHead + `"containerStatuses":[{"name":"web","image":"x","restartCount":0,
"state":{"waiting":{"reason":"CreateContainerConfigError","message":"secret \"db-password\" not found"}}}]}}`

	crash = podHead + `"containerStatuses":[{"name":"web","image":"x","restartCount":5,"ready":false,
"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 2m40s restarting failed container=web pod=web-7d4b9_prod(u1)"}},
"lastState":{"terminated":{"exitCode":2,"reason":"Error","finishedAt":"2026-01-01T00:00:00Z"}}}]}}`

	oom = podHead + `"containerStatuses":[{"name":"web","image":"x","restartCount":2,"ready":false,
"state":{"running":{"startedAt":"2026-01-01T00:00:00Z"}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}}`

	initFails = podHead + `"initContainerStatuses":[{"name":"wait","image":"x","restartCount":0,
"state":{"terminated":{"exitCode":1,"reason":"Error","message":"no database"}}}],
"containerStatuses":[{"name":"web","image":"x","state":{"waiting":{"reason":"PodInitializing"}}}]}}`

	unscheduled = `{"metadata":{"name":"web-7d4b9","namespace":"prod","uid":"u1"},"spec":{"containers":[{"name":"web"}]},
"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable",
"message":"0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient memory."}]}}`

	onClaim = `{"metadata":{"name":"db-0","namespace":"prod","uid":"u2"},
"spec":{"containers":[{"name":"db"}],"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data-db-0"}}]},
"status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable",
"message":"0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."}]}}`

	starting = podHead + `"containerStatuses":[{"name":"web","image":"x","state":{"waiting":{"reason":"ContainerCreating"}}}]}}`

	unready = `{"metadata":{"name":"web-7d4b9","namespace":"prod","uid":"u1"},"spec":{"nodeName":"n1","containers":[{"name":"web"}]},
"status":{"phase":"Running","conditions":[{"type":"Ready","status":"False"}],"containerStatuses":[{"name":"web","ready":false,"state":{"running":{}}}]}}`

	evicted = `{"metadata":{"name":"web-7d4b9","namespace":"prod"},"spec":{"nodeName":"n1","containers":[{"name":"web"}]},
"status":{"phase":"Failed","reason":"Evicted","message":"The node was low on resource: ephemeral-storage. "}}`

	ready = `{"metadata":{"name":"ok","namespace":"prod"},"spec":{"nodeName":"n1"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True"}]}}`
)

func eventOn(uid, name, kind, reason, message string) string {
	m, _ := json.Marshal(message)
	return `{"involvedObject":{"kind":"` + kind + `","name":"` + name + `","namespace":"prod","uid":"` + uid + `"},"type":"Warning","reason":"` +
		reason + `","message":` + string(m) + `,"lastTimestamp":"2026-01-01T00:00:00Z"}`
}

func TestPodTellsWhyItIsNotReady(t *testing.T) {
	const node = `{"metadata":{"name":"n1"},"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady","message":"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"}]}}`
	for name, c := range map[string]struct {
		pod, event, claim, node string
		cause, want             string
	}{
		"image, old kubelet": {pod: pullOld, event: eventOn("u1", "web-7d4b9", "Pod", "Failed",
			`Failed to pull image "sea.hub:5000/app/web:1.4": rpc error: code = Unknown desc = failed to pull and unpack image "sea.hub:5000/app/web:1.4": failed to resolve reference "sea.hub:5000/app/web:1.4": sea.hub:5000/app/web:1.4: not found`),
			cause: CauseImage, want: `pod web-7d4b9 in namespace prod cannot pull the image sea.hub:5000/app/web:1.4 of its container web: failed to pull and unpack image "sea.hub:5000/app/web:1.4": failed to resolve reference "sea.hub:5000/app/web:1.4": sea.hub:5000/app/web:1.4: not found`},
		"image, old kubelet, no event": {pod: pullOld, cause: CauseImage,
			want: "pod web-7d4b9 in namespace prod cannot pull the image sea.hub:5000/app/web:1.4 of its container web: ImagePullBackOff"},
		"image, new kubelet": {pod: pullNew, cause: CauseImage,
			want: `pod web-7d4b9 in namespace prod cannot pull the image sea.hub:5000/app/web:1.4 of its container web: failed to pull and unpack image "sea.hub:5000/app/web:1.4": failed to resolve image: sea.hub:5000/app/web:1.4: not found`},
		"missing secret": {pod: config, cause: CauseConfig,
			want: `pod web-7d4b9 in namespace prod cannot start its container web: secret "db-password" not found`},
		"crash loop": {pod: crash, cause: CauseCrash,
			want: "container web of pod web-7d4b9 in namespace prod crashes: it ended with exit code 2 (restarted 5 times)"},
		"out of memory": {pod: oom, cause: CauseCrash,
			want: "container web of pod web-7d4b9 in namespace prod crashes: it was killed because it ran out of its memory limit (restarted 2 times)"},
		"init container": {pod: initFails, cause: CauseCrash,
			want: "container wait of pod web-7d4b9 in namespace prod ended with exit code 1: no database"},
		"unschedulable": {pod: unscheduled, cause: CauseUnscheduled,
			want: "no node takes pod web-7d4b9 in namespace prod: 0/3 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 2 Insufficient memory."},
		"claim": {pod: onClaim, claim: `{"metadata":{"name":"data-db-0","namespace":"prod","uid":"u3"},"spec":{"storageClassName":"local"},"status":{"phase":"Pending"}}`,
			event: eventOn("u3", "data-db-0", "PersistentVolumeClaim", "ProvisioningFailed", `storageclass.storage.k8s.io "local" not found`), cause: CauseVolume,
			want: `pod db-0 in namespace prod waits: claim data-db-0 in namespace prod is not bound: storageclass.storage.k8s.io "local" not found`},
		"claim without event": {pod: onClaim, claim: `{"metadata":{"name":"data-db-0","namespace":"prod"},"spec":{"storageClassName":"local"},"status":{"phase":"Pending"}}`,
			cause: CauseVolume, want: "pod db-0 in namespace prod waits: claim data-db-0 in namespace prod is not bound: storage class local has not made a volume"},
		"claim that waits for the pod": {pod: onClaim, claim: `{"metadata":{"name":"data-db-0","namespace":"prod","uid":"u3"},"status":{"phase":"Pending"}}`,
			event: strings.Replace(eventOn("u3", "data-db-0", "PersistentVolumeClaim", "WaitForFirstConsumer", "waiting for first consumer"), "Warning", "Normal", 1),
			cause: CauseUnscheduled, want: "no node takes pod db-0 in namespace prod: 0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."},
		"node": {pod: starting, node: node, cause: CauseNode,
			want: "pod web-7d4b9 in namespace prod is on node n1, which is not ready: container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"},
		"mount": {pod: starting, event: eventOn("u1", "web-7d4b9", "Pod", "FailedMount", `MountVolume.SetUp failed for volume "cfg" : configmap "web-config" not found`),
			cause: CauseConfig, want: `pod web-7d4b9 in namespace prod cannot mount a volume: MountVolume.SetUp failed for volume "cfg" : configmap "web-config" not found`},
		"sandbox": {pod: starting, event: eventOn("u1", "web-7d4b9", "Pod", "FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox`),
			cause: CauseSandbox, want: "pod web-7d4b9 in namespace prod gets no network on its node: Failed to create pod sandbox: failed to setup network for sandbox"},
		"probe": {pod: unready, event: eventOn("u1", "web-7d4b9", "Pod", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
			cause: CauseProbe, want: "pod web-7d4b9 in namespace prod does not pass its probe: Readiness probe failed: HTTP probe failed with statuscode: 503"},
		"event of an earlier pod": {pod: unready, event: eventOn("other", "web-7d4b9", "Pod", "Unhealthy", "not this"),
			cause: CauseProbe, want: "pod web-7d4b9 in namespace prod runs but is not ready"},
		"just starting": {pod: starting, cause: CauseProgress, want: "pod web-7d4b9 in namespace prod is still starting"},
		"evicted": {pod: evicted, cause: CauseCrash,
			want: "pod web-7d4b9 in namespace prod failed: The node was low on resource: ephemeral-storage."},
		"ready": {pod: ready},
	} {
		sc := scene{pods: []corev1.Pod{read[corev1.Pod](t, c.pod)}}
		if c.event != "" {
			sc.events = append(sc.events, read[corev1.Event](t, c.event))
		}
		if c.claim != "" {
			sc.claims = append(sc.claims, read[corev1.PersistentVolumeClaim](t, c.claim))
		}
		if c.node != "" {
			sc.nodes = append(sc.nodes, read[corev1.Node](t, c.node))
		}
		found := sc.podFindings()
		if c.want == "" {
			if len(found) > 0 {
				t.Errorf("%s: found %v", name, found)
			}
			continue
		}
		if len(found) != 1 || found[0].Text != c.want || found[0].Cause != c.cause {
			t.Errorf("%s:\n got %+v\nwant %s: %s", name, found, c.cause, c.want)
		}
	}
}

func TestImageFindingNamesTheImageAndWhatToDo(t *testing.T) {
	f := scene{pods: []corev1.Pod{read[corev1.Pod](t, pullNew)}}.podFindings()[0]
	if f.Image != "sea.hub:5000/app/web:1.4" || !strings.Contains(f.Hint, "bundle images") {
		t.Errorf("got %+v", f)
	}
}

func TestCrashLoopAsksForTheLogOfTheContainerBefore(t *testing.T) {
	f := scene{pods: []corev1.Pod{read[corev1.Pod](t, crash)}}.podFindings()[0]
	if f.log == nil || !f.log.previous || f.log.container != "web" || f.log.pod != "web-7d4b9" {
		t.Errorf("got %+v", f.log)
	}
	f = scene{pods: []corev1.Pod{read[corev1.Pod](t, initFails)}}.podFindings()[0]
	if f.log == nil || f.log.previous || f.log.container != "wait" {
		t.Errorf("got %+v", f.log)
	}
}

func TestTheMostTellingReasonComesFirst(t *testing.T) {
	var sc scene
	for _, p := range []string{unready, unscheduled, crash, config, pullNew, ready, starting} {
		sc.pods = append(sc.pods, read[corev1.Pod](t, p))
	}
	var got []string
	for _, f := range ranked(sc.podFindings()) {
		got = append(got, f.Cause)
	}
	if want := "image config crash unscheduled probe progress"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestWorkloadWithoutPodsTellsWhoRefusesThem(t *testing.T) {
	quota := unstructured.Unstructured{Object: read[map[string]any](t, `{"metadata":{"name":"web","uid":"d1"},"status":{"conditions":[
{"type":"Progressing","status":"True"},{"type":"ReplicaFailure","status":"True","reason":"FailedCreate",
"message":"pods \"web-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0"}]}}`)}
	w := ref{Kind: "Deployment", Namespace: "prod", Name: "web"}
	found := scene{}.refusals(w, []*unstructured.Unstructured{&quota})
	want := `deployment web in namespace prod may not make pods: pods "web-1" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0`
	if len(found) != 1 || found[0].Text != want || found[0].Hint == "" {
		t.Errorf("got %+v", found)
	}
	// A stateful set says it with an event alone.
	set := unstructured.Unstructured{Object: read[map[string]any](t, `{"metadata":{"name":"db","uid":"s1"}}`)}
	sc := scene{events: []corev1.Event{read[corev1.Event](t, eventOn("s1", "db", "StatefulSet", "FailedCreate", `create Pod db-0 in StatefulSet db failed error: pods "db-0" is forbidden: violates PodSecurity "restricted:latest": privileged`))}}
	found = sc.refusals(ref{Kind: "StatefulSet", Namespace: "prod", Name: "db"}, []*unstructured.Unstructured{&set})
	if len(found) != 1 || !strings.Contains(found[0].Text, `violates PodSecurity "restricted:latest": privileged`) {
		t.Errorf("got %+v", found)
	}
}

func TestFailedJobTellsWhatItsPodsDiedOf(t *testing.T) {
	j := read[batchv1.Job](t, `{"metadata":{"name":"init-db","namespace":"prod"},"status":{"conditions":[
{"type":"FailureTarget","status":"True"},{"type":"Failed","status":"True","reason":"BackoffLimitExceeded","message":"Job has reached the specified backoff limit"}]}}`)
	f, ok := scene{}.jobFinding(&j)
	if want := "job init-db in namespace prod failed: Job has reached the specified backoff limit"; !ok || f.Text != want || f.Cause != CauseJob {
		t.Errorf("got %+v", f)
	}
	f, _ = scene{pods: []corev1.Pod{read[corev1.Pod](t, crash)}}.jobFinding(&j)
	want := "job init-db in namespace prod failed (BackoffLimitExceeded): container web of pod web-7d4b9 in namespace prod crashes: it ended with exit code 2 (restarted 5 times)"
	if f.Text != want || f.log == nil {
		t.Errorf("got %+v", f)
	}
}

func TestObjectsOfUnknownKindsTellByTheirConditions(t *testing.T) {
	o := unstructured.Unstructured{Object: read[map[string]any](t, `{"status":{"conditions":[{"type":"Synced","status":"False","message":"not this"},
{"type":"Ready","status":"False","message":"waiting for the storage"},{"type":"Stalled","status":"True","reason":"NoQuota"}, "junk"]}}`)}
	r := ref{Kind: "Addon", Name: "a"}
	found := other(r, &o)
	if len(found) != 2 || found[0].Text != "addon a: waiting for the storage" || found[1].Text != "addon a: NoQuota" {
		t.Errorf("got %+v", found)
	}
}

func TestServiceWithoutLoadBalancerIsNamed(t *testing.T) {
	r := ref{APIVersion: "v1", Kind: "Service", Namespace: "prod", Name: "web"}
	waits := unstructured.Unstructured{Object: read[map[string]any](t, `{"spec":{"type":"LoadBalancer"},"status":{"loadBalancer":{}}}`)}
	if found := serviceFinding(r, &waits); len(found) != 1 || found[0].Text != "service web in namespace prod waits for a load balancer, and nothing in the cluster gives it one" {
		t.Errorf("got %+v", found)
	}
	has := unstructured.Unstructured{Object: read[map[string]any](t, `{"spec":{"type":"LoadBalancer"},"status":{"loadBalancer":{"ingress":[{"ip":"10.0.0.9"}]}}}`)}
	if found := serviceFinding(r, &has); len(found) != 0 {
		t.Errorf("got %+v", found)
	}
}

func TestLogTailIsBoundedAndHarmless(t *testing.T) {
	log := "first\nsecond\n\x1b[31mpanic: no database\x1b[0m\n\n\tgoroutine 1 [running]\r\n" + strings.Repeat("x", 5000) + "\n"
	got := tail([]byte(log), 3, 200)
	if strings.ContainsAny(got, "\x1b\r\n") || len([]rune(got)) > 201 || strings.Contains(got, "second") {
		t.Errorf("got %q", got)
	}
	if got := tail([]byte("one\ntwo\nthree\n"), 2, 200); got != "two | three" {
		t.Errorf("got %q", got)
	}
}

// Everything here is read from a cluster that may answer anything.
func FuzzDiagnose(f *testing.F) {
	for _, p := range []string{pullOld, pullNew, config, crash, oom, initFails, unscheduled, onClaim, starting, unready, evicted, ready, `{}`} {
		f.Add([]byte(p), []byte(eventOn("u1", "web-7d4b9", "Pod", "Unhealthy", "x")))
	}
	f.Fuzz(func(t *testing.T, pod, event []byte) {
		var p corev1.Pod
		var e corev1.Event
		if json.Unmarshal(pod, &p) != nil || json.Unmarshal(event, &e) != nil {
			return
		}
		sc := scene{pods: []corev1.Pod{p}, events: []corev1.Event{e}}
		for _, f := range ranked(sc.podFindings()) {
			if f.Text == "" || f.Cause == "" || len([]rune(f.Text)) > 4*len(pod)+2000 {
				t.Fatalf("a finding says %q", f.Text)
			}
		}
		_ = sc.podState(&p)
	})
}
