package discover

import (
	"strings"
	"testing"
)

const hex64 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// TestPlausible holds strings as they stand in charts, Clusterfiles and
// scripts. A line in the wrong column costs a user: a real image that is not
// reported goes missing, a false one is noise in every build.
func TestPlausible(t *testing.T) {
	tests := []struct {
		s string
		// The first hint that accepts s: field, value, text; "" for none.
		text, value, field bool
	}{
		// Images, wherever they stand.
		{"registry.cn-hangzhou.aliyuncs.com/oecp/pause:3.2", true, true, true},
		{"ack-agility-registry.cn-shanghai.cr.aliyuncs.com/ecp_builder/registration-operator:v1.0.0", true, true, true},
		{"ack-agility-registry.cn-shanghai.cr.aliyuncs.com/ecp_builder/metrics-server:v0.3.8.5-307cf45-aliyun", true, true, true},
		{"sea.hub:5000/oecp/kube-proxy:v1.20.4-aliyun.1", true, true, true},
		{"registry-internal.adp.aliyuncs.com:5000/ecp_builder/httpd:alpine3.15", true, true, true},
		{"docker.io/thebeatles1994/open-local:v0.2.4-dev", true, true, true},
		{"registry.k8s.io/pause:3.9", true, true, true},
		{"k8s.gcr.io/pause:3.5", true, true, true},
		{"us-docker.pkg.dev/x/y/z:1", true, true, true},
		{"localhost:5000/a/b:dev", true, true, true},
		{"localhost/a:dev", true, true, true},
		{"10.0.0.1:5000/ecp/web:v1", true, true, true},
		{"10.0.0.1/ecp/web:v1", true, true, true},
		{"quay.io/calico/cni@sha256:" + hex64, true, true, true},
		{"quay.io/calico/cni:v3@sha256:" + hex64, true, true, true},
		{"docker://quay.io/containerdisks/fedora:38", true, true, true},
		{"koord/koord-scheduler:cnstack-2.1.0_20230323150335_56ed42a", false, false, true},
		{"sealerio/lvscare:v1.1.3-beta.8", false, true, true},
		{"calico/cni:v3.23.1", false, true, true},
		{"nginx:1.25", false, true, true},
		{"nginx:1.25-alpine", false, true, true},
		{"redis:7-alpine", false, true, true},
		{"busybox:latest", false, true, true},
		{"registry:2.7.1", false, true, true},
		// Only a field says that these are images.
		{"redis:7", false, false, true},
		{"container:v1", false, false, true},
		{"ecp/web:v1", false, true, true},
		{"windows:ltsc2022", false, false, true},
		{"ecp_builder/opsbase", false, false, true},
		{"quay.io/prometheus/prometheus", false, false, true},
		// Addresses and URLs.
		{"http://x", false, false, false},
		{"https://registry.example.com/v2/a:1", false, false, false},
		{"oci://registry.example.com/charts/x:1.0.0", false, false, false},
		{"10.0.0.1:8080", false, false, false},
		{"10.0.0.1", false, false, false},
		{"127.0.0.1:5000/", false, false, false},
		{"cluster.local:5000", false, false, false},
		{"sea.hub:5000", false, false, false},
		{"prometheus-operated:9090", false, false, true},
		{"loki-stack:3100", false, false, true},
		{"apiserver.cluster.local:6443", false, false, false},
		{"[::1]:8080", false, false, false},
		{"fe80::1", false, false, false},
		{"2001:db8", false, false, false},
		{"4408:4003:10bb:6a01:83b9:6360:c66d:0000/112", false, false, false},
		{"100.64.0.0/16", false, false, false},
		{"tcp:1.2.3.4", false, false, false},
		{"listen:10.0.0.1", false, false, false},
		{"user@example.com", false, false, false},
		{"git@github.com:org/repo", false, false, false},
		// Versions, times, hashes, keys.
		{"a:1", false, false, false},
		{"ab:1", false, false, true},
		{"foo:bar", false, false, true},
		{"12:30", false, false, false},
		{"12:30:00", false, false, false},
		{"2023:03.23", false, false, false},
		{"version:1.2", false, false, false},
		{"kubernetes:1.20.4", false, false, false},
		{"sha256:" + hex64, false, false, false},
		{"md5:d41d8cd9", false, false, false},
		{"1.20.4:x", false, false, false},
		{"v1.20.4-aliyun.1", false, false, false},
		{"true", false, false, false},
		{"system:masters", false, false, false},
		{"system:node:master0", false, false, false},
		{"cpu:1.5", false, false, false},
		// Kubernetes' own words.
		{"node-role.kubernetes.io/master:NoSchedule", false, false, false},
		{"lb=nginx:NoSchedule", false, false, false},
		{"example.com/dedicated:NoSchedule", false, false, false},
		{"apps.kubernetes.io/pod-index:1", false, false, false},
		{"rbac.authorization.k8s.io/v1", false, false, false},
		{"apps/v1", false, false, false},
		{"batch/v1beta1", false, false, false},
		{"app.kubernetes.io/name", false, false, false},
		// Paths and files.
		{"/var/lib/x:1", false, false, false},
		{"/etc/nginx/conf.d:ro", false, false, false},
		{"./a/b:1.2", false, false, false},
		{"../component/charts/aecp", false, false, false},
		{"data:ro", false, false, false},
		{"templates/deploy.yaml", false, false, false},
		{"logo.png", false, false, false},
		{"config.yaml:1.2", false, false, false},
		{"deploy.yaml/x:1.2", false, false, false},
		// Not whole references.
		{"{{ .Values.image }}:v1", false, false, false},
		{"$(REGISTRY)/web:v1", false, false, false},
		{"${REGISTRY}/web:v1", false, false, false},
		{"Quay.IO/Upper/Case:1", false, false, false},
		{"nginx", false, false, false},
		{"", false, false, false},
		{"x", false, false, false},
		{strings.Repeat("a", 600) + ":1.2", false, false, false},
		{"quay.io/x:", false, false, false},
		{"quay.io/", false, false, false},
	}
	for _, tt := range tests {
		for h, want := range map[hint]bool{inText: tt.text, inValue: tt.value, inField: tt.field} {
			if ref, got := plausible(tt.s, h); got != want {
				t.Errorf("plausible(%q, %d) = %v (%v), want %v", tt.s, h, got, ref, want)
			}
		}
	}
}

func FuzzPlausible(f *testing.F) {
	for _, s := range []string{"nginx:1.25", "quay.io/a/b@sha256:" + hex64, "10.0.0.1:80", "a/b:c", "docker://x.y/z:1", "é.io/x:1", "x:\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, inT := plausible(s, inText)
		value, inV := plausible(s, inValue)
		field, inF := plausible(s, inField)
		// A stronger hint never loses what a weaker one accepts.
		if inT && !inV || inV && !inF {
			t.Errorf("%q: text %v, value %v, field %v", s, inT, inV, inF)
		}
		if inT && text != value || inV && value != field {
			t.Errorf("%q is a different image by place", s)
		}
		if inF && (field.Repository == "" || field.Tag == "" && field.Digest == "") {
			t.Errorf("%q gave the incomplete reference %+v", s, field)
		}
	})
}
