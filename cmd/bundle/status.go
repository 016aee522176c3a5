package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"bundle/install"
	"bundle/install/journal"
	"bundle/manifest/cluster"
)

func (a *app) statusCmd() *cobra.Command {
	var file, name, state string
	c := &cobra.Command{
		Use:   "status",
		Short: "What the journal says of an install",
		Long: `Show how far the install of a cluster has got, step by step, as its journal on
this machine says. No host is contacted.`,
		Example: `  bundle status -f Clusterfile
  bundle status --name my-cluster -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			name, dir, err := a.findState(file, name, state)
			if err != nil {
				return err
			}
			records, err := journal.Read(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return hint(fmt.Errorf("nothing was ever installed as %s from this machine", name), "bundle install begins; --name or --state names another cluster")
			}
			if err != nil {
				return err
			}
			r := journal.Fold(records).Report(name, journal.Busy(dir))
			if a.output == "json" {
				return a.printJSON(r)
			}
			if err := r.Text(a.stdout); err != nil {
				return err
			}
			a.afterStatus(r, cmp.Or(file, "Clusterfile"))
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "Clusterfile that names the cluster")
	c.Flags().StringVar(&name, "name", cluster.DefaultName, "name of the cluster")
	c.Flags().StringVar(&state, "state", "", "folder of the cluster's journal, if it is not the default one")
	a.outputFlag(c, "text", "json")
	return c
}

// findState gives the name of a cluster and the folder of what is known of it.
// A Clusterfile, if one is given, names the cluster.
func (a *app) findState(file, name, state string) (string, string, error) {
	if file != "" {
		c, err := install.ReadCluster(install.LoadOptions{Clusterfile: file, Cluster: cluster.Options{AllowNoHosts: true}})
		switch {
		case err == nil:
			name = c.Name
		case !errors.Is(err, cluster.ErrSyntax):
			return "", "", err
		case state == "":
			// Perhaps its placeholders were filled by --set.
			fmt.Fprintf(a.stderr, "warning: %s does not say which cluster it is, so this is about %s; --name or --state names another\n", file, name)
		}
	}
	dir, err := install.StateDir(state, name)
	if err != nil {
		return "", "", usageError{err}
	}
	return name, dir, nil
}

// afterStatus says how a run that is not finished goes on, and what follows one
// that is.
func (a *app) afterStatus(r journal.Report, clusterfile string) {
	switch {
	case r.Outcome == "running":
		return // it says itself what it does
	case r.Outcome == "none", r.Outcome == journal.OK && r.Operation != journal.Install:
		a.next(typed([]string{"install", "BUNDLE", "--key", "PUB", "-f", clusterfile}))
	case r.Outcome == journal.OK:
		a.next(typed([]string{"check", "-f", clusterfile, "-o", "html"}) + " > acceptance.html")
	default:
		a.next(fmt.Sprintf("the same bundle %s command goes on where it stopped", r.Operation))
	}
}
