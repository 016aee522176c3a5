package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	ri "helm.sh/helm/v4/pkg/release"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// State is what a cluster is like, for an acceptance test to judge. Lists are
// in order of namespace and name.
type State struct {
	// Server is the address, Version the release of the API server.
	Server    string     `json:"server"`
	Version   string     `json:"version"`
	Nodes     []Node     `json:"nodes"`
	Releases  []Release  `json:"releases"`
	Workloads []Workload `json:"workloads"`
	Pods      []Pod      `json:"pods"`
	Services  []Service  `json:"services"`
}

// Node is one machine of the cluster.
type Node struct {
	Name string `json:"name"`
	// Addresses are the internal ones.
	Addresses []string `json:"addresses"`
	Roles     []string `json:"roles,omitempty"`
	Ready     bool     `json:"ready"`
	// Reason is why it is not ready.
	Reason        string `json:"reason,omitempty"`
	Unschedulable bool   `json:"unschedulable,omitempty"`
	Kubelet       string `json:"kubelet"`
	Runtime       string `json:"runtime"`
	OS            string `json:"os,omitempty"`
	Kernel        string `json:"kernel,omitempty"`
}

// Release is the last revision of a Helm release.
type Release struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Revision  int    `json:"revision"`
	// Status is Helm's: "deployed", "failed", "pending-install", …
	Status       string `json:"status"`
	Chart        string `json:"chart"`
	ChartVersion string `json:"chartVersion"`
	AppVersion   string `json:"appVersion,omitempty"`
	// Description is why it is not deployed.
	Description string `json:"description,omitempty"`
}

// Workload is what runs pods: a deployment, a stateful set, a daemon set or a
// job.
type Workload struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Desired   int32  `json:"desired"`
	Updated   int32  `json:"updated"`
	Ready     int32  `json:"ready"`
	Done      bool   `json:"done"`
	// Progress says how far it is; Reason why not further.
	Progress string `json:"progress"`
	Reason   string `json:"reason,omitempty"`
}

// Pod is one pod with its containers.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Node      string `json:"node,omitempty"`
	Phase     string `json:"phase"`
	Ready     bool   `json:"ready"`
	// Static pods are made by a kubelet, not by the API server.
	Static bool `json:"static,omitempty"`
	// Owned pods have a controller, which replaces them.
	Owned      bool        `json:"owned,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Containers []Container `json:"containers"`
}

// Container is one container of a pod.
type Container struct {
	Name string `json:"name"`
	Init bool   `json:"init,omitempty"`
	// Image is what was asked for, ImageID what runs: a reference by digest
	// as the container runtime tells it, empty until it runs.
	Image    string `json:"image"`
	ImageID  string `json:"imageID,omitempty"`
	Ready    bool   `json:"ready"`
	Restarts int32  `json:"restarts,omitempty"`
	// Waiting is the kubelet's word for why it does not run:
	// "ImagePullBackOff", "CrashLoopBackOff", …
	Waiting string `json:"waiting,omitempty"`
	Message string `json:"message,omitempty"`
}

// Service is one service that answers on ports of the nodes.
type Service struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	// Local services answer only on nodes that run one of their pods.
	Local bool   `json:"local,omitempty"`
	Ports []Port `json:"ports"`
}

// Port is one port of a service.
type Port struct {
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol"`
	Port     int32  `json:"port"`
	NodePort int32  `json:"nodePort,omitempty"`
}

// Observe looks at the whole cluster. The caller bounds it by ctx.
func (c *Cluster) Observe(ctx context.Context) (State, error) {
	s, err := c.session(ctx)
	if err != nil {
		return State{}, err
	}
	defer s.close()
	begin := time.Now()
	st, err := s.observe(ctx)
	if err != nil {
		return State{}, c.explain(ctx, "look at the cluster", time.Since(begin), err)
	}
	return st, nil
}

func (s *session) observe(ctx context.Context) (State, error) {
	st := State{
		Server: s.server, Nodes: []Node{}, Releases: []Release{}, Workloads: []Workload{}, Pods: []Pod{}, Services: []Service{},
	}
	v, err := s.disc.ServerVersion()
	if err != nil {
		return st, err
	}
	st.Version = v.GitVersion
	around, err := s.around(ctx)
	if err != nil {
		return st, err
	}
	for i := range around.nodes {
		st.Nodes = append(st.Nodes, nodeState(&around.nodes[i]))
	}
	for i := range around.pods {
		st.Pods = append(st.Pods, around.podState(&around.pods[i]))
	}
	if st.Workloads, err = s.workloads(ctx, around); err != nil {
		return st, err
	}
	services, err := s.kube.CoreV1().Services("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return st, err
	}
	for _, o := range services.Items {
		if state, ok := serviceState(&o); ok {
			st.Services = append(st.Services, state)
		}
	}
	st.Releases, err = s.releases()
	return st, err
}

// around reads the pods of all namespaces and what tells about them.
func (s *session) around(ctx context.Context) (scene, error) {
	var sc scene
	nodes, err := s.kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return sc, err
	}
	pods, err := s.kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return sc, err
	}
	events, err := s.kube.CoreV1().Events("").List(ctx, metav1.ListOptions{Limit: 20_000})
	if err != nil {
		return sc, err
	}
	claims, err := s.kube.CoreV1().PersistentVolumeClaims("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return sc, err
	}
	return scene{nodes: nodes.Items, pods: pods.Items, events: events.Items, claims: claims.Items}, nil
}

func nodeState(n *corev1.Node) Node {
	out := Node{
		Name: n.Name, Addresses: []string{}, Unschedulable: n.Spec.Unschedulable,
		Kubelet: n.Status.NodeInfo.KubeletVersion, Runtime: n.Status.NodeInfo.ContainerRuntimeVersion,
		OS: n.Status.NodeInfo.OSImage, Kernel: n.Status.NodeInfo.KernelVersion,
	}
	out.Ready, out.Reason = nodeReady(n)
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			out.Addresses = append(out.Addresses, a.Address)
		}
	}
	for k := range n.Labels {
		if role, ok := strings.CutPrefix(k, "node-role.kubernetes.io/"); ok && role != "" {
			out.Roles = append(out.Roles, role)
		}
	}
	slices.Sort(out.Roles)
	return out
}

func (s scene) podState(p *corev1.Pod) Pod {
	out := Pod{
		Namespace: p.Namespace, Name: p.Name, Node: p.Spec.NodeName, Phase: string(p.Status.Phase),
		Ready: podReady(p), Static: p.Annotations["kubernetes.io/config.mirror"] != "", Owned: metav1.GetControllerOf(p) != nil,
		Containers: []Container{},
	}
	if f, ok := s.podFinding(p); ok {
		out.Reason = f.Text
	}
	status := map[string]corev1.ContainerStatus{}
	for _, c := range containers(p) {
		status[c.Name] = c
	}
	add := func(spec corev1.Container, init bool) {
		c := status[spec.Name]
		state := Container{Name: spec.Name, Init: init, Image: spec.Image, ImageID: c.ImageID, Ready: c.Ready, Restarts: c.RestartCount}
		if w := c.State.Waiting; w != nil {
			state.Waiting, state.Message = w.Reason, clip(cleanMessage(w.Message), 300)
		}
		out.Containers = append(out.Containers, state)
	}
	for _, c := range p.Spec.InitContainers {
		add(c, true)
	}
	for _, c := range p.Spec.Containers {
		add(c, false)
	}
	return out
}

func serviceState(o *corev1.Service) (Service, bool) {
	if o.Spec.Type != corev1.ServiceTypeNodePort && o.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return Service{}, false
	}
	out := Service{Namespace: o.Namespace, Name: o.Name, Type: string(o.Spec.Type), Local: o.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal, Ports: []Port{}}
	for _, p := range o.Spec.Ports {
		out.Ports = append(out.Ports, Port{Name: p.Name, Protocol: string(p.Protocol), Port: p.Port, NodePort: p.NodePort})
	}
	return out, true
}

// workloads judges everything that runs pods.
func (s *session) workloads(ctx context.Context, sc scene) ([]Workload, error) {
	out := []Workload{}
	add := func(kind string, m metav1.ObjectMeta, p progress, sel *metav1.LabelSelector) {
		w := Workload{Kind: kind, Namespace: m.Namespace, Name: m.Name, Desired: p.Desired, Updated: p.Updated, Ready: p.Ready, Done: p.Done, Progress: p.Text}
		if !p.Done {
			w.Reason = sc.why(ref{Kind: kind, Namespace: m.Namespace, Name: m.Name}, sel)
		}
		out = append(out, w)
	}
	apps := s.kube.AppsV1()
	deployments, err := apps.Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range deployments.Items {
		d := &deployments.Items[i]
		add("Deployment", d.ObjectMeta, deploymentProgress(d), d.Spec.Selector)
	}
	sets, err := apps.StatefulSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range sets.Items {
		d := &sets.Items[i]
		add("StatefulSet", d.ObjectMeta, statefulSetProgress(d), d.Spec.Selector)
	}
	daemons, err := apps.DaemonSets("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range daemons.Items {
		d := &daemons.Items[i]
		add("DaemonSet", d.ObjectMeta, daemonSetProgress(d), d.Spec.Selector)
	}
	jobs, err := s.kube.BatchV1().Jobs("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range jobs.Items {
		j := &jobs.Items[i]
		add("Job", j.ObjectMeta, jobProgress(j), j.Spec.Selector)
	}
	slices.SortStableFunc(out, func(a, b Workload) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return out, nil
}

// why gives the most telling reason of the pods of a workload.
func (s scene) why(r ref, sel *metav1.LabelSelector) string {
	match, err := metav1.LabelSelectorAsSelector(sel)
	if err != nil || match.Empty() {
		return ""
	}
	own := s
	own.pods = nil
	for _, p := range s.pods {
		if p.Namespace == r.Namespace && match.Matches(labels.Set(p.Labels)) {
			own.pods = append(own.pods, p)
		}
	}
	o := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": r.Name}}}
	if found := ranked(append(own.podFindings(), own.refusals(r, []*unstructured.Unstructured{o})...)); len(found) > 0 {
		return found[0].Text
	}
	return ""
}

func jobProgress(j *batchv1.Job) progress {
	p := progress{Desired: replicas(j.Spec.Completions), Ready: j.Status.Succeeded, Updated: j.Status.Succeeded, Text: "it is not complete"}
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			p.Done, p.Text = true, "it is complete"
		case batchv1.JobFailed:
			p.Text = "it failed: " + clip(cleanMessage(c.Message), 200)
		}
	}
	if j.Spec.Suspend != nil && *j.Spec.Suspend && !p.Done {
		p.Done, p.Text = true, "it is suspended"
	}
	return p
}

// releases gives the last revision of every release in every namespace.
func (s *session) releases() ([]Release, error) {
	d := driver.NewSecrets(s.kube.CoreV1().Secrets(""))
	d.SetLogger(mute)
	list, err := storage.Init(d).List(func(ri.Releaser) bool { return true })
	if err != nil {
		return nil, err
	}
	all, err := revisions(list)
	if err != nil {
		return nil, err
	}
	last := map[string]*release.Release{}
	for _, r := range all {
		last[r.Namespace+"/"+r.Name] = r
	}
	out := []Release{}
	for _, r := range last {
		state := Release{Namespace: r.Namespace, Name: r.Name, Revision: r.Version, Status: r.Info.Status.String()}
		if r.Info.Status != common.StatusDeployed {
			state.Description = oneLine(r.Info.Description)
		}
		if r.Chart != nil && r.Chart.Metadata != nil {
			state.Chart, state.ChartVersion, state.AppVersion = r.Chart.Metadata.Name, r.Chart.Metadata.Version, r.Chart.Metadata.AppVersion
		}
		out = append(out, state)
	}
	slices.SortFunc(out, func(a, b Release) int { return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name) })
	return out, nil
}
