package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"bundle/install/kube"
	"bundle/manifest/step"
)

// Metrics servers and the like register an API and then are not there.
func TestDeadExtensionHoldsNoStepUp(t *testing.T) {
	ns := namespace(t)
	group := ns + ".example.com"
	c := connect(t, app(map[string]string{
		"api.yaml": `
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.` + group + `}
spec:
  group: ` + group + `
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: nobody, namespace: ` + ns + `}
`,
		"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
	}))
	drop := step.Delete{Files: []string{"api.yaml"}}
	// Namespaces do not go away while it is there.
	t.Cleanup(func() { _, _ = c.Run(context.Background(), asStep(drop, 30)) })
	twice(t, c, step.Apply{Files: []string{"api.yaml"}})
	begin := time.Now()
	twice(t, c, step.Apply{Files: []string{"c.yaml"}, Namespace: ns})
	twice(t, c, install(ns))
	twice(t, c, step.HelmUninstall{Release: "app", Namespace: ns})
	if d := time.Since(begin); d > 2*time.Minute {
		t.Errorf("the steps took %s", d)
	}
	twice(t, c, drop)
}

// A chart installs a webhook whose pod is not up yet when the next object
// comes.
func TestWebhookThatDoesNotAnswerYetIsWaitedFor(t *testing.T) {
	ns := namespace(t)
	var asked atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if asked.Add(1) <= 3 {
			panic(http.ErrAbortHandler)
		}
		var review struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Request    struct {
				UID string `json:"uid"`
			} `json:"request"`
		}
		_ = json.Unmarshal(body, &review)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": review.APIVersion, "kind": review.Kind,
			"response": map[string]any{"uid": review.Request.UID, "allowed": true}})
	}))
	t.Cleanup(s.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	c := connect(t, map[string]string{
		"hook.yaml": `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: ` + ns + `}
webhooks:
- name: slow.example.com
  clientConfig: {url: "` + s.URL + `", caBundle: ` + ca + `}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps], scope: Namespaced}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ` + ns + `}}
  matchConditions: [{name: ours, expression: "object.metadata.name == 'c'"}]
  sideEffects: None
  admissionReviewVersions: [v1]
  timeoutSeconds: 5
`,
		"c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
	})
	drop := step.Delete{Files: []string{"hook.yaml"}}
	t.Cleanup(func() { _, _ = c.Run(context.Background(), asStep(drop, 30)) })
	do(t, c, step.Apply{Files: []string{"hook.yaml"}}, true)
	// The API server takes a moment to heed it.
	eventually(t, "the webhook to be asked", func() bool {
		_, err := client(t).CoreV1().ConfigMaps(ns).Create(t.Context(), configMapCalled("c"), metav1.CreateOptions{DryRun: []string{"All"}})
		return err != nil && asked.Load() > 0
	})
	asked.Store(0)
	do(t, c, step.Create{Files: []string{"c.yaml"}, Namespace: ns}, true)
	if n := asked.Load(); n < 4 {
		t.Errorf("the webhook was asked %d times", n)
	}
	do(t, c, step.Apply{Files: []string{"c.yaml"}, Namespace: ns}, false)
	twice(t, c, drop)
}

func TestFileOfTheHostIsReadThere(t *testing.T) {
	ns := namespace(t)
	config, err := cluster.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	c, err := kube.Connect(config, kube.Options{Host: hostFile{"/etc/site/c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	twice(t, c, step.Apply{Files: []string{"/etc/site/c.yaml"}, Namespace: ns})
	refuse(t, c, step.Apply{Files: []string{"/etc/site/d.yaml"}, Namespace: ns}, 10, kube.ErrInput, "/etc/site/d.yaml", "there is no file /etc/site/d.yaml on the first master")
}
