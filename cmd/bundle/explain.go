package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bundle/internal/page"
)

func (f *fault) in(lang page.Lang) faultText {
	if lang == page.Chinese {
		return f.zh
	}
	return f.en
}

// explain adds to an error what the catalogue knows: its name, and what to do
// where the error itself does not say. In Chinese the message gets a headline
// that its reader understands; the details stay as they are.
func (a *app) explain(o *errorObject, err error) {
	f := faultOf(err)
	if f == nil || codeNames[exitInterrupted] == o.Code {
		return
	}
	o.ID = f.id
	text := f.in(a.language())
	if a.language() == page.Chinese {
		o.Message = strings.TrimSuffix(text.what, "。") + "：" + o.Message
		o.Hint = strings.TrimSpace(text.cure + "\n" + o.Hint)
		return
	}
	if o.Hint == "" {
		o.Hint = fmt.Sprintf("%s (more: bundle explain %s)", text.cure, f.id)
	}
}

func (a *app) explainCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "explain [ERROR]",
		Short: "Say what an error means and what to do; lists all errors without a name",
		Long: `Say what an error means, why it happens and what to do. ERROR is the name that
the hint of an error ends with, and error.id with -o json. Needs no network: all
of docs/errors.md is in the program.`,
		Example: "  bundle explain damaged\n  bundle explain host-key --lang zh",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var ids []string
			for _, f := range faults {
				ids = append(ids, f.id+"\t"+f.in(a.language()).what)
			}
			return ids, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			lang := a.language()
			if len(args) == 0 {
				for i := range faults {
					fmt.Fprintf(a.stdout, "%-22s %s\n", faults[i].id, faults[i].in(lang).what)
				}
				return nil
			}
			for i := range faults {
				if faults[i].id == args[0] {
					faults[i].print(a.stdout, lang)
					return nil
				}
			}
			return hint(usagef("%q is not the name of an error", args[0]), "bundle explain lists all names")
		},
	}
}

// print writes an entry for a terminal.
func (f *fault) print(w io.Writer, lang page.Lang) {
	text := f.in(lang)
	why, cure := "Why", "What to do"
	if lang == page.Chinese {
		why, cure = "原因", "处理"
	}
	fmt.Fprintf(w, "%s (exit %d)\n\n%s\n  %s\n\n%s\n  %s\n", text.what, f.exit, why, text.why, cure, text.cure)
}
