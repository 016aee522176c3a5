package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"

	"bundle/install/node/agent"
)

// nodeCmd holds what an install runs on its hosts. It is hidden: people use
// bundle install.
func (a *app) nodeCmd() *cobra.Command {
	c := &cobra.Command{
		Use:     "node",
		Short:   "What an install runs on each host",
		Example: "  bundle node rootfs --help",
		Hidden:  true,
		Args:    cobra.NoArgs,
	}
	c.AddCommand(a.nodeRootfsCmd(), a.nodeFilesCmd())
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
	return c
}

func (a *app) nodeRootfsCmd() *cobra.Command {
	var (
		o           agent.Options
		d           string
		credentials string
	)
	c := &cobra.Command{
		Use:   "rootfs --registry URL --ref bundle/NAME:VERSION --digest sha256:HEX --to DIR",
		Short: "Bring the root file system from the registry to this host",
		Example: `  bundle node rootfs --registry https://sea.hub:5000 --ca /var/lib/bundle/tls/ca.crt \
    --ref bundle/cnstack-ce:1.1.0 --digest sha256:… --to /var/lib/sealer/data/my-cluster/rootfs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.output = "json"
			o.Digest = digest.Digest(d)
			if credentials != "" {
				if err := a.readCredentials(credentials, &o); err != nil {
					return err
				}
			}
			// The registry is on the site; a proxy is for what is not.
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
				_ = os.Unsetenv(name)
			}
			var done, total atomic.Int64
			o.Progress = func(d, t int64) { done.Store(d); total.Store(t) }
			stop := a.startMeter("rootfs", "bytes", func() sample { return sample{Done: done.Load(), Total: total.Load()} })
			r, err := agent.Pull(cmd.Context(), o)
			stop()
			if err != nil {
				return err
			}
			return json.NewEncoder(a.stdout).Encode(r)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Registries, "registry", nil, "URL of a registry that serves the bundle; several are asked in order")
	f.StringVar(&o.CAFile, "ca", "", "certificate authorities of the registry, PEM")
	f.StringVar(&credentials, "credentials", "", `JSON file {"username":…,"password":…}; - is standard input`)
	f.StringVar(&o.Ref, "ref", "", "bundle/NAME:VERSION")
	f.StringVar(&d, "digest", "", "digest of the bundle's own manifest")
	f.StringVar(&o.To, "to", "", "where the root file system shall be")
	return c
}

func (a *app) nodeFilesCmd() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use:     "files --to DIR",
		Short:   "Lay the site's own files, a tar on standard input, over the root file system",
		Example: "  tar -cf - etc | bundle node files --to /var/lib/sealer/data/my-cluster/rootfs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.output = "json"
			r, err := agent.Files(cmd.Context(), to, a.stdin)
			if err != nil {
				return err
			}
			return json.NewEncoder(a.stdout).Encode(r)
		},
	}
	c.Flags().StringVar(&to, "to", "", "where the root file system is")
	return c
}

// readCredentials reads user and password from a file, or from standard input.
func (a *app) readCredentials(name string, o *agent.Options) error {
	in := a.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return usageError{fmt.Errorf("the credentials of the registry cannot be read: %w", err)}
		}
		defer f.Close()
		in = f
	}
	var c struct {
		Username string `json:"username"`
		Password string `json:"password"`
	}
	if err := json.NewDecoder(io.LimitReader(in, 64<<10)).Decode(&c); err != nil {
		return usagef("%s holds no credentials like {\"username\":…,\"password\":…}", name)
	}
	o.Username, o.Password = c.Username, c.Password
	return nil
}
