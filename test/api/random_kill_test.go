package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"bundle/install/engine"
	"bundle/install/journal"
	"bundle/install/kube"
	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/step"
)

const shortEnv = "SHORT_TEST_CHILD"

// begins is the line that the child prints when it is about to work.
const begins = "begins"

// shortChild is a process with a short install, to be killed at any moment.
type shortChild struct {
	// Dir holds the journal.
	Dir, Namespace, Kubeconfig string
}

func init() {
	text := os.Getenv(shortEnv)
	if text == "" {
		return
	}
	var c shortChild
	err := json.Unmarshal([]byte(text), &c)
	code := engineFailed
	if err == nil {
		code, err = c.install()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// shortPlan has one step of each sort that talks to the API server.
func shortPlan(ns string) *plan.Plan {
	p := &plan.Plan{Operation: plan.Install, Cluster: "short", Bundle: "short", Version: "1"}
	for i, a := range []step.Action{
		step.Namespace{Name: ns},
		step.HelmRelease{Release: "app", Chart: "charts/app", Namespace: ns},
		step.Apply{Files: []string{"more.yaml"}, Namespace: ns},
		step.Label{Meta: step.Meta{Target: step.Target{Target: step.TargetNames, Names: []string{ns}}, Resource: "namespace", Set: map[string]string{"placed": "yes"}}},
		step.WaitRollout{Resource: "deployment", Name: "app", Namespace: ns},
	} {
		s := step.Build(a, manifest.Step{ID: fmt.Sprintf("short-%d", i+1), Phase: "short", TimeoutSeconds: 300})
		p.Steps = append(p.Steps, plan.Step{Step: s, Hosts: []string{master0IP}})
	}
	return p
}

func (c shortChild) install() (code int, err error) {
	config, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		return engineFailed, err
	}
	files := tree(app(map[string]string{"more.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\ndata: {a: b}\n"}))
	k, err := kube.Connect(config, kube.Options{Files: files, Master0: master0IP, Poll: 50 * time.Millisecond, QPS: -1})
	if err != nil {
		return engineFailed, err
	}
	defer k.Close()
	fmt.Println(begins)
	j, err := journal.Open(c.journal(), journal.Options{})
	if err != nil {
		return engineFailed, err
	}
	defer j.Close(context.Background())
	rep, err := engine.Run(context.Background(), shortPlan(c.Namespace), shortRunner{k}, engine.Options{Journal: j, Hooks: engine.Hooks{
		HostDone: func(t engine.Task, _ engine.Outcome, err error, _ time.Duration) {
			if err == nil {
				fmt.Println(t.Step.ID) // the user is told
			}
		},
	}})
	switch {
	case err != nil:
		return engineFailed, err
	case rep.Nothing:
		return engineNothing, nil
	}
	return engineDone, nil
}

func (c shortChild) journal() string { return filepath.Join(c.Dir, "journal") }

type shortRunner struct{ kube *kube.Cluster }

func (r shortRunner) Run(ctx context.Context, t engine.Task) (engine.Outcome, error) {
	o, err := r.kube.Run(ctx, t.Step.Step)
	return engine.Outcome{Changed: o.Changed, Detail: o.Detail}, err
}

// run runs the child; with a time above 0 it is killed so long after it begins
// to work. told are the steps that it said are done.
func (c shortChild) run(ctx context.Context, after time.Duration) (killed bool, code int, told []string, took time.Duration, err error) {
	text, err := json.Marshal(c)
	if err != nil {
		return false, 0, nil, 0, err
	}
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), shortEnv+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, 0, nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return false, 0, nil, 0, err
	}
	var begun time.Time
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() != begins {
			told = append(told, lines.Text())
			continue
		}
		begun = time.Now()
		if after > 0 {
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
	}
	took = time.Since(begun)
	_ = cmd.Wait()
	code = cmd.ProcessState.ExitCode()
	if code != -1 && code != engineDone && code != engineNothing {
		err = fmt.Errorf("it fails: %s", stderr.String())
	}
	return code == -1, code, told, took, err
}

// done are the steps that the journal says are done.
func done(records []journal.Record) map[string]bool {
	out := map[string]bool{}
	for _, s := range journal.Fold(records).Report("short", false).Steps {
		out[s.ID] = s.Status == journal.Done
	}
	return out
}

// placed is what a step of the short plan leaves in the cluster, without what
// the cluster chooses, or an error where it is not there.
func placed(ctx context.Context, id, ns string) (string, error) {
	c, err := cluster.Client()
	if err != nil {
		return "", err
	}
	get := metav1.GetOptions{}
	switch id {
	case "short-1":
		n, err := c.CoreV1().Namespaces().Get(ctx, ns, get)
		if err == nil && n.Status.Phase != corev1.NamespaceActive {
			err = fmt.Errorf("it is %s", n.Status.Phase)
		}
		return "", err
	case "short-2":
		list, err := c.CoreV1().Secrets(ns).List(ctx, metav1.ListOptions{LabelSelector: "owner=helm,name=app"})
		if err != nil {
			return "", err
		}
		deployed := 0
		for _, s := range list.Items {
			switch status := s.Labels["status"]; {
			case status == "deployed":
				deployed++
			case strings.HasPrefix(status, "pending"):
				return "", fmt.Errorf("revision %s is %s", s.Labels["version"], status)
			}
		}
		if deployed != 1 {
			return "", fmt.Errorf("%d revisions are deployed", deployed)
		}
		d, err := c.AppsV1().Deployments(ns).Get(ctx, "app", get)
		if err != nil {
			return "", err
		}
		m, err := c.CoreV1().ConfigMaps(ns).Get(ctx, "app", get)
		if err != nil {
			return "", err
		}
		s, err := c.CoreV1().Secrets(ns).Get(ctx, "app", get)
		if err != nil {
			return "", err
		}
		text, err := json.Marshal([]any{d.Spec, m.Data, s.Data})
		return string(text), err
	case "short-3":
		m, err := c.CoreV1().ConfigMaps(ns).Get(ctx, "more", get)
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(m.Data)
		return string(text), err
	case "short-4":
		n, err := c.CoreV1().Namespaces().Get(ctx, ns, get)
		if err == nil && n.Labels["placed"] != "yes" {
			err = errors.New("the label is not there")
		}
		return "", err
	case "short-5":
		d, err := c.AppsV1().Deployments(ns).Get(ctx, "app", get)
		if err == nil && (d.Status.ReadyReplicas != 1 || d.Status.UpdatedReplicas != 1) {
			err = fmt.Errorf("%d of %d replicas are ready", d.Status.ReadyReplicas, d.Status.Replicas)
		}
		return "", err
	}
	return "", fmt.Errorf("there is no step %q", id)
}

// whole is what the plan leaves.
func whole(ctx context.Context, ns string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range shortPlan(ns).Steps {
		text, err := placed(ctx, s.ID, ns)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.ID, err)
		}
		out[s.ID] = text
	}
	return out, nil
}

// killedInstall kills an install a few times, and lets it end. It gives how
// often it was killed.
func killedInstall(ctx context.Context, c shortChild, rnd *rand.Rand, span time.Duration, want map[string]string) (kills int, err error) {
	var before []journal.Record
	for range 1 + rnd.IntN(5) {
		killed, _, told, _, err := c.run(ctx, 1+time.Duration(rnd.Int64N(int64(span))))
		if err != nil {
			return kills, err
		}
		records, err := journal.Read(c.journal())
		if err != nil && (len(before) > 0 || len(told) > 0 || !errors.Is(err, fs.ErrNotExist)) {
			return kills, fmt.Errorf("the journal cannot be read: %w", err)
		}
		if len(records) < len(before) || len(before) > 0 && !reflect.DeepEqual(records[:len(before)], before) {
			return kills, fmt.Errorf("the journal had %d records and has %d others", len(before), len(records))
		}
		before = records
		known := done(records)
		for _, id := range told {
			if !known[id] {
				return kills, fmt.Errorf("it said that %s is done, and the journal does not", id)
			}
		}
		for id, is := range known {
			if !is {
				continue
			}
			if _, err := placed(ctx, id, c.Namespace); err != nil {
				return kills, fmt.Errorf("the journal says that %s is done: %w", id, err)
			}
		}
		if !killed {
			break // it was through before
		}
		kills++
	}
	_, code, _, _, err := c.run(ctx, 0)
	if err != nil {
		return kills, err
	}
	records, err := journal.Read(c.journal())
	if err != nil {
		return kills, err
	}
	if rep := journal.Fold(records).Report("short", false); rep.Outcome != journal.OK && code == engineDone || rep.Done != len(want) || rep.Total != len(want) {
		return kills, fmt.Errorf("in the end it is %s with %d of %d steps done", rep.Outcome, rep.Done, rep.Total)
	}
	got, err := whole(ctx, c.Namespace)
	if err != nil {
		return kills, err
	}
	if !reflect.DeepEqual(got, want) {
		return kills, fmt.Errorf("it leaves %v, want %v", got, want)
	}
	return kills, nil
}

// An install that is killed at any moment, and again, has a journal that tells
// the truth, and ends like one that nobody disturbed.
func TestInstallKilledAnywhere(t *testing.T) {
	count := 5
	if text := os.Getenv("KILLS"); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SEED=%d", seed)
	dir := t.TempDir()
	var number atomic.Int64
	child := func() (shortChild, func()) {
		n := number.Add(1)
		c := shortChild{Dir: filepath.Join(dir, strconv.FormatInt(n, 10)), Namespace: fmt.Sprintf("test-killed-%d", n), Kubeconfig: cluster.KubeconfigFile()}
		return c, func() {
			_ = client(t).CoreV1().Namespaces().Delete(context.Background(), c.Namespace, metav1.DeleteOptions{})
		}
	}
	reference, remove := child()
	defer remove()
	_, code, told, span, err := reference.run(t.Context(), 0)
	if err != nil || code != engineDone || len(told) != len(shortPlan("").Steps) {
		t.Fatalf("the run that is not killed ends with %d after %v: %v", code, told, err)
	}
	want, err := whole(t.Context(), reference.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if _, code, _, _, err := reference.run(t.Context(), 0); err != nil || code != engineNothing {
		t.Errorf("the second run ends with %d: %v", code, err)
	}

	var kills atomic.Int64
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	for worker := range 3 { // they wait for the cluster most of the time
		rnd := rand.New(rand.NewPCG(seed, uint64(worker)))
		wg.Go(func() {
			for kills.Load() < int64(count) && ctx.Err() == nil {
				c, remove := child()
				n, err := killedInstall(ctx, c, rnd, span*11/10, want)
				kills.Add(int64(n))
				if err != nil && ctx.Err() == nil {
					t.Errorf("after %d kills in namespace %s: %v", n, c.Namespace, err)
					stop()
				}
				remove()
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	t.Logf("%d kills in %d installs (%v when not killed), 0 wrong results, 0 lost journals", kills.Load(), number.Load()-1, span.Round(time.Millisecond))
}
