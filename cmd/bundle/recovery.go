package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"bundle/archive"
	"bundle/archive/recovery"
	"bundle/verify"
)

func (a *app) recoveryCmd() *cobra.Command {
	var size string
	c := &cobra.Command{
		Use:   "recovery FILE...",
		Short: "Write recovery data beside a bundle, for media that go bad",
		Long: `Write recovery data beside a bundle: FILE.recovery, with which bundle repair mends
bad sectors of FILE on site, without the source. It is of the size that is asked
for, in percent of FILE, and makes up for about as much damage, also to itself.

Of a bundle in volumes name all: each gets its own. A signature that is added
later makes another file of it: write the recovery data anew after that.`,
		Example: `  bundle recovery cnstack-ce-1.1.0.tar.zst
  bundle recovery cnstack-ce-1.1.0.tar.zst.0* --size 5%`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			percent, err := parsePercent(size)
			if err != nil {
				return usagef("--size %v", err)
			}
			if err := a.writeRecovery(cmd.Context(), args, percent, true); err != nil {
				return err
			}
			fmt.Fprintln(a.stderr, "carry it along, best on another medium; where the file arrives damaged:")
			a.next(typed([]string{"repair", args[0]}))
			return nil
		},
	}
	c.Flags().StringVar(&size, "size", "2%", "of the recovery data, in percent of FILE: 0.5% to 25%")
	return c
}

// parsePercent reads "2%", or "2".
func parsePercent(s string) (float64, error) {
	p, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(p >= recovery.MinPercent && p <= recovery.MaxPercent) {
		return 0, fmt.Errorf("%q is no share of the file: it is %g%% to %g%%", s, recovery.MinPercent, float64(recovery.MaxPercent))
	}
	return p, nil
}

// writeRecovery writes the recovery data of files; tell prints their names.
func (a *app) writeRecovery(ctx context.Context, files []string, percent float64, tell bool) error {
	for _, file := range files {
		fi, err := os.Stat(file)
		if errors.Is(err, fs.ErrNotExist) {
			return openError(file, err)
		}
		if err != nil {
			return err
		}
		var done atomic.Int64
		stop := a.startMeter("recovery", "bytes", func() sample { return sample{Done: done.Load(), Total: fi.Size()} })
		size, err := recovery.Write(ctx, file, percent, func(n int) { done.Add(int64(n)) })
		stop()
		if err != nil {
			return fmt.Errorf("the recovery data of %s cannot be written: %w", file, err)
		}
		if tell {
			fmt.Fprintf(a.stdout, "%s  %s\n", file+recovery.Suffix, formatSize(size))
		}
	}
	return nil
}

func (a *app) repairCmd() *cobra.Command {
	var from string
	c := &cobra.Command{
		Use:   "repair FILE",
		Short: "Mend bad sectors of a bundle with its recovery data",
		Long: `Mend a bundle that came damaged with the recovery data beside it (bundle recovery,
bundle build --recovery). FILE is mended in place, and only if all of the damage
can be; then all of it is verified once more. A repair that was interrupted is
simply run again. A bundle that is whole is not touched.

The recovery data need not be trusted, and nothing is said of signatures: that is
for bundle verify. Where too much is damaged, bundle verify --want and bundle
patch fetch what is.`,
		Example: `  bundle repair cnstack-ce-1.1.0.tar.zst
  bundle repair /media/usb/cnstack-ce-1.1.0.tar.zst.002 --from backup/cnstack-ce-1.1.0.tar.zst.002.recovery`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				from = args[0] + recovery.Suffix
			}
			return a.repair(cmd.Context(), args[0], from)
		},
	}
	c.Flags().StringVar(&from, "from", "", "the recovery data (default FILE.recovery)")
	return c
}

func (a *app) repair(ctx context.Context, file, from string) error {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return openError(file, err)
	}
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return hint(usagef("%s does not exist", from), "name the recovery data with --from; without any, bundle verify --want FILE and bundle patch fetch what is damaged")
	}
	// Recovery data that is not for this file must not spoil one that is whole.
	damage, err := a.damageOf(ctx, file)
	if err != nil {
		return err
	}
	if damage == nil {
		fmt.Fprintf(a.stdout, "%s: nothing is damaged\n", file)
		return nil
	}
	var done atomic.Int64
	stop := a.startMeter("repair", "bytes", func() sample { return sample{Done: done.Load()} })
	res, err := recovery.Repair(ctx, file, from, func(n int) { done.Add(int64(n)) })
	stop()
	const patch = "bundle verify %s --want FILE lists what is damaged, and bundle patch at the source sends just that"
	switch {
	case errors.Is(err, recovery.ErrTooMuch):
		return hint(fmt.Errorf("%w\n%w", err, damage), patch, file)
	case err != nil:
		return err
	}
	if damage, err = a.damageOf(ctx, file); err != nil {
		return err
	}
	if damage != nil {
		return hint(fmt.Errorf("%s is still damaged, so %s is not of this file: %w", file, from, damage), patch, file)
	}
	fmt.Fprintf(a.stdout, "%s: mended, %d blocks, %s\n", file, res.Blocks, formatSize(res.Bytes))
	a.next(typed([]string{"verify", file, "--key", "PUB"}))
	return nil
}

// damageOf verifies the content of a file, and gives what is damaged of it.
// Whose it is, and what it leans on, is not asked.
func (a *app) damageOf(ctx context.Context, file string) (damage, err error) {
	reports, err := a.verifyFiles(ctx, []string{file}, verify.Options{SkipSignature: true})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, verify.ErrDamaged) && len(reports) == 1:
		text := ""
		for _, p := range reports[0].Content.Problems {
			if p.Kind != verify.ProblemMissing {
				text += "\n  " + p.String()
			}
		}
		return fmt.Errorf("%w:%s", verify.ErrDamaged, text), nil
	case len(reports) == 0 && (errors.As(err, new(*archive.Error)) || errors.As(err, new(usageError))):
		// Not even its beginning is that of a bundle.
		return err, nil
	case len(reports) == 0:
		return nil, err
	}
	return nil, nil
}
