package kube

import (
	"errors"
	"strings"
	"testing"
)

const kubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: c
  cluster:
    server: https://10.0.0.1:6443
    CLUSTER
contexts:
- name: x
  context: {cluster: c, user: u}
current-context: x
users:
- name: u
  user:
    USER
`

func TestKubeconfigOfAHostRunsAndReadsNothingHere(t *testing.T) {
	for name, c := range map[string]struct{ cluster, user, want string }{
		"program":   {"", "exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [/tmp/x], interactiveMode: Never}", "asks for a credential program"},
		"provider":  {"", "auth-provider: {name: oidc}", "asks for an authentication plugin"},
		"proxy":     {"proxy-url: http://10.9.9.9:3128", "token: t", "asks for a proxy"},
		"ca file":   {"certificate-authority: /etc/passwd", "token: t", "asks for files"},
		"key file":  {"", "client-key: /root/.ssh/id_rsa", "asks for files"},
		"tokenfile": {"", "tokenFile: /etc/shadow", "asks for files"},
	} {
		text := strings.NewReplacer("CLUSTER", c.cluster, "USER", c.user).Replace(kubeconfig)
		_, err := Connect([]byte(text), Options{})
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s gave %v, want %q", name, err, c.want)
		}
	}
}

func TestBadKubeconfigIsToldInOneSentence(t *testing.T) {
	good := strings.NewReplacer("CLUSTER", "", "USER", "token: t").Replace(kubeconfig)
	c, err := Connect([]byte(good), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Server() != "https://10.0.0.1:6443" {
		t.Errorf("server %s", c.Server())
	}
	for name, text := range map[string]string{
		"empty": "", "no yaml": "\x00", "other context": strings.Replace(good, "current-context: x", "current-context: y", 1),
		"no user": strings.Replace(good, "user: u", "user: v", 1), "bad server": strings.Replace(good, "https://10.0.0.1:6443", "10.0.0.1", 1),
		"large": strings.Repeat("#", maxKubeconfig+1),
	} {
		_, err := Connect([]byte(text), Options{})
		if !errors.Is(err, ErrInput) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s gave %v", name, err)
		}
	}
}

func FuzzKubeconfig(f *testing.F) {
	f.Add([]byte(kubeconfig))
	f.Add([]byte("clusters: [{name: a, cluster: null}]\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := restConfig(data); err != nil && !errors.Is(err, ErrInput) {
			t.Fatalf("an error of no class: %v", err)
		}
	})
}
