package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/internal/catalogue"
	"bundle/manifest"
	"bundle/pack"
	"bundle/registry/serve"
)

func (a *app) serveCmd() *cobra.Command {
	var (
		t                    trust
		o                    serve.Options
		addr, tlsMode        string
		tlsCert, tlsKey, dir string
		names                []string
	)
	c := &cobra.Command{
		Use:   "serve BUNDLE...",
		Short: "Run the registry straight out of the file",
		Long: `Run the registry straight out of the file: nothing is unpacked, and no blob is
copied to disk. Images answer under the name they had upstream, with and without
its host; containerd's ?ns= is understood. What leaves is checked against its
digest, and a connection that would carry damage is cut. In a browser the address
shows what can be pulled, and by which commands.

A delta is served together with its base: name both, in any order.`,
		Example: `  bundle serve cnstack-ce-1.1.0.tar.zst --key ci.pub
  bundle serve base.tar.zst apps.tar.zst --key ci.pub --addr 0.0.0.0:5000 --tls auto --htpasswd users
  bundle serve cnstack-ce-1.1.0.tar.zst cnstack-ce-1.2.0-delta.tar.zst --key ci.pub
  bundle serve b.tar.zst --key ci.pub --addr 127.0.0.1:0 -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var bundles []serve.Bundle
			readers, done, err := a.openAll(ctx, &t, args)
			defer done()
			if err != nil {
				return err
			}
			for _, r := range readers {
				bundles = append(bundles, serve.Bundle{Name: r.Path(), Content: serve.Archive(r)})
			}
			if err := t.remember(); err != nil {
				return err
			}
			var ca string
			if o.TLS, ca, err = tlsConfig(tlsMode, tlsCert, tlsKey, dir, names); err != nil {
				return err
			}
			o.Logger = a.logger()
			var srv *serve.Server
			o.Home = catalogue.New(catalogue.Options{
				Bundles: servedBundles(readers, &t), Protected: o.Htpasswd != "", Writable: o.Writable != "", CA: ca,
				Problems: func(ctx context.Context) map[string]string { return srv.Problems(ctx) },
			})
			srv, err = serve.New(bundles, o)
			if err != nil {
				return err
			}
			defer srv.Close()
			for _, w := range srv.Warnings() {
				fmt.Fprintf(a.stderr, "warning: %s\n", w)
			}
			var lc net.ListenConfig
			ln, err := lc.Listen(ctx, "tcp", addr)
			if err != nil {
				return hint(fmt.Errorf("the registry cannot listen on %s: %w", addr, err), "choose another --addr; port 0 picks a free one")
			}
			a.announce(ln.Addr().String(), o.TLS, ca, len(srv.Repositories()))
			return srv.Serve(ctx, ln)
		},
	}
	t.flags(c)
	f := c.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:5000", "HOST:PORT to listen on; port 0 picks one")
	f.StringVar(&tlsMode, "tls", "off", "auto|off: auto makes a CA and a certificate on first use")
	f.StringVar(&tlsCert, "tls-cert", "", "certificate, PEM")
	f.StringVar(&tlsKey, "tls-key", "", "its key, PEM")
	f.StringVar(&dir, "tls-dir", "", "where --tls auto keeps its CA (default: the user's configuration folder)")
	f.StringArrayVar(&names, "tls-name", nil, "further name or address of this host for --tls auto; repeatable")
	f.StringVar(&o.Htpasswd, "htpasswd", "", "file of users with bcrypt passwords; without it everybody may pull")
	f.StringVar(&o.Writable, "writable", "", "folder that takes pushes; without it the registry is read-only")
	f.StringArrayVar(&o.LocalNames, "local-name", nil, "registry name that means this server and no upstream, besides sea.hub:5000; repeatable")
	c.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	a.outputFlag(c, "text", "json")
	return c
}

// servedBundles are the bundles as the registry's page shows them.
func servedBundles(readers []*archive.Reader, t *trust) []catalogue.Bundle {
	list := make([]catalogue.Bundle, 0, len(readers))
	state := catalogue.Unchecked
	switch {
	case t.skip:
		state = catalogue.Skipped
	case t.given(): // or they would not be open
		state = catalogue.Verified
	}
	for _, r := range readers {
		list = append(list, catalogue.Bundle{
			File: filepath.Base(r.Path()), IndexDigest: r.IndexDigest(), Size: r.Size(), Trust: state,
			Contents: func() (*manifest.Contents, error) {
				c, _, err := pack.ReadContents(r)
				return c, err
			},
		})
	}
	return list
}

func tlsConfig(mode, cert, key, dir string, names []string) (*tls.Config, string, error) {
	switch {
	case cert != "":
		c, err := serve.LoadCertificate(cert, key)
		if err != nil {
			return nil, "", usageError{err}
		}
		return c, "", nil
	case mode == "auto":
		if dir == "" {
			base, err := os.UserConfigDir()
			if err != nil {
				return nil, "", hint(usageError{err}, "say where with --tls-dir")
			}
			dir = filepath.Join(base, "bundle", "tls")
		}
		return serve.OwnCertificate(dir, names)
	case mode == "off":
		return nil, "", nil
	}
	return nil, "", usagef("--tls %q is neither auto nor off", mode)
}

// announce says where the registry answers; programs read the first line.
func (a *app) announce(addr string, t *tls.Config, ca string, repositories int) {
	url := "http://" + addr
	if t != nil {
		url = "https://" + addr
	}
	if a.output == "json" {
		_ = json.NewEncoder(a.stdout).Encode(struct {
			Addr string `json:"addr"`
			URL  string `json:"url"`
			CA   string `json:"ca,omitempty"`
		}{addr, url, ca})
		return
	}
	fmt.Fprintf(a.stdout, "serving %d repositories on %s\n", repositories, url)
	if ca != "" {
		fmt.Fprintf(a.stderr, "clients trust it with %s\n", ca)
	}
	a.next("open " + url + " in a browser: it lists what can be pulled, each with its command")
}
