package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/install"
	"bundle/install/support"
	"bundle/manifest/cluster"
)

// secretVars are what users give secrets in.
var secretVars = append([]string{"BUNDLE_SSH_PASSWORD", "BUNDLE_SSH_KEY_PASSWORD"}, passwordVars...)

func (a *app) doctorCmd() *cobra.Command {
	var file, name, state, out string
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Gather what helpers need into one archive, without secrets",
		Long: `Write one .tar.gz with what somebody far away needs to help: what the journal
says, the end of every host's log, the Clusterfile, and what kind of machine this
is. Passwords, tokens and keys are left out; a README in it says so. No host is
contacted. Look through the archive before you give it away.`,
		Example: `  bundle doctor -f Clusterfile
  bundle doctor --name my-cluster --to support.tar.gz`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			name, dir, err := a.findState(file, name, state)
			if err != nil {
				return err
			}
			now := time.Now()
			if out == "" {
				out = fmt.Sprintf("bundle-support-%s-%s.tar.gz", name, now.Format("20060102-150405"))
			}
			o := support.Options{Cluster: name, State: dir, Clusterfile: file, Version: fmt.Sprintf("bundle %s (format %d, %s, %s/%s)\n", version, archive.FormatVersion, runtime.Version(), runtime.GOOS, runtime.GOARCH), Now: now}
			for _, v := range secretVars {
				o.Secrets = append(o.Secrets, os.Getenv(v))
			}
			if file != "" {
				o.Secrets = append(o.Secrets, clusterSecrets(file)...)
			}
			entries, err := writeSupport(out, o)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.printJSON(map[string]any{"file": out, "entries": entries})
			}
			fmt.Fprintln(a.stdout, out)
			for _, e := range entries {
				switch {
				case e.Missing != "":
					fmt.Fprintf(a.stderr, "  %-24s %s\n", e.Name, e.Missing)
				case e.Redacted > 0:
					fmt.Fprintf(a.stderr, "  %-24s %s, %d lines redacted\n", e.Name, formatSize(e.Size), e.Redacted)
				default:
					fmt.Fprintf(a.stderr, "  %-24s %s\n", e.Name, formatSize(e.Size))
				}
			}
			a.next("look through it (tar -xzf " + filepath.Base(out) + "), then give it to who helps you")
			return nil
		},
	}
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "Clusterfile that names the cluster; it is put in, without passwords")
	f.StringVar(&name, "name", cluster.DefaultName, "name of the cluster")
	f.StringVar(&state, "state", "", "folder of the cluster's journal, if it is not the default one")
	f.StringVar(&out, "to", "", "file to write (default bundle-support-CLUSTER-TIME.tar.gz)")
	a.outputFlag(c, "text", "json")
	return c
}

// clusterSecrets are the passwords of a Clusterfile: what a host printed may
// have one, too. Of a file that cannot be read there are none.
func clusterSecrets(file string) (list []string) {
	c, err := install.ReadCluster(install.LoadOptions{Clusterfile: file, Cluster: cluster.Options{AllowNoHosts: true}})
	if err != nil {
		return nil
	}
	for _, h := range c.Hosts {
		list = append(list, h.SSH.Password.Reveal(), h.SSH.KeyPassword.Reveal())
	}
	return append(list, c.Registry.Password.Reveal())
}

// writeSupport writes the archive, for its owner's eyes alone.
func writeSupport(path string, o support.Options) (entries []support.Entry, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, usagef("%s is there already; remove it or choose another name", path)
	}
	if err != nil {
		return nil, err
	}
	entries, err = support.Write(f, o)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	return entries, nil
}
