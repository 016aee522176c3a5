package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bundle/internal/page"
)

// app is what every command shares: where to print, and the global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	output    string
	progress  string
	logLevel  string
	logFormat string
	lang      page.Lang

	board statusBoard
}

const rootLong = `bundle packs image lists, Helm charts and a Kubefile context into one signed
.tar.zst that contains its own registry, and proves, serves and pushes it where
there is no network.

Connected side:  bundle keygen · bundle build · bundle sign
Either side:     bundle verify · inspect · images · charts · files · steps · why · diff · extract · merge · inventory · patch · explain
Target side:     bundle serve · push · plan · preflight · rehearse · install · status · check · clean · doctor

Exit codes:
    0  done
    1  failed: network, I/O or a step
    2  usage, or a bad input file
    3  damaged: the bytes are not what was signed
    4  untrusted: no, a wrong, an expired or too few signatures
    5  incomplete: something required is not in the bundle
  130  interrupted`

// Main runs one command line and gives its exit code.
func Main(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	a.board.started = time.Now()
	defer a.watchStatus()()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if a.output == "" { // flags were never parsed
		a.output = outputFromArgs(args)
	}
	return a.reportError(ctx, err)
}

func outputFromArgs(args []string) string {
	for i, arg := range args {
		if v, ok := strings.CutPrefix(arg, "--output="); ok && v == "json" || arg == "-ojson" {
			return "json"
		}
		if arg == "-o" && i+1 < len(args) && args[i+1] == "json" {
			return "json"
		}
	}
	return "text"
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "bundle",
		Short:         "One signed file that carries a platform across the air gap",
		Long:          rootLong,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if err := a.checkGlobal(); err != nil {
				return err
			}
			// Libraries log through the defaults.
			slog.SetDefault(a.logger())
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.progress, "progress", "auto", "auto|tty|plain|json|none: how to show progress on stderr")
	f.StringVar(&a.logLevel, "log-level", "warn", "debug|info|warn|error")
	f.StringVar(&a.logFormat, "log-format", "text", "text|json")
	f.Var((*langFlag)(&a.lang), "lang", "en|zh: language of pages and of what errors mean (default: by LC_ALL, LC_MESSAGES, LANG)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint(usageError{err}, "%s --help shows the flags and an example", cmd.CommandPath())
	})
	root.AddCommand(
		a.buildCmd(), a.keygenCmd(), a.signCmd(),
		a.verifyReceiptCmd(),
		a.verifyCmd(), a.inspectCmd(), a.imagesCmd(), a.chartsCmd(), a.filesCmd(), a.stepsCmd(),
		a.whyCmd(), a.diffCmd(), a.extractCmd(), a.mergeCmd(), a.inventoryCmd(), a.patchCmd(), a.recoveryCmd(), a.repairCmd(),
		a.serveCmd(), a.pushCmd(), a.pullCmd(),
		a.preflightCmd(), a.planCmd(), a.rehearseCmd(), a.installCmd(), a.statusCmd(), a.checkCmd(), a.cleanCmd(), a.doctorCmd(),
		a.nodeCmd(), a.explainCmd(), a.selftestCmd(), a.versionCmd(), a.docsCmd(),
	)
	completions(root)
	for _, c := range root.Commands() {
		wrapArgs(c)
		completions(c)
	}
	return root
}

// wrapArgs turns cobra's complaints about arguments into usage errors.
func wrapArgs(c *cobra.Command) {
	check := c.Args
	if check == nil {
		return
	}
	c.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return hint(usageError{err}, "usage: %s", cmd.UseLine())
		}
		return nil
	}
}

// langFlag is --lang.
type langFlag page.Lang

func (l *langFlag) String() string { return string(*l) }
func (l *langFlag) Type() string   { return "en|zh" }
func (l *langFlag) Set(s string) error {
	lang, err := page.ParseLang(s)
	*l = langFlag(lang)
	return err
}

// language is what the user asked for, or what the environment says.
func (a *app) language() page.Lang {
	if a.lang != "" {
		return a.lang
	}
	return page.LocaleLang(os.Getenv)
}

func (a *app) checkGlobal() error {
	if !slices.Contains([]string{"auto", "tty", "plain", "json", "none"}, a.progress) {
		return usagef("--progress %q is not one of auto, tty, plain, json, none", a.progress)
	}
	if !slices.Contains([]string{"text", "json"}, a.logFormat) {
		return usagef("--log-format %q is not one of text, json", a.logFormat)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usagef("--log-level %q is not one of debug, info, warn, error", a.logLevel)
	}
	return nil
}

// logger gives the log that goes to stderr.
func (a *app) logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(a.logLevel)) // checked in checkGlobal
	o := &slog.HandlerOptions{Level: level}
	if a.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, o))
	}
	return slog.New(slog.NewTextHandler(a.stderr, o))
}

// outputFlag adds -o with the formats a command knows.
func (a *app) outputFlag(c *cobra.Command, formats ...string) {
	c.Flags().StringVarP(&a.output, "output", "o", "text", strings.Join(formats, "|"))
	check := c.PreRunE
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, a.output) {
			return usagef("-o %q is not one of %s", a.output, strings.Join(formats, ", "))
		}
		if check != nil {
			return check(cmd, args)
		}
		return nil
	}
}

// printJSON writes one document to stdout.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// isTerminal tells whether w is a terminal that can move its cursor.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

var errNoTerminal = errors.New("there is no terminal to ask on")
