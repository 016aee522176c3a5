package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"bundle/install/plan"
	"bundle/install/rehearse"
	"bundle/manifest"
	"bundle/manifest/chart"
	"bundle/manifest/cluster"
	"bundle/manifest/rootfs"
)

// maxClusterfile bounds a Clusterfile, in bytes.
const maxClusterfile = 16 << 20

// ErrInput is wrapped where a Clusterfile, or what the bundle brings for it,
// cannot be used.
var ErrInput = errors.New("input is not usable")

// LoadOptions say what to install where. Either Clusterfile is set, or
// Cluster.Masters for the short form.
type LoadOptions struct {
	// Clusterfile is its path.
	Clusterfile string
	// Cluster is what the command line adds.
	Cluster cluster.Options
}

// Job is a bundle and a cluster, read and planned; nothing was touched yet.
type Job struct {
	// Bundles are all that are to be served, Bundle is the last of them: the
	// one that is installed.
	Bundles []*Bundle
	Bundle  *Bundle
	Cluster *cluster.Cluster
	// Changed is what the Clusterfile changes in the root file system.
	Changed rootfs.Result
	// Rootfs is the root file system as the hosts will have it.
	Rootfs *rootfs.FS
	// Plugins are those of the image.
	Plugins []cluster.Plugin
	// Plan is the install, Clean the way back.
	Plan, Clean *plan.Plan
	// Warnings are those of the inputs; those of the plan are in it.
	Warnings []cluster.Warning

	known     *Record
	nodePorts []int
}

// ReadCluster reads the Clusterfile, or makes the cluster of the short form.
func ReadCluster(o LoadOptions) (*cluster.Cluster, error) {
	if o.Clusterfile == "" {
		short := o.Cluster
		short.Masters, short.Nodes = nil, nil
		return cluster.Short(o.Cluster.Masters, o.Cluster.Nodes, short)
	}
	f, err := os.Open(o.Clusterfile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no Clusterfile %s", ErrInput, o.Clusterfile)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if info.Size() > maxClusterfile {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than the %d that a Clusterfile may have", ErrInput, o.Clusterfile, info.Size(), maxClusterfile)
	}
	return cluster.Parse(o.Clusterfile, f, o.Cluster)
}

// Load reads the inputs and computes the plan. bundles are opened, the one to
// install last.
func Load(ctx context.Context, bundles []*Bundle, o LoadOptions) (*Job, error) {
	c, err := ReadCluster(o)
	if err != nil {
		return nil, err
	}
	b := bundles[len(bundles)-1]
	j := &Job{Bundles: bundles, Bundle: b, Cluster: c, Warnings: c.Warnings}
	src := &rootSource{ctx: ctx, b: b}
	env := c.GlobalEnv(b.Contents.Env)
	app := func(name string) map[string]string { return c.AppEnv(name, b.Contents.Env) }
	if j.Changed, err = rootfs.ApplyApps(src, c.Configs, env, app); err != nil {
		return nil, err
	}
	j.Warnings = append(j.Warnings, j.Changed.Warnings...)
	j.Rootfs = rootfs.View(src, j.Changed)
	if err := j.readPlugins(o.Cluster.Set); err != nil {
		return nil, err
	}
	in := plan.Input{Contents: b.Contents, Cluster: c, Plugins: j.Plugins, IndexDigest: b.IndexDigest, Changed: map[string]digest.Digest{}}
	for _, f := range j.Changed.Files {
		in.Changed[f.Path] = digest.FromBytes(f.Data)
	}
	if j.Plan, err = plan.Make(in); err != nil {
		return nil, err
	}
	if j.Clean, err = plan.CleanPlan(in); err != nil {
		return nil, err
	}
	return j, nil
}

// readPlugins parses the plugin files of the image, in the order of their
// paths. They are read as the Clusterfile's Configs leave them.
func (j *Job) readPlugins(set map[string]string) error {
	var files []string
	for _, f := range j.Bundle.Contents.Files {
		if f.Type == "file" && isPluginFile(f) {
			files = append(files, f.Path)
		}
	}
	for _, f := range j.Changed.Files {
		if isPluginFile(manifest.File{Path: f.Path}) && !slices.Contains(files, f.Path) {
			files = append(files, f.Path)
		}
	}
	slices.Sort(files)
	for _, p := range files {
		data, err := j.Rootfs.ReadFile(p)
		if err != nil {
			return err
		}
		plugins, warnings, err := cluster.ParsePluginsSet(p, data, set)
		if err != nil {
			return err
		}
		j.Plugins = append(j.Plugins, plugins...)
		j.Warnings = append(j.Warnings, warnings...)
	}
	return nil
}

// isPluginFile tells whether sealer read a file as plugins: every file of the
// folder plugin before 0.7, YAML files of plugins since.
func isPluginFile(f manifest.File) bool {
	dir, base := path.Split(f.Path)
	switch dir {
	case "plugin/":
		return !strings.HasPrefix(base, ".")
	case "plugins/":
		return strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml")
	}
	return false
}

// env are the variables that the bundle sets.
func (j *Job) env() []manifest.EnvVar {
	if j.Bundle == nil {
		return j.known.Env
	}
	return j.Bundle.Contents.Env
}

// files is the root file system as an interface that is nil where there is
// none.
func (j *Job) files() fs.FS {
	if j.Rootfs == nil {
		return nil
	}
	return j.Rootfs
}

// chart gives a chart that the bundles hold, and that is not among their files.
func (j *Job) chart(_ context.Context, ref, version string) (*chart.Chart, error) {
	return rehearse.PackedChart(j.packed(), ref, version)
}

// Host gives the cluster's host of that address.
func (j *Job) Host(address string) (cluster.Host, bool) {
	i := slices.IndexFunc(j.Cluster.Hosts, func(h cluster.Host) bool { return h.Address == address })
	if i < 0 {
		return cluster.Host{}, false
	}
	return j.Cluster.Hosts[i], true
}

// Masters gives the addresses of all masters, master0 first.
func (j *Job) Masters() []string {
	var out []string
	for _, h := range j.Cluster.Hosts {
		if h.Master() {
			out = append(out, h.Address)
		}
	}
	return out
}
