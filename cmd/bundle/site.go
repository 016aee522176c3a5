package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"bundle/install"
	"bundle/install/plan"
	"bundle/manifest"
	"bundle/manifest/cluster"
)

// siteFlags say what the cluster is: a Clusterfile, or sealer's short form.
type siteFlags struct {
	file           string
	masters, nodes []string
	user, password string
	key, keyPass   string
	port           int
	env, set       []string
	values         []string
}

// flags adds the flags to a command; bundleless commands have no short form.
func (s *siteFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&s.file, "file", "f", "", "Clusterfile, of any sealer version")
	f.StringSliceVarP(&s.masters, "masters", "m", nil, "addresses of masters, the first one first; A-B is a range")
	f.StringSliceVarP(&s.nodes, "nodes", "n", nil, "addresses of the other nodes")
	f.StringVarP(&s.user, "user", "u", "", "who logs in on the hosts (default root)")
	f.StringVarP(&s.password, "passwd", "p", "", "SSH password; better in BUNDLE_SSH_PASSWORD, where no other user sees it")
	f.StringVar(&s.key, "ssh-key", "", "SSH private key (default: the agent's and ~/.ssh/id_*)")
	f.StringVar(&s.keyPass, "ssh-key-passwd", "", "its passphrase; better in BUNDLE_SSH_KEY_PASSWORD")
	f.IntVar(&s.port, "port", 0, "SSH port (default 22)")
	f.StringArrayVarP(&s.env, "env", "e", nil, "NAME=VALUE: variable for scripts and templates; repeatable")
	f.StringArrayVar(&s.set, "set", nil, "NAME=VALUE: fills in a placeholder such as $MASTER_IP_1 or #DataDiskDeviceName#; repeatable")
	f.StringArrayVar(&s.values, "values", nil, "YAML file of NAME: VALUE, as --set; repeatable")
}

// maxValues bounds a file of --values, in bytes.
const maxValues = 1 << 20

// options gives what install.Load wants.
func (s *siteFlags) options() (install.LoadOptions, error) {
	o := install.LoadOptions{Clusterfile: s.file, Cluster: cluster.Options{Masters: s.masters, Nodes: s.nodes, Env: s.env, Set: map[string]string{}}}
	if s.file == "" && len(s.masters) == 0 {
		return o, hint(usagef("nothing says which hosts are meant"), "give -f Clusterfile, or sealer's short form: -m IP[,IP] -n IP[,IP] -u USER -p PASSWORD")
	}
	o.Cluster.SSH = cluster.SSH{
		User: s.user, Port: s.port, KeyFile: s.key,
		Password:    cluster.Secret(orEnv(s.password, "BUNDLE_SSH_PASSWORD")),
		KeyPassword: cluster.Secret(orEnv(s.keyPass, "BUNDLE_SSH_KEY_PASSWORD")),
	}
	for _, p := range s.values {
		if err := readValues(p, o.Cluster.Set); err != nil {
			return o, err
		}
	}
	for _, kv := range s.set {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || name == "" {
			return o, usagef("--set %q is not NAME=VALUE", kv)
		}
		o.Cluster.Set[strings.Trim(name, "${}#")] = value
	}
	return o, nil
}

// orEnv gives the value of a flag, or of an environment variable where the
// flag was not given.
func orEnv(value, name string) string {
	if value != "" {
		return value
	}
	return os.Getenv(name)
}

// readValues reads a flat YAML map into set.
func readValues(p string, set map[string]string) error {
	data, err := readLimited(p, maxValues)
	if err != nil {
		return usageError{err}
	}
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil && !errors.Is(err, io.EOF) {
		return usagef("%s is not a map of NAME: VALUE: %s", p, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	for name, node := range doc {
		if node.Kind != yaml.ScalarNode {
			return usagef("%s:%d: the value of %s is not a plain text", p, node.Line, name)
		}
		set[name] = node.Value
	}
	return nil
}

// load opens bundles and reads the site. The caller closes the bundles by the
// function it gets, also after an error.
func (a *app) load(ctx context.Context, t *trust, s *siteFlags, paths []string) (*install.Job, func(), error) {
	o, err := s.options()
	if err != nil {
		return nil, func() {}, err
	}
	readers, done, err := a.openAll(ctx, t, paths)
	if err != nil {
		return nil, done, err
	}
	var bundles []*install.Bundle
	for _, r := range readers {
		b, err := install.OpenBundle(r)
		if err != nil {
			return nil, done, err
		}
		bundles = append(bundles, b)
	}
	j, err := install.Load(ctx, bundles, o)
	return j, done, err
}

// warn prints the oddities of a job's inputs and of its plan, each once.
func (a *app) warn(j *install.Job, more ...plan.Warning) {
	said := map[string]bool{}
	say := func(source manifest.Source, text string) {
		line := text
		if source != "" {
			line = string(source) + ": " + text
		}
		if !said[line] {
			said[line] = true
			fmt.Fprintf(a.stderr, "warning: %s\n", line)
		}
	}
	for _, w := range j.Warnings {
		say(w.Source, w.Text)
	}
	for _, w := range more {
		say(w.Source, w.Text)
	}
}
