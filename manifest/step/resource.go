package step

import "strings"

// resources maps every name of a built-in resource to its singular.
var resources = func() map[string]string {
	m := map[string]string{}
	for _, names := range []string{
		"node nodes no", "namespace namespaces ns", "deployment deployments deploy deployment.apps deployments.apps",
		"statefulset statefulsets sts statefulset.apps statefulsets.apps", "daemonset daemonsets ds daemonset.apps daemonsets.apps",
		"replicaset replicasets rs", "replicationcontroller replicationcontrollers rc", "pod pods po",
		"service services svc", "endpoints ep", "configmap configmaps cm", "secret secrets",
		"serviceaccount serviceaccounts sa", "persistentvolume persistentvolumes pv",
		"persistentvolumeclaim persistentvolumeclaims pvc", "storageclass storageclasses sc", "ingress ingresses ing",
		"ingressclass ingressclasses", "networkpolicy networkpolicies netpol", "job jobs", "cronjob cronjobs cj",
		"role roles", "rolebinding rolebindings", "clusterrole clusterroles", "clusterrolebinding clusterrolebindings",
		"customresourcedefinition customresourcedefinitions crd crds customresourcedefinition.apiextensions.k8s.io customresourcedefinitions.apiextensions.k8s.io",
		"apiservice apiservices", "event events ev", "all", "componentstatus componentstatuses cs",
		"horizontalpodautoscaler horizontalpodautoscalers hpa", "poddisruptionbudget poddisruptionbudgets pdb",
		"priorityclass priorityclasses pc", "runtimeclass runtimeclasses", "lease leases", "limitrange limitranges limits",
		"resourcequota resourcequotas quota", "csidriver csidrivers", "csinode csinodes", "endpointslice endpointslices",
		"validatingwebhookconfiguration validatingwebhookconfigurations", "mutatingwebhookconfiguration mutatingwebhookconfigurations",
		"podsecuritypolicy podsecuritypolicies psp", "volumeattachment volumeattachments", "podtemplate podtemplates",
		"certificatesigningrequest certificatesigningrequests csr", "controllerrevision controllerrevisions",
	} {
		f := strings.Fields(names)
		for _, n := range f {
			m[n] = f[0]
		}
	}
	return m
}()

// scalable are the resources that have replicas.
var scalable = map[string]bool{"deployment": true, "statefulset": true, "replicaset": true, "replicationcontroller": true}

// resourceName gives the singular of a built-in resource, and others as they
// are.
func resourceName(s string) string {
	if n, ok := resources[strings.ToLower(s)]; ok {
		return n
	}
	return s
}

// builtin tells whether every cluster has the resource.
func builtin(s string) bool {
	_, ok := resources[strings.ToLower(s)]
	return ok
}
