package rehearse

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"go.yaml.in/yaml/v3"

	"bundle/manifest"
	"bundle/manifest/discover"
)

// metadataVersion reads the version of Kubernetes that the image says it has.
func (g *gatherer) metadataVersion() string {
	data, err := g.readFile(metadataPath)
	if err != nil {
		return ""
	}
	var m struct{ Version string }
	if json.Unmarshal(data, &m) != nil || !strings.HasPrefix(m.Version, "v") {
		return ""
	}
	return m.Version
}

// clusterConfiguration is what kubeadm makes image names of.
type clusterConfiguration struct {
	Kind              string
	KubernetesVersion string `yaml:"kubernetesVersion"`
	ImageRepository   string `yaml:"imageRepository"`
	DNS               component
	Etcd              struct {
		Local *component
	}
}

type component struct {
	ImageRepository string `yaml:"imageRepository"`
	ImageTag        string `yaml:"imageTag"`
}

// kubeadm takes the images that kubeadm will pull by its configuration. The
// tags of etcd and CoreDNS are compiled into it unless they are written there.
func (g *gatherer) kubeadm() {
	const source = manifest.Source("the configuration of kubeadm")
	dec := yaml.NewDecoder(bytes.NewReader(g.in.Kubeadm))
	for {
		var c clusterConfiguration
		if err := dec.Decode(&c); err != nil {
			if errors.As(err, new(*yaml.TypeError)) {
				continue // another kind, with fields of other shapes
			}
			return
		}
		if c.Kind != "ClusterConfiguration" || c.ImageRepository == "" || c.KubernetesVersion == "" {
			continue
		}
		want := func(repository, name, tag string) {
			raw := repository + "/" + name + ":" + tag
			ref, err := manifest.ParseReference(raw)
			if err != nil {
				ref = manifest.Reference{}
			}
			g.found = append(g.found, discover.Found{Ref: ref, Raw: raw, Class: discover.Required, Source: source})
		}
		// A tag cannot hold the + of a version; kubeadm writes _ for it.
		tag := strings.ReplaceAll(c.KubernetesVersion, "+", "_")
		for _, name := range []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"} {
			want(c.ImageRepository, name, tag)
		}
		if c.DNS.ImageTag != "" {
			want(or(c.DNS.ImageRepository, c.ImageRepository), "coredns", c.DNS.ImageTag)
		}
		if l := c.Etcd.Local; l != nil && l.ImageTag != "" {
			want(or(l.ImageRepository, c.ImageRepository), "etcd", l.ImageTag)
		}
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
