package main

import (
	"io"
	"sync"

	"github.com/spf13/cobra"

	"bundle/install"
)

func (a *app) rehearseCmd() *cobra.Command {
	var (
		t       trust
		s       siteFlags
		o       install.RehearseOptions
		verbose bool
	)
	c := &cobra.Command{
		Use:   "rehearse BUNDLE...",
		Short: "Pull everything an install will ask for, without any host",
		Long: `Hold a dress rehearsal of the install without its hosts: the charts are rendered
with the very values of this Clusterfile, and every image that steps, charts,
manifests and kubeadm will ask for is pulled from the bundle's own registry on
loopback, as a container runtime would. What is missing is named, with the
place that asks for it, and the exit code is 5.`,
		Example: `  bundle rehearse cnstack-ce-1.1.0.tar.zst --key ci.pub -f Clusterfile
  bundle rehearse cnstack-ce-1.1.0.tar.zst --key ci.pub -m 10.0.0.1 --full`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j, done, err := a.load(cmd.Context(), &t, &s, args)
			defer done()
			if err != nil {
				return err
			}
			var look itemCounter
			stop := a.startMeter("rehearse", "items", look.sample)
			o.Progress = look.set
			r, err := j.Rehearse(cmd.Context(), o)
			stop()
			if err != nil {
				return err
			}
			if err := a.tell(j, r, verbose); err != nil {
				return err
			}
			a.next(typed([]string{"preflight"}, args, t.words(), s.words()))
			return nil
		},
	}
	t.flags(c)
	s.flags(c)
	c.Flags().BoolVar(&o.Full, "full", false, "read and hash every byte of every layer, not only its start")
	c.Flags().IntVar(&o.Jobs, "jobs", 0, "images pulled at once (default 4)")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "list every image and note")
	a.outputFlag(c, "text", "json")
	return c
}

// findings are what was found out about a job before it is done.
type findings interface {
	Text(w io.Writer, verbose bool) error
	// Err is nil where nothing stands in the way.
	Err() error
}

// tell prints findings, and fails as they do.
func (a *app) tell(j *install.Job, f findings, verbose bool) error {
	if a.output == "json" {
		if err := a.printJSON(f); err != nil {
			return err
		}
		return quietly(f.Err())
	}
	a.warn(j)
	if err := f.Text(a.stdout, verbose); err != nil {
		return err
	}
	return quietly(f.Err())
}

// quietly marks an error whose story was told already; nil stays nil.
func quietly(err error) error {
	if err == nil {
		return nil
	}
	return silent{err}
}

// itemCounter is progress in items, set by one goroutine and sampled by
// another.
type itemCounter struct {
	mu sync.Mutex
	s  sample
}

func (c *itemCounter) set(done, total int, item string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s = sample{Done: int64(done), Total: int64(total), Item: item}
}

func (c *itemCounter) sample() sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.s
}
