package install

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"bundle/install/preflight"
	"bundle/install/rehearse"
	"bundle/manifest/kubeadm"
)

// gathers bounds how many hosts are looked at at once.
const gathers = 16

// Needs is what the install asks of the hosts. inPlace tells that the bundle is
// served from where it lies, if master0 is this machine. The node ports that
// services take are known after a rehearsal.
func (j *Job) Needs(inPlace bool) preflight.Needs {
	in := preflight.Inputs{
		Contents: j.Bundle.Contents, Cluster: j.Cluster, Steps: j.Plan.Steps, KubeVersion: j.kubeVersion(),
		InPlace: inPlace, NodePorts: j.nodePorts,
	}
	for _, b := range j.Bundles {
		in.BundleSize += b.Size
	}
	return preflight.NeedsOf(in)
}

// kubeVersion is what the image says that it installs; empty if it does not.
func (j *Job) kubeVersion() string {
	data, err := fs.ReadFile(j.Rootfs, kubeadm.MetadataPath)
	if err != nil {
		return ""
	}
	m, err := kubeadm.ParseMetadata(data)
	if err != nil {
		return ""
	}
	return m.Version
}

// Preflight looks at every host and touches nothing.
func (s *Session) Preflight(ctx context.Context) (preflight.Report, error) {
	needs := s.job.Needs(s.o.InPlace)
	needs.Resuming, needs.Ignore = s.o.Resuming, s.o.Ignore
	facts := make([]preflight.HostFacts, len(s.job.Cluster.Hosts))
	sem := make(chan struct{}, gathers)
	for i, h := range s.job.Cluster.Hosts {
		sem <- struct{}{}
		go func() {
			defer func() { <-sem }()
			facts[i] = s.gather(ctx, h.Address, needs.Query(h.Address))
		}()
	}
	for range gathers {
		sem <- struct{}{}
	}
	if err := ctx.Err(); err != nil {
		return preflight.Report{}, err
	}
	return preflight.Judge(needs, facts), nil
}

func (s *Session) gather(ctx context.Context, address string, q preflight.Query) preflight.HostFacts {
	h, err := s.hosts.Get(ctx, address)
	if err != nil {
		return preflight.HostFacts{Host: address, Err: err}
	}
	f, err := preflight.Gather(ctx, h, q)
	return preflight.HostFacts{Host: address, Facts: f, Err: err}
}

// RehearseOptions say how thorough a rehearsal is.
type RehearseOptions struct {
	// Full reads and hashes every byte of every layer.
	Full bool
	// Jobs bounds how many images are pulled at once; 0 is the default of
	// package rehearse.
	Jobs int
	// Progress, if set, is told of each image that was pulled.
	Progress func(done, total int, item string)
}

// Rehearse pulls everything that the install will ask for from the bundles'
// own registry, on loopback.
func (j *Job) Rehearse(ctx context.Context, o RehearseOptions) (*rehearse.Report, error) {
	in := rehearse.Input{
		Bundles: j.packed(), Contents: j.Bundle.Contents, Files: j.Rootfs, Rootfs: j.Cluster.Rootfs(), Steps: j.Plan.Steps,
		KubeVersion: j.kubeVersion(), Full: o.Full, Jobs: o.Jobs, Progress: o.Progress,
	}
	if url := j.Cluster.Registry.URL(); !slices.Contains(in.Local, url) {
		in.Local = append(in.Local, url)
	}
	c, err := kubeadm.Init(j.kubeadm(), kubeadm.Host{Address: j.Cluster.Hosts[0].Address, HostName: "master0"})
	switch {
	case err == nil:
		in.Kubeadm = c.Text
	case !errors.Is(err, kubeadm.ErrVersion):
		return nil, err
	}
	r, err := rehearse.Run(ctx, in)
	if err == nil {
		j.nodePorts = r.NodePorts
	}
	return r, err
}

// packed are the bundles as the rehearsal reads them.
func (j *Job) packed() (list []rehearse.Bundle) {
	for _, b := range j.Bundles {
		list = append(list, rehearse.Bundle{Name: b.Path, Reader: b.Reader})
	}
	return list
}
