package check

import (
	"fmt"
	"slices"
	"strings"

	"bundle/install/kube"
)

// Judge holds what was seen against what is expected.
func Judge(e Expected, s State) Report {
	r := Report{Time: e.Time.UTC(), Bundle: e.Bundle, Cluster: short(e.Cluster), Kubernetes: short(s.Version), Hosts: hostLines(e, s)}
	r.Bundle.Name, r.Bundle.Version = short(e.Bundle.Name), short(e.Bundle.Version)
	r.Bundle.Signers = nil
	for _, signer := range e.Bundle.Signers {
		r.Bundle.Signers = append(r.Bundle.Signers, plain(signer))
	}
	r.Releases, r.Workloads, r.Images = releaseLines(e, s), workloadLines(s), imageLines(e, s)
	r.Items = []Item{
		nodes(e, s), releases(e, s), workloads(s), pods(s), images(e, s), nodePorts(s), registry(s),
	}
	for _, i := range r.Items {
		switch i.Status {
		case Pass:
			r.Passed++
		case Fail:
			r.Failed++
		case Warning:
			r.Warnings++
		case Skipped:
			r.Skipped++
		}
	}
	r.OK = r.Failed == 0
	return r
}

// hostLines lists the inventory with the nodes that its hosts became.
func hostLines(e Expected, s State) []HostLine {
	list := make([]HostLine, 0, len(e.Hosts))
	for _, h := range e.Hosts {
		l := HostLine{Host: h}
		if n, ok := nodeOf(s, h.Address); ok {
			l.Node, l.Ready = short(n.Name), n.Ready
			l.Kubelet, l.OS, l.Runtime = short(n.Kubelet), short(n.OS), short(n.Runtime)
		}
		list = append(list, l)
	}
	return list
}

func nodeOf(s State, address string) (kube.Node, bool) {
	for _, n := range s.Nodes {
		if slices.Contains(n.Addresses, address) {
			return n, true
		}
	}
	return kube.Node{}, false
}

// item collects what is seen of one subject.
type item struct {
	Item
	good, bad, odd []text
}

func newItem(id, title, titleZH string) *item {
	return &item{Item: Item{ID: id, Title: title, TitleZH: titleZH}}
}

func (i *item) pass(format string, args ...any) { i.good = append(i.good, say(format, args...)) }
func (i *item) fail(format string, args ...any) { i.bad = append(i.bad, say(format, args...)) }
func (i *item) warn(format string, args ...any) { i.odd = append(i.odd, say(format, args...)) }

// done gives the item: what is wrong, or else what is odd, or else what was
// looked at, each line once. The sentences say the same in short; of what
// is wrong the first line is said too.
func (i *item) done(right text, wrong, hint string) Item {
	uniq := func(list []text) []text {
		seen := map[string]bool{}
		return slices.DeleteFunc(list, func(s text) bool { was := seen[s.en]; seen[s.en] = true; return was })
	}
	i.good, i.bad, i.odd = uniq(i.good), uniq(i.bad), uniq(i.odd)
	var lines []text
	switch {
	case len(i.bad) > 0:
		i.Status, lines = Fail, slices.Concat(i.bad, i.odd)
	case len(i.odd) > 0:
		i.Status, lines = Warning, i.odd
	default:
		i.Status, lines = Pass, i.good
		i.Summary, i.zh.summary = right.en, right.zh
	}
	if i.Status != Pass {
		i.Hint, i.zh.hint = hint, chinese(hint)
		i.Summary, i.zh.summary = wrong+": "+lines[0].en, chinese(wrong)+":"+lines[0].zh
		if more := len(lines) - 1; more > 0 {
			i.Summary += fmt.Sprintf(" (and %d more)", more)
			i.zh.summary += fmt.Sprintf("(另有 %d 项)", more)
		}
	}
	if len(lines) > MaxEvidence {
		i.Omitted = len(lines) - MaxEvidence
		lines = lines[:MaxEvidence]
	}
	i.Evidence = []string{}
	for _, l := range lines {
		i.Evidence = append(i.Evidence, l.en)
		i.zh.evidence = append(i.zh.evidence, l.zh)
	}
	return i.Item
}

func (i *item) skip(why string) Item {
	i.Status, i.Summary, i.Evidence = Skipped, why, []string{}
	i.zh.summary = chinese(why)
	return i.Item
}

func nodes(e Expected, s State) Item {
	i := newItem(ItemNodes, "All hosts are Ready nodes", "所有主机均为 Ready 节点")
	known := map[string]bool{}
	for _, h := range e.Hosts {
		n, ok := nodeOf(s, h.Address)
		switch {
		case !ok:
			i.fail("host %s is no node of the cluster", h.Address)
			continue
		case !n.Ready:
			i.fail("node %s (%s) is not ready%s", n.Name, h.Address, because(n.Reason))
		default:
			i.pass("node %s (%s) is ready, kubelet %s", n.Name, h.Address, n.Kubelet)
		}
		known[n.Name] = true
	}
	for _, n := range s.Nodes {
		if !known[n.Name] {
			i.warn("node %s (%s) is not in the inventory", n.Name, orDash(strings.Join(n.Addresses, ", ")))
		}
	}
	return i.done(say("%s of %d are ready", many{len(known), "node"}, len(e.Hosts)), "the nodes are not those of the inventory, all ready",
		"kubectl describe node NODE says more; on the host: journalctl -u kubelet")
}

func releases(e Expected, s State) Item {
	i := newItem(ItemReleases, "All Helm releases are deployed", "所有 Helm 发布均已部署")
	for _, want := range e.Releases {
		n := slices.IndexFunc(s.Releases, func(r kube.Release) bool { return r.Name == want.Name && r.Namespace == want.Namespace })
		switch {
		case n < 0:
			i.fail("release %s/%s is not there", want.Namespace, want.Name)
		case s.Releases[n].Status != "deployed":
			i.fail("release %s/%s is %s%s", want.Namespace, want.Name, s.Releases[n].Status, because(s.Releases[n].Description))
		default:
			i.pass("release %s/%s is deployed, chart %s %s", want.Namespace, want.Name, s.Releases[n].Chart, s.Releases[n].ChartVersion)
		}
	}
	for _, r := range s.Releases {
		if r.Status != "deployed" && !slices.ContainsFunc(e.Releases, func(w Release) bool { return r.Name == w.Name && r.Namespace == w.Namespace }) {
			i.warn("release %s/%s, which the bundle does not install, is %s", r.Namespace, r.Name, r.Status)
		}
	}
	return i.done(say("%s deployed", many{len(e.Releases), "release"}), "not all releases are deployed", "helm -n NAMESPACE status RELEASE says more; bundle install goes on where it stopped")
}

func workloads(s State) Item {
	i := newItem(ItemWorkloads, "All workloads are rolled out", "所有工作负载均已就绪")
	for _, w := range s.Workloads {
		name := w.Kind + " " + w.Namespace + "/" + w.Name
		if w.Done {
			i.pass("%s: %s", name, w.Progress)
		} else {
			i.fail("%s: %s%s", name, w.Progress, because(w.Reason))
		}
	}
	return i.done(say("%s rolled out", many{len(s.Workloads), "workload"}), "not all workloads are rolled out", "kubectl -n NAMESPACE describe KIND NAME says more")
}

// stuck are the reasons for which a container does not start by itself.
var stuck = []string{
	"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable",
	"CrashLoopBackOff", "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}

// phases says what a pod does that is well.
var phases = map[string]string{"Running": "%s is running", "Succeeded": "%s has succeeded"}

func pods(s State) Item {
	i := newItem(ItemPods, "No pod fails to pull an image or to run", "没有 Pod 拉取镜像失败或启动失败")
	for _, p := range s.Pods {
		name := "pod " + p.Namespace + "/" + p.Name
		before := len(i.bad) + len(i.odd)
		for _, c := range p.Containers {
			if slices.Contains(stuck, c.Waiting) {
				i.fail("%s, container %s (%s): %s%s", name, c.Name, c.Image, c.Waiting, because(c.Message))
			}
		}
		if len(i.bad)+len(i.odd) > before {
			continue
		}
		switch {
		case p.Phase == "Pending":
			i.fail("%s is pending%s", name, because(p.Reason))
		case p.Phase == "Failed" && !p.Owned:
			i.fail("%s has failed%s", name, because(p.Reason))
		case p.Phase == "Failed", p.Phase == "Unknown":
			// Its controller made another; what is wrong shows there.
			i.warn("%s is %s%s", name, strings.ToLower(p.Phase), because(p.Reason))
		case phases[p.Phase] == "":
			i.warn("%s is in the unknown phase %q", name, p.Phase)
		default:
			i.pass(phases[p.Phase], name)
		}
	}
	return i.done(say("%s run", many{len(s.Pods), "pod"}), "not all pods run", "kubectl -n NAMESPACE describe pod NAME says more; so does kubectl logs --previous")
}

func nodePorts(s State) Item {
	i := newItem(ItemNodePorts, "All node ports answer", "所有 NodePort 均可访问")
	if s.Ports == nil {
		return i.skip("nobody dialled the node ports")
	}
	// A service with local traffic must answer somewhere.
	somewhere := map[int]bool{}
	for _, a := range s.Ports {
		somewhere[a.Port] = somewhere[a.Port] || a.Err == ""
	}
	ports := map[int]bool{}
	for _, a := range s.Ports {
		ports[a.Port] = true
		switch {
		case a.Err == "":
			i.pass("%s:%d answers (service %s/%s)", a.Host, a.Port, a.Namespace, a.Service)
		case a.Local && somewhere[a.Port]:
		default:
			i.fail("%s:%d does not answer (service %s/%s)%s", a.Host, a.Port, a.Namespace, a.Service, because(a.Err))
		}
	}
	return i.done(say("%s answer", many{len(ports), "node port"}), "not all node ports answer", "kubectl get endpointslices -A shows which services have no pods; a firewall between here and the nodes looks the same")
}

func registry(s State) Item {
	i := newItem(ItemRegistry, "The registry on site gives out the bundle's images", "站点镜像仓库可按摘要提供镜像")
	if s.Registries == nil {
		return i.skip("nobody asked the registry")
	}
	for _, a := range s.Registries {
		if a.Err != "" {
			i.fail("%s on %s does not give out %s%s", a.Name, a.Host, a.Image, because(a.Err))
		} else {
			i.pass("%s on %s gives out %s", a.Name, a.Host, a.Image)
		}
	}
	return i.done(say("the registry answers on %s", many{len(s.Registries), "host"}), "the registry does not answer everywhere",
		"on the host: systemctl status bundle-registry, journalctl -u bundle-registry")
}

func because(reason string) string {
	if reason = strings.TrimSpace(reason); reason == "" {
		return ""
	}
	return ": " + reason
}

// releaseLines lists what has to be deployed, and then what else is.
func releaseLines(e Expected, s State) []ReleaseLine {
	list := make([]ReleaseLine, 0, len(e.Releases))
	of := func(r kube.Release) ReleaseLine {
		return ReleaseLine{
			Namespace: short(r.Namespace), Name: short(r.Name), Status: short(r.Status), OK: r.Status == "deployed",
			Chart: short(r.Chart), Version: short(r.ChartVersion), AppVersion: short(r.AppVersion),
		}
	}
	expected := map[Release]bool{}
	for _, want := range e.Releases {
		expected[want] = true
		n := slices.IndexFunc(s.Releases, func(r kube.Release) bool { return r.Name == want.Name && r.Namespace == want.Namespace })
		if n < 0 {
			list = append(list, ReleaseLine{Namespace: short(want.Namespace), Name: short(want.Name), Status: "missing"})
			continue
		}
		list = append(list, of(s.Releases[n]))
	}
	for _, r := range s.Releases {
		if !expected[Release{r.Namespace, r.Name}] {
			l := of(r)
			l.Foreign = true
			list = append(list, l)
		}
	}
	return list
}

func workloadLines(s State) []WorkloadLine {
	list := make([]WorkloadLine, 0, len(s.Workloads))
	for _, w := range s.Workloads {
		list = append(list, WorkloadLine{
			Kind: short(w.Kind), Namespace: short(w.Namespace), Name: short(w.Name), Desired: w.Desired, Ready: w.Ready,
			OK: w.Done, Progress: plain(w.Progress + because(w.Reason)),
		})
	}
	return list
}
