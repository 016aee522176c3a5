package step

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"bundle/manifest"
)

func one(t *testing.T, line string) []manifest.Step {
	t.Helper()
	return From([]Command{{Text: line, Source: "K:1"}}, "p", "x")
}

// actions reads the steps of a line back.
func actions(t *testing.T, line string) []Action {
	t.Helper()
	var out []Action
	for _, s := range one(t, line) {
		a, err := Decode(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, reflect.ValueOf(a).Elem().Interface().(Action))
	}
	return out
}

func TestTypedLines(t *testing.T) {
	rel := func(f func(*HelmRelease)) []Action {
		a := HelmRelease{Release: "r", Chart: "c", Namespace: "default"}
		f(&a)
		return []Action{a}
	}
	node := func(names ...string) Target { return Target{Target: TargetNames, Names: names} }
	cases := map[string][]Action{
		"helm install r c":                                rel(func(a *HelmRelease) {}),
		"helm install -n=k r c":                           rel(func(a *HelmRelease) { a.Namespace = "k" }),
		"helm -nk install r c":                            rel(func(a *HelmRelease) { a.Namespace = "k" }),
		"helm --namespace=k install r c -n k":             rel(func(a *HelmRelease) { a.Namespace = "k" }),
		"helm --namespace k install r c":                  rel(func(a *HelmRelease) { a.Namespace = "k" }),
		"helm upgrade --install r c":                      rel(func(a *HelmRelease) {}),
		"helm upgrade r c -i=false":                       nil,
		"helm upgrade r c --install=false":                rel(func(a *HelmRelease) { a.Mode = ModeUpgrade }),
		"helm upgrade r c":                                rel(func(a *HelmRelease) { a.Mode = ModeUpgrade }),
		"helm install r c --version 1.2.0":                rel(func(a *HelmRelease) { a.Version = "1.2.0" }),
		"helm install r c -f a.yaml,b.yaml -f d.yaml":     rel(func(a *HelmRelease) { a.Values = []string{"a.yaml", "b.yaml", "d.yaml"} }),
		"helm install r c --set a=1 --set 'b=x y,c=\"\"'": rel(func(a *HelmRelease) { a.Set = []string{"a=1", `b=x y,c=""`} }),
		"helm install r c --set t[0].key=x":               rel(func(a *HelmRelease) { a.Set = []string{"t[0].key=x"} }),
		`helm install r c --set t\[0\]=x`:                 rel(func(a *HelmRelease) { a.Set = []string{"t[0]=x"} }),
		"helm install r c --set-string a=1":               rel(func(a *HelmRelease) { a.SetString = []string{"a=1"} }),
		"helm install r c --create-namespace --wait":      rel(func(a *HelmRelease) { a.CreateNamespace, a.Wait = true, true }),
		"helm install r c --atomic":                       rel(func(a *HelmRelease) { a.Atomic, a.Wait = true, true }),
		"helm install r c >/dev/null 2>&1":                rel(func(a *HelmRelease) {}),
		"helm install r c &> /dev/null":                   rel(func(a *HelmRelease) {}),
		"helm install r c # the release":                  rel(func(a *HelmRelease) {}),
		"helm install r c;":                               rel(func(a *HelmRelease) {}),
		`helm "install" r 'c'`:                            rel(func(a *HelmRelease) {}),
		"helm install r oci://r.io/c --version 1":         rel(func(a *HelmRelease) { a.Chart, a.Version = "oci://r.io/c", "1" }),
		"helm delete a b -n k":                            {HelmUninstall{"a", "k"}, HelmUninstall{"b", "k"}},
		"helm un a --ignore-not-found":                    {HelmUninstall{"a", "default"}},

		"kubectl apply -f a -f b.yaml":              {Apply{Files: []string{"a", "b.yaml"}}},
		"kubectl apply -Rf a":                       nil,
		"kubectl apply -R -f a -n k --server-side":  {Apply{Files: []string{"a"}, Namespace: "k", Recursive: true, ServerSide: true}},
		"kubectl apply --filename=a/*.y?ml":         {Apply{Files: []string{"a/*.y?ml"}}},
		"kubectl apply -f a,b":                      {Apply{Files: []string{"a", "b"}}},
		"kubectl create -f a":                       {Create{Files: []string{"a"}}},
		"kubectl delete -f a --ignore-not-found":    {Delete{Files: []string{"a"}}},
		"kubectl delete cm a b -n k":                {Delete{Resource: "configmap", Names: []string{"a", "b"}, Namespace: "k"}},
		"kubectl delete ds/a":                       {Delete{Resource: "daemonset", Names: []string{"a"}}},
		"kubectl create namespace a":                {Namespace{"a"}},
		"kubectl scale --replicas 3 sts/a -n k":     {Scale{"statefulset", "a", "k", 3}},
		"kubectl scale deployment a b --replicas=0": {Scale{"deployment", "a", "", 0}, Scale{"deployment", "b", "", 0}},
		"kubectl taint node a b x=y:NoExecute":      {Taint{Target: node("a", "b"), Key: "x", Value: "y", Effect: "NoExecute"}},
		"kubectl taint no -l a=b x:NoSchedule-":     {Taint{Target: Target{Target: TargetSelector, Selector: "a=b"}, Key: "x", Effect: "NoSchedule", Remove: true}},
		"kubectl taint nodes a k=v:NoSchedule x- --overwrite": {
			Taint{Target: node("a"), Key: "k", Value: "v", Effect: "NoSchedule", Overwrite: true},
			Taint{Target: node("a"), Key: "x", Remove: true, Overwrite: true},
		},
		"kubectl label nodes `hostname` a=b":                            {Label{Meta{Target: Target{Target: TargetMaster0}, Resource: "node", Set: map[string]string{"a": "b"}}}},
		`kubectl label node "$(hostname)" a=`:                           {Label{Meta{Target: Target{Target: TargetMaster0}, Resource: "node", Set: map[string]string{"a": ""}}}},
		`kubectl label node $(hostname|tr '[:upper:]' '[:lower:]') a=b`: {Label{Meta{Target: Target{Target: TargetMaster0}, Resource: "node", Set: map[string]string{"a": "b"}}}},
		"kubectl label ns/kube-system a=b c- --overwrite":               {Label{Meta{Target: node("kube-system"), Resource: "namespace", Set: map[string]string{"a": "b"}, Remove: []string{"c"}, Overwrite: true}}},
		"kubectl label node --all a=b":                                  {Label{Meta{Target: Target{Target: TargetAll}, Resource: "node", Set: map[string]string{"a": "b"}}}},
		"kubectl -n k annotate pod a b=c":                               {Annotate{Meta{Target: node("a"), Resource: "pod", Namespace: "k", Set: map[string]string{"b": "c"}}}},
		`kubectl patch deploy a --type=json -p '[{"op":"add"}]' -n k`:   {Patch{"deployment", "a", "k", "json", `[{"op":"add"}]`}},
		"kubectl patch sc/a --patch \"{\\\"a\\\":\\\"\\$b\\\"}\"":       {Patch{"storageclass", "a", "", "strategic", `{"a":"$b"}`}},
		"kubectl rollout status deploy/a":                               {WaitRollout{"deployment", "a", ""}},
		"kubectl rollout status ds a -n k --timeout 2m":                 {WaitRollout{"daemonset", "a", "k"}},
		"kubectl wait --for=condition=Established crd/a.b crd/c.d":      nil,
		"kubectl wait --for=condition=Established crd a.b c.d":          {WaitCRD{CRD: "a.b"}, WaitCRD{CRD: "c.d"}},
		"kubectl create ns a && helm install r c":                       {Namespace{"a"}, HelmRelease{Release: "r", Chart: "c", Namespace: "default"}},
		"kubectl create ns a && sleep 5 && kubectl apply -f b":          {Namespace{"a"}, Exec{}, Apply{Files: []string{"b"}}},
		"cd sub/dir && kubectl apply -f a && bash x.sh":                 {Apply{Files: []string{"a"}, Dir: "sub/dir"}, Exec{Dir: "sub/dir"}},
		"cd . && kubectl apply -f a":                                    {Apply{Files: []string{"a"}}},
		"for i in 1 2 3; do if kubectl get crd a.b >/dev/null 2>&1; then kubectl apply -f x && break; fi; sleep 10; done": {WaitCRD{"a.b", 10}, Apply{Files: []string{"x"}}},
		"for i in {1..60}; do if kubectl get foo; then break; fi; echo waiting; sleep 1m; done":                           {WaitCRD{"foo", 60}},
		"for i in $(seq 10); do if kubectl get crd/a; then break; fi; sleep 5s; done":                                     {WaitCRD{"a", 5}},
		"for i in $(seq 2 10); do if kubectl get a.b.c; then break; fi; sleep 5; done":                                    {WaitCRD{"a.b.c", 5}},
	}
	for line, want := range cases {
		got := actions(t, line)
		if want == nil {
			want = []Action{Exec{}}
		}
		// Exec keeps no line when it is read back.
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\n got %+v\nwant %+v", line, got, want)
		}
	}
}

// What is not understood to the last word must run as the shell it is.
func TestNeverHalfUnderstood(t *testing.T) {
	for _, line := range []string{
		"", " ", "if", "((", "helm", "kubectl", "helm install", "helm install r", "helm install c1 c2 c3",
		// flags
		"helm install r c --devel", "helm install r c --dry-run", "helm install r c -g", "helm --kube-context x install r c",
		"helm install r c -i", "helm install r c --wait=watcher", "helm install r c --set", "helm install r c -- x",
		"helm install r c -n a -n b", "helm install r c --timeout 300", "helm install r c --timeout 9999h", "helm install r c --timeout -5m",
		"helm install r c --version 1 --version 2", "helm install r c -f a --values b", "helm install r c --set a=1 --set-string b=2",
		"helm install r c -f -", "helm install r c -f https://x/v.yaml", "helm install r c -f a,,b",
		"helm install r https://x/c.tgz", "helm install r c --repo https://x", "helm install --generate-name c", "helm install --name r c",
		"helm uninstall", "helm uninstall r --keep-history", "helm uninstall r --wait", "helm uninstall -n a -n b r", "helm list", "helm repo add a https://b",
		"helm rollback r 1", "helm install r c -it", "helm -x install r c", "helm -n", "helm uninstall r --dry-run",
		"kubectl apply -k x", "kubectl apply -f -", "kubectl apply -f https://x/y.yaml", "kubectl apply -f a b", "kubectl apply -f a --prune",
		"kubectl apply -f a --filename b", "kubectl apply -f", "kubectl apply", "kubectl apply x", "kubectl apply --force -f a", "kubectl apply -f a --validate=false",
		"kubectl --kubeconfig x apply -f a", "kubectl -s x apply -f a", "kubectl apply -f a -n b -n c", "kubectl delete -R -f a",
		"kubectl create ns a b", "kubectl create ns a -n b", "kubectl create ns a --dry-run=client -o yaml", "kubectl create configmap a --from-file=b", "kubectl create deploy a --image=b",
		"kubectl delete pod --all", "kubectl delete ns", "kubectl delete pods,svc a", "kubectl delete a/b/c", "kubectl delete a/b c/d", "kubectl delete pod a --force",
		"kubectl scale deploy a", "kubectl scale deploy a --replicas=x", "kubectl scale deploy a --replicas=-1", "kubectl scale pod a --replicas=1", "kubectl scale deploy --all --replicas=1",
		"kubectl scale deploy a --replicas=1 --replicas=2", "kubectl scale --replicas=1", "kubectl scale deploy a --replicas=1 --current-replicas=2",
		"kubectl taint nodes a", "kubectl taint nodes a x=y", "kubectl taint nodes a x:Bad", "kubectl taint nodes --all a x:NoSchedule", "kubectl taint pods a x:NoSchedule",
		"kubectl taint nodes x:NoSchedule", "kubectl taint nodes a x=y-", "kubectl taint nodes a -l x=y z:NoSchedule", "kubectl taint nodes a x:NoSchedule y", "kubectl taint",
		"kubectl taint nodes a =x:NoSchedule", "kubectl taint nodes -l a -l b x:NoSchedule",
		"kubectl label nodes a", "kubectl label nodes", "kubectl label", "kubectl label pods $(hostname) a=b", "kubectl label nodes a x=1 x=2", "kubectl label nodes a =b", "kubectl label nodes a -",
		"kubectl label nodes a b=c -n x -n y", "kubectl label -f a b=c", "kubectl label nodes,pods a b=c", "kubectl label nodes a b=c d", "kubectl label nodes a --list", "kubectl label nodes --all -l a=b c=d",
		"kubectl patch deploy a", "kubectl patch deploy a b -p x", "kubectl patch deploy a -p x --type=apply", "kubectl patch deploy a --patch-file x", "kubectl patch deploy a -p x --patch y", "kubectl patch -p x",
		"kubectl rollout restart deploy a", "kubectl rollout status pod/a", "kubectl rollout status deploy", "kubectl rollout", "kubectl rollout status deploy/a --timeout=1h --timeout=2h",
		"kubectl wait --for=condition=Ready pod/a", "kubectl wait --for=delete crd/a", "kubectl wait --for=condition=established pod/a", "kubectl wait --for=condition=established crd", "kubectl wait crd/a",
		"kubectl get pods", "kubectl exec a -- b",
		// expansions
		"helm install r $CHART", `helm install r "$CHART"`, "helm install r ${C:-c}", "helm install r `cat c`", "helm install $(hostname) c", "$HELM install r c", "helm $VERB r c",
		"helm install r c-*.tgz", "helm install r c --set a=*", "helm install r c --set a[x]=1", "helm install r c --set a[0]b[=1", "helm install r {a,b}", "helm install r ~/c", "helm install r c --set a=~/x",
		"kubectl label nodes $(hostname -f) a=b", "kubectl label nodes $(hostname | tr a-z A-Z) a=b", "kubectl label nodes $(hostname; true) a=b", "kubectl label nodes x$(hostname) a=b",
		"kubectl label nodes $(hostname >x) a=b", "kubectl label nodes $(hostname & ) a=b", "kubectl label nodes $(hostname || tr A-Z a-z) a=b", "kubectl label nodes -l $(hostname) a=b",
		"kubectl label nodes `hostname | awk '{print $1}'` a=b", "kubectl label nodes ${| hostname;} a=b", "kubectl apply -f 'a*'", "kubectl apply -f 'a*'*", `kubectl apply -f a\*`, "kubectl apply -f a{1,2}.yaml", "kubectl apply -f {1..3}.yaml",
		"kubectl apply -f <(echo a)", "kubectl apply -f $'a\\n'", `kubectl apply -f $"a"`, "kubectl apply -f @(a|b)", "kubectl apply -f $((1+1))", `kubectl apply -f "a$(b)"`, "kubectl '' -f a", "kubectl apply -f ''", "* install r c", "kub* apply -f a",
		"kubectl -n * apply -f a", "kubectl delete cm '*'  ''",
		// the shell around
		"helm install r c || true", "helm install r c; helm install d e", "helm install r c &", "! helm install r c", "(helm install r c)", "{ helm install r c; }", "helm install r c | tee log",
		"helm install r c > log", "helm install r c 2>log", "helm install r c < x", "helm install r c >&3", "KUBECONFIG=x helm install r c", "time helm install r c", "sudo helm install r c", "bin/helm install r c",
		"A=1 && helm install r c", "cd x; helm install r c", "helm install r c && cd y && kubectl apply -f z", "cd /abs && kubectl apply -f a", "cd ../x && kubectl apply -f a", "cd $X && kubectl apply -f a", "cd - && kubectl apply -f a", "cd x y && kubectl apply -f a", "cd x > y && kubectl apply -f a", "cd x",
		"export A=1 && helm install r c", "set -e && helm install r c", ". env.sh && helm install r c", "source env.sh && helm install r c", "$X && helm install r c", ": ${A:=1} && helm install r c", "echo $((A=1)) && helm install r c",
		"(kubectl apply -f a && kubectl apply -f b) && kubectl apply -f c", "kubectl apply -f a && kubectl apply -f b || kubectl apply -f c", "{ kubectl apply -f a && kubectl apply -f b; } > x", "a() { helm install r c; }", "helm install r c\nhelm install d e", "helm install r c && ! helm install d e",
		"coproc helm install r c", "declare x=1 && helm install r c",
		// loops
		"for i in 1 2; do if kubectl get a; then break; fi; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep 1; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep x; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep 0; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep 1 2; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep $N; done",
		"for i in 1 2; do if kubectl get a; then break; fi; touch x; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then break; fi; echo $(rm x); sleep 1; done",
		"for i in 1 2; do if kubectl get a; then break; fi; echo x > y; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep 1 & done",
		"for i in 1 2; do if kubectl get a; then break; fi; (sleep 1); done",
		"for i in 1 2; do if kubectl get a; then break; else echo x; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then helm install r c; break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then helm install r c; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then bash x && break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then helm install r $X && break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then helm install r c || break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then X=1 helm install r c && break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then ! true && break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get pods; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get deploy x; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a -n b; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get deploy/x; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get $X; then break; fi; sleep 1; done",
		"for i in 1 2; do if ! kubectl get a; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl describe a; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a > x; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; kubectl get b; then break; fi; sleep 1; done",
		"for i in 1 2; do if test -e x; then break; fi; sleep 1; done",
		"for i in 1 2; do if [ -e x ]; then break; fi; sleep 1; done",
		"for i in 1 2; do if ((1)); then break; fi; sleep 1; done",
		"for i in 1 2; do kubectl get a && break; sleep 1; done",
		"for i in *; do if kubectl get a; then break; fi; sleep 1; done",
		"for i in a $X; do if kubectl get a; then break; fi; sleep 1; done",
		"for i; do if kubectl get a; then break; fi; sleep 1; done",
		"for i in x; do if kubectl get a; then break; fi; sleep 1; done",
		"for i in x$(seq 3); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in {a..b}; do if kubectl get a; then break; fi; sleep 1; done",
		"for i in {12}; do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(seq 5 1); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(seq 1 0 5); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(seq 1 1 5 6); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(seq x); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(seq); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(ls); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(seq 3; ls); do if kubectl get a; then break; fi; sleep 1; done",
		"for i in $(seq 1 99999999); do if kubectl get a; then break; fi; sleep 60; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep 9999999h; done",
		"for ((i=0;i<5;i++)); do if kubectl get a; then break; fi; sleep 1; done",
		"select i in 1 2; do if kubectl get a; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then break; fi; sleep 1; done > log",
		"while true; do if kubectl get a; then break; fi; sleep 1; done",
		"for i in 1 2; do if kubectl get a; then break; fi > x; sleep 1; done",
	} {
		cmds := From([]Command{{Text: line, Source: "K:1"}}, "p", "x")
		if line == "" {
			if len(cmds) != 0 {
				t.Error("an empty line made a step")
			}
			continue
		}
		if len(cmds) != 1 || cmds[0].Kind != manifest.StepExec || cmds[0].Run != line || cmds[0].Idempotent {
			t.Errorf("%s\n became %+v", line, cmds)
		}
	}
}

func TestDangerous(t *testing.T) {
	for line, want := range map[string]bool{
		"rm -rf /var/lib/x": true, "rm -fr x": true, "rm -r x": true, "rm --recursive x": true, "/bin/rm -R x": true, `rm "-rf" x`: true,
		"rm -f x": false, "rm x": false, "echo rm -rf": false, "# rm -rf x": false,
		"vgremove a --force || echo OK": true, "lvremove a": true, "pvremove a": true, "vgcreate a b": false,
		"mkfs.ext4 /dev/vdb": true, "mkfs -t ext4 /dev/vdb": true, "wipefs -a /dev/vdb": true, "shred x": true,
		"dd if=/dev/zero of=/dev/vdb": true, "dd if=/dev/zero": false,
		"kubeadm reset -f": true, "kubeadm init": false,
		"helm uninstall a": true, "helm -n b delete a": true, "helm install a b": false,
		"kubectl delete ns a": true, "kubectl -n a delete pod b": true, "kubectl get pods": false,
		"find / -name x -delete": true, "find . -exec rm -rf {} +": true, "find . -name x": false,
		"if true; then rm -rf x; fi": true, "echo $(rm -rf x)": true, "a=$(kubectl delete pod x)": true, "for i in 1; do wipefs x; done": true,
		"sudo rm -rf x": true, "bash -c 'rm -rf x'": true, "ssh h 'vgremove a -f'": true, "xargs rm -rf < x": true, "eval \"helm uninstall a\"": true, "nohup bash -c \"cd a && rm -r b\" &": true,
		"sudo ls": false, "bash x.sh": false, "docker rm -f x": false,
		"bash <<EOF\nrm -rf /x\nEOF": true, "cat <<EOF\nhello\nEOF": false,
		"rm -rf 'unclosed": true, "echo 'unclosed": false, "if rm -rf x": true, "$(": false, "ls )": false,
		"RM=1": false, "": false, "wipefsx": false, "alarm -r": false,
	} {
		if got := Dangerous(line); got != want {
			t.Errorf("Dangerous(%q) = %v", line, got)
		}
	}
}

func TestIDsPhasesAndTimeouts(t *testing.T) {
	got := From([]Command{
		{Text: "kubectl create ns a && kubectl create ns b", Source: "K:3"},
		{App: "nginx", Source: "K:4"},
		{Text: "kubectl apply -f x", Source: "K:5", App: "nginx", Dir: "application/apps/nginx"},
		{Text: "helm install r c --timeout 90.5s", Source: "K:6"},
		{Text: "kubectl wait --for=condition=established crd/a", Source: "K:7"},
	}, "ack", "base")
	var ids []string
	for _, s := range got {
		ids = append(ids, s.ID)
		if s.Phase != "ack" {
			t.Errorf("phase %q", s.Phase)
		}
	}
	if want := []string{"base-01.1", "base-01.2", "base-03", "base-04", "base-05"}; !reflect.DeepEqual(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	if got[2].Source != "K:5" || got[2].Args["dir"] != "application/apps/nginx" {
		t.Errorf("got %+v", got[2])
	}
	if got[3].TimeoutSeconds != 91 || got[4].TimeoutSeconds != 30 {
		t.Errorf("timeouts %d, %d", got[3].TimeoutSeconds, got[4].TimeoutSeconds)
	}
}

// A step that was stored in a bundle is the step that was made.
func TestStepsSurviveStorage(t *testing.T) {
	for _, group := range realLines {
		var cmds []Command
		for _, line := range strings.Split(group.text, "\n") {
			cmds = append(cmds, Command{Text: line})
		}
		steps := From(cmds, "p", "x")
		data, err := json.Marshal(steps)
		if err != nil {
			t.Fatal(err)
		}
		var back []manifest.Step
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(steps, back) {
			t.Errorf("%s changes when it is stored", group.title)
		}
	}
}

func TestDecode(t *testing.T) {
	if _, err := Decode(manifest.Step{ID: "a-01", Kind: "novel"}); err == nil || !strings.Contains(err.Error(), `step a-01 is of the unknown kind "novel"`) {
		t.Errorf("got %v", err)
	}
	_, err := Decode(manifest.Step{ID: "a-01", Kind: manifest.StepScale, Args: map[string]any{"replicas": "many"}})
	var typ *json.UnmarshalTypeError
	if !errors.As(err, &typ) || !strings.Contains(err.Error(), "step a-01 (kubectl.scale) has bad arguments") {
		t.Errorf("got %v", err)
	}
	if _, err := Decode(manifest.Step{ID: "a", Kind: manifest.StepExec, Args: map[string]any{"later": 1}}); err != nil {
		t.Errorf("an argument of a newer tool: %v", err)
	}
}

func TestSummaries(t *testing.T) {
	for _, c := range []struct {
		a    Action
		want string
	}{
		{HelmRelease{Release: "r", Chart: "c", Namespace: "n", Version: "1"}, "Install or upgrade the Helm release r from c in namespace n, version 1"},
		{Label{Meta{Target: Target{Target: TargetAll}, Resource: "node", Set: map[string]string{"b": "2", "a": "1"}, Remove: []string{"c"}}}, "Label every node with a=1, b=2 and remove the label c from every node"},
		{Annotate{Meta{Resource: "node"}}, "annotate nothing"},
		{Exec{}, "Run a shell line"},
		{Exec{line: strings.Repeat("世", 101)}, "Run: " + strings.Repeat("世", 100) + "…"},
		{Taint{Target: Target{Target: TargetNames, Names: []string{"a"}}, Key: "k", Value: "v", Effect: "NoExecute"}, "Taint node a with k=v:NoExecute"},
	} {
		if got := c.a.Summary(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestSyntax(t *testing.T) {
	if err := Syntax("a && b"); err != nil {
		t.Error(err)
	}
	if Syntax("if a") == nil {
		t.Error("half an if is taken for shell")
	}
}

func FuzzStep(f *testing.F) {
	for _, group := range realLines {
		for _, line := range strings.Split(group.text, "\n") {
			f.Add(line)
		}
	}
	f.Add("kubectl label ns/a b=c d- 'x y'\"z\"\\ q && cd x && helm install r c[0] --set a[0]=1")
	f.Add("\x7f&&\f")
	f.Add("for i in {1..60}; do if kubectl get foo; then break; fi; echo waiting; sleep 1m; done")
	f.Fuzz(func(t *testing.T, line string) {
		steps := From([]Command{{Text: line, Source: "K:1"}}, "p", "x")
		if (len(steps) == 0) != (line == "") {
			t.Fatalf("%d steps", len(steps))
		}
		typed := false
		for _, s := range steps {
			if s.Summary == "" || s.Run == "" && len(steps) > 1 || s.TimeoutSeconds < 0 {
				t.Fatalf("step %+v says too little", s)
			}
			if _, err := Decode(s); err != nil {
				t.Fatal(err)
			}
			typed = typed || s.Kind != manifest.StepExec
		}
		if typed && Syntax(line) != nil {
			t.Fatal("a line that bash cannot read became typed")
		}
	})
}
