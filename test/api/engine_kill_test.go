package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bundle/install/engine"
	"bundle/install/journal"
	"bundle/install/kube"
	"bundle/install/plan"
	"bundle/manifest"
	clusterfile "bundle/manifest/cluster"
	"bundle/manifest/kubefile"
	"bundle/manifest/step"
)

const engineEnv = "ENGINE_TEST_CHILD"

// engineChild is what the process to be killed is told.
type engineChild struct {
	// Dir holds the journal, the root file system and the list of actions.
	Dir        string
	Kubeconfig string
	// At is the point at which it kills itself; 0 is never.
	At int
}

// Exit codes of the child.
const (
	engineDone    = 0
	engineFailed  = 1
	engineNothing = 5 // everything was done before
)

// The process to be killed is this one again.
func init() {
	if text := os.Getenv(engineEnv); text != "" {
		var c engineChild
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
}

// seedImage is CNStack CE on ACK Distro, as a build makes it: the inventory
// that a plan needs. With to set, the root file system is written there.
func seedImage(to string) (*manifest.Contents, []clusterfile.Plugin, error) {
	c := &manifest.Contents{Name: "cnstack-ce", Version: "1.1.0", Bases: []manifest.Base{{Name: "ackdistro"}}}
	var plugins []clusterfile.Plugin
	for _, image := range []struct{ name, folder string }{
		{"ackdistro", "../../testdata/ackdistro"},
		{"cnstack-ce", "../../testdata/cnstack-ce/charts/build-cnstack-ce"},
	} {
		text, err := os.Open(filepath.Join(image.folder, "Kubefile"))
		if err != nil {
			return nil, nil, err
		}
		k, err := kubefile.Parse("Kubefile", text, kubefile.Auto)
		text.Close()
		if err != nil {
			return nil, nil, err
		}
		for _, s := range step.From(k.Commands(), image.name, image.name) {
			if image.name != c.Name {
				s.Source = manifest.Source(image.name + "/" + string(s.Source))
			}
			c.Steps = append(c.Steps, s)
		}
		for _, copied := range k.Copies() {
			src := filepath.Join(image.folder, copied.Src)
			info, err := os.Stat(src)
			if err != nil {
				return nil, nil, err
			}
			target := copied.Target(copied.Src, info.IsDir(), false)
			err = filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				rel, _ := filepath.Rel(src, p)
				data, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				name := path.Join(target, filepath.ToSlash(rel))
				c.Files = append(c.Files, manifest.File{Path: name, Type: "file"})
				if strings.HasPrefix(name, "plugin/") {
					list, _, err := clusterfile.ParsePlugins(name, data)
					if err != nil {
						return err
					}
					plugins = append(plugins, list...)
				}
				if to == "" {
					return nil
				}
				if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
					return err
				}
				return os.WriteFile(filepath.Join(to, name), data, 0o644)
			})
			if err != nil {
				return nil, nil, err
			}
		}
	}
	return c, plugins, nil
}

// seedPlan is the plan of the basic profile on the first node.
func seedPlan(to string) (*plan.Plan, error) {
	contents, plugins, err := seedImage(to)
	if err != nil {
		return nil, err
	}
	f, err := os.Open("../../testdata/cnstack-ce/deploy/Clusterfile")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := clusterfile.Parse("Clusterfile", f, clusterfile.Options{Set: map[string]string{"MASTER_IP_1": master0IP, "PASSWD": "x"}})
	if err != nil {
		return nil, err
	}
	return plan.Make(plan.Input{Contents: contents, Plugins: plugins, Cluster: c})
}

func (c engineChild) install() (code int, err error) {
	p, err := seedPlan("")
	if err != nil {
		return engineFailed, err
	}
	config, err := os.ReadFile(c.Kubeconfig)
	if err != nil {
		return engineFailed, err
	}
	k, err := kube.Connect(config, kube.Options{Files: os.DirFS(filepath.Join(c.Dir, "rootfs")), Master0: master0IP, Poll: 100 * time.Millisecond, QPS: -1})
	if err != nil {
		return engineFailed, err
	}
	defer k.Close()
	j, err := journal.Open(filepath.Join(c.Dir, "journal"), journal.Options{})
	if err != nil {
		return engineFailed, err
	}
	defer j.Close(context.Background())
	r := &engineRunner{dir: c.Dir, kube: k, at: c.At}
	rep, err := engine.Run(context.Background(), p, r, engine.Options{Journal: j, Hooks: engine.Hooks{
		HostDone: func(engine.Task, engine.Outcome, error, time.Duration) { r.point() },
	}})
	switch {
	case err != nil:
		return engineFailed, err
	case rep.Nothing:
		return engineNothing, nil
	}
	return engineDone, nil
}

// engineRunner does what works on the cluster for real. Of the rest, which
// needs hosts, it only keeps a list.
type engineRunner struct {
	dir  string
	kube *kube.Cluster

	mu    sync.Mutex
	n, at int
}

// point is a moment at which the process may be killed.
func (r *engineRunner) point() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n++; r.n == r.at {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it is dead
	}
}

func (r *engineRunner) Run(ctx context.Context, t engine.Task) (out engine.Outcome, err error) {
	r.point() // it is begun
	switch {
	case t.Step.Kind == plan.KindNodeLabels:
		changes, err := plan.NodeChanges(t.Step.Step)
		if err != nil {
			return out, err
		}
		var hosts []clusterfile.Host
		for _, n := range changes {
			hosts = append(hosts, clusterfile.Host{Address: n.Address, Labels: n.Labels, Taints: n.Taints})
		}
		o, err := r.kube.LabelNodes(ctx, hosts)
		if err != nil {
			return out, err
		}
		out = engine.Outcome{Changed: o.Changed, Detail: o.Detail}
	case strings.Contains(t.Step.Kind, ".") && t.Step.Phase == "ackdistro" || t.Step.Phase == "cnstack-ce":
		o, err := r.kube.Run(ctx, t.Step.Step)
		if err != nil {
			return out, err
		}
		out = engine.Outcome{Changed: o.Changed, Detail: o.Detail}
	default:
		f, err := os.OpenFile(filepath.Join(r.dir, "actions"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return out, err
		}
		if _, err := fmt.Fprintln(f, t.Step.ID); err != nil {
			return out, err
		}
		if err := f.Close(); err != nil {
			return out, err
		}
	}
	r.point() // it is done, and nobody knows
	return out, nil
}

// Find implements [engine.Finder] by the list.
func (r *engineRunner) Find(_ context.Context, t engine.Task) (engine.Fate, engine.Outcome, error) {
	data, err := os.ReadFile(filepath.Join(r.dir, "actions"))
	if err == nil && slices.Contains(strings.Fields(string(data)), t.Step.ID) {
		return engine.Ended, engine.Outcome{Changed: true}, nil
	}
	return engine.Never, engine.Outcome{}, nil
}

// start runs the child. The code is -1 where it was killed.
func (c engineChild) start(t *testing.T) (code int, said string) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), engineEnv+"="+string(text))
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func newEngineChild(t *testing.T) engineChild {
	t.Helper()
	c := engineChild{Dir: t.TempDir(), Kubeconfig: cluster.KubeconfigFile()}
	if _, err := seedPlan(filepath.Join(c.Dir, "rootfs")); err != nil {
		t.Fatal(err)
	}
	return c
}

// complete tells whether the journal says that every step is done.
func (c engineChild) complete(t *testing.T) bool {
	t.Helper()
	records, err := journal.Read(filepath.Join(c.Dir, "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	rep := journal.Fold(records).Report("my-cluster", false)
	return rep.Total > 0 && rep.Done == rep.Total
}

// Two runs of the same install, one of them killed with every step, once when
// it was done and not yet written down and once behind it: the same cluster.
func TestInstallKilledAtEveryStepGivesTheSameCluster(t *testing.T) {
	unseed(t)
	t.Cleanup(func() { unseed(t) })
	playOperator(t)
	whole := newEngineChild(t)
	if code, said := whole.start(t); code != engineDone {
		t.Fatalf("the run that is not killed ends with %d: %s", code, said)
	}
	want := snapshot(t)
	if code, said := whole.start(t); code != engineNothing {
		t.Errorf("the second run ends with %d: %s", code, said)
	}
	unseed(t)

	playOperator(t)
	c := newEngineChild(t)
	kills := 0
	for c.At = 2; !c.complete(t); c.At = 5 - c.At {
		code, said := c.start(t)
		if code != -1 {
			t.Fatalf("after %d kills the run ends with %d: %s", kills, code, said)
		}
		kills++
	}
	c.At = 0
	if code, said := c.start(t); code != engineNothing {
		t.Errorf("after all steps the run ends with %d: %s", code, said)
	}
	if p, _ := seedPlan(""); kills < len(p.Steps) {
		t.Errorf("%d kills in %d steps", kills, len(p.Steps))
	}
	got := snapshot(t)
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("%s is\n%s\nwant\n%s", k, got[k], want[k])
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("there is %s too", k)
		}
	}
	actions, err := os.ReadFile(filepath.Join(c.Dir, "actions"))
	if err != nil || strings.Count(string(actions), "pre-init.prepare_local_dir\n") != 1 {
		t.Errorf("what removes data was done other than once: %q (%v)", actions, err)
	}
}

// snapshotKinds are what the seed installs.
const snapshotKinds = "deployments.apps,daemonsets.apps,statefulsets.apps,services,configmaps,serviceaccounts,persistentvolumes,persistentvolumeclaims," +
	"storageclasses,clusterroles,clusterrolebindings,customresourcedefinitions,addonconfigurations,clusterconfigurations,namespaces,nodes,secrets"

// snapshot gives what is in the cluster, by kind, namespace and name, without
// what the cluster itself chooses.
func snapshot(t *testing.T) map[string]string {
	t.Helper()
	var list struct {
		Items []struct {
			Kind     string
			Type     string
			Metadata struct {
				Name, Namespace string
				Labels          map[string]string
			}
			Spec map[string]any
			Data map[string]any
		}
	}
	if err := json.Unmarshal([]byte(kubectl(t, "", "get", snapshotKinds, "-A", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, o := range list.Items {
		name, what := o.Metadata.Name, map[string]any{}
		switch o.Kind {
		case "Service":
			for _, p := range o.Spec["ports"].([]any) {
				delete(p.(map[string]any), "nodePort")
			}
			delete(o.Spec, "clusterIP")
			delete(o.Spec, "clusterIPs")
			what["spec"] = o.Spec
		case "Secret":
			if o.Type != "helm.sh/release.v1" {
				continue
			}
			// How often it took is not the same; what is deployed is.
			if o.Metadata.Labels["status"] != "deployed" {
				continue
			}
			name = "release " + o.Metadata.Labels["name"]
		case "ConfigMap":
			if name == "kube-root-ca.crt" {
				continue
			}
			what["data"] = o.Data
		case "Node":
			what["taints"], what["labels"] = o.Spec["taints"], o.Metadata.Labels
		case "PersistentVolume", "PersistentVolumeClaim", "Namespace", "CustomResourceDefinition":
			if strings.HasPrefix(name, "test-") {
				continue // an earlier test's, about to go
			}
		default:
			what["spec"] = o.Spec
		}
		if strings.HasPrefix(o.Metadata.Namespace, "test-") {
			continue
		}
		text, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprintf("%s %s/%s", o.Kind, o.Metadata.Namespace, name)] = string(text)
	}
	return out
}

// definitions are what the seed's operator makes when it runs. Nothing runs
// here, so the test plays it.
const definitions = "../../testdata/cnstack-ce/charts/component/charts/aecp-installer-operator/files"

func playOperator(t *testing.T) {
	t.Helper()
	kubectl(t, "", "apply", "-f", definitions)
}

// unseed takes the seed out of the cluster, and gives the first node back what
// the other tests expect of it.
func unseed(t *testing.T) {
	t.Helper()
	config, err := cluster.Kubeconfig()
	if err != nil {
		t.Fatal(err)
	}
	k, err := kube.Connect(config, kube.Options{Master0: master0IP, Poll: 100 * time.Millisecond, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	remove := func(a step.Action) {
		t.Helper()
		if _, err := k.Run(context.Background(), step.Build(a, manifest.Step{ID: "unseed", TimeoutSeconds: 120})); err != nil {
			t.Fatal(err)
		}
	}
	p, err := seedPlan("")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range slices.Backward(p.Steps) {
		a, err := step.Decode(s.Step)
		if err != nil {
			continue // not one of the cluster's
		}
		if r, ok := a.(*step.HelmRelease); ok {
			remove(step.HelmUninstall{Release: r.Release, Namespace: r.Namespace})
		}
	}
	remove(step.Delete{Resource: "namespace", Names: []string{"cluster-local"}})
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(cluster.Kubectl(), append([]string{"--kubeconfig", cluster.KubeconfigFile()}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	run("delete", "-f", "../../testdata/ackdistro/yamls", "--ignore-not-found")
	run("delete", "-f", definitions, "--ignore-not-found")
	run("delete", "persistentvolumeclaims", "--all", "-n", "default")
	run("delete", "persistentvolumes", "--all")
	run("label", "nodes", master0, "lb-", "addon-local-repo-", "node-role.kubernetes.io/master-")
	run("taint", "nodes", master0, "node-role.kubernetes.io/master=:NoSchedule", "--overwrite")
}
