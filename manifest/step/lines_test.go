package step

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"bundle/manifest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// realLines are lines of products that were published, in the order in which
// their files have them.
var realLines = []struct{ title, text string }{
	{"ACK Distro v1.20.4-ack-2", `helm -n kube-system install kube-core charts/kube-core
kubectl apply -f ack-distro-yamls/*
helm -n kube-system install hybridnet charts/hybridnet
helm -n kube-system install open-local charts/open-local`},
	{"CNStack CE 1.1.0", "helm install localpv charts/localpv\n" +
		"helm install aecp-installer-operator charts/aecp-installer-operator\n" +
		"helm install aecp charts/aecp\n" +
		"kubectl create ns cluster-local\n" +
		"kubectl -n kube-system scale deploy hybridnet-webhook --replicas=1\n" +
		"kubectl -n kube-system scale deploy hybridnet-manager --replicas=1\n" +
		"kubectl taint nodes $(hostname | tr A-Z a-z) node-role.kubernetes.io/master=:NoSchedule-\n" +
		"kubectl label nodes $(hostname | tr A-Z a-z) lb=nginx\n" +
		"kubectl label nodes $(hostname | tr A-Z a-z) addon-local-repo=true\n" +
		"for i in `seq 0 1 2000`;do if kubectl get addonconfiguration 2> /dev/null;then helm install cluster-addon-configuration charts/cluster-addon-configuration && break;fi; echo \"wait CRD ready ... $i out of 2000 tries\" && sleep 1; done\n" +
		"kubectl apply -f manifests/clusterconfig.yaml\n" +
		"helm uninstall -n kube-system open-local"},
	{"CNStack CE 1.1.0, plugins", `rm -rf /var/lib/cnstackce
vgremove open-local-pool-0 --force || echo "No vg: open-local-pool-0 found. OK"
mkdir -p /var/lib/cnstackce/data/storage-loki-0
yum install lvm2 -y
vgcreate open-local-pool-0 $VG_DEV
if [ $? -ne 0 ];then echo "vgcreate failed" && exit 1;fi
helm uninstall localpv
helm install -n kube-system open-local charts/open-local`},
	{"ACK Distro, later", `helm -n kube-system upgrade -i kube-core chart/kube-core -f /tmp/ackd-helmconfig.yaml
kubectl taint node node-role.kubernetes.io/master- --all || true
kubectl taint node --all node-role.kubernetes.io/master-
cp -f chart/l-zero/crds/* /tmp && kubectl create ns acs-system
trident on-sealer -f /root/.sealer/Clusterfile --sealer
kubectl delete pods -n kube-system -l k8s-app=kube-dns`},
	{"sealer's applications", `kubectl apply -f manifests/tigera-operator.yaml && kubectl apply -f manifests/custom-resources.yaml
kubectl create -f manifests/crds && kubectl create -f manifests/operator.yaml
helm install my-nginx charts/nginx -n web --create-namespace --set service.type=NodePort,replicas=2 --timeout 5m0s --wait
kubectl patch storageclass local -p '{"metadata": {"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}'
kubectl annotate sc fast storageclass.kubernetes.io/is-default-class=true --overwrite
kubectl -n db rollout status statefulset/mysql --timeout=300s
kubectl wait --for condition=established --timeout=60s crd/kafkas.kafka.strimzi.io
cd application/apps/mysql && helm install mysql . -f values-prod.yaml
kubectl apply -k overlays/prod
sh scripts/init.sh
bash -c 'kubectl delete ns old; rm -rf /data'`},
}

// The whole conversion of published products. A line that stops being
// understood, or begins to mean something else, shows here.
func TestRealLines(t *testing.T) {
	var b bytes.Buffer
	for n, group := range realLines {
		var cmds []Command
		for i, line := range strings.Split(group.text, "\n") {
			cmds = append(cmds, Command{Text: line, Source: manifest.FileLine("Kubefile", i+1)})
		}
		fmt.Fprintf(&b, "## %s\n", group.title)
		for _, s := range From(cmds, "aecp", fmt.Sprintf("s%d", n+1)) {
			marks := ""
			if s.Idempotent {
				marks += " idempotent"
			}
			if s.Destructive {
				marks += " DESTRUCTIVE"
			}
			if s.TimeoutSeconds > 0 {
				marks += fmt.Sprintf(" %ds", s.TimeoutSeconds)
			}
			args, err := json.Marshal(s.Args)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s %s %s%s\n    $ %s\n    %s\n    %s\n", s.ID, s.Source, s.Kind, marks, s.Run, s.Summary, args)
		}
	}
	const path = "testdata/real.golden"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("%s differs; got:\n%s", path, b.Bytes())
	}
}
