package main

import (
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// endings are those of the files that flags take.
var endings = map[string][]string{
	"policy": {"yaml", "yml"}, "statement": {"yaml", "yml", "json"}, "values": {"yaml", "yml"},
	"signature": {"json"}, "trusted-root": {"json"}, "want": {"json"}, "registry-config": {"json"},
	"apply": {"zst"}, "ca": {"pem", "crt"}, "tls-cert": {"pem", "crt"}, "tls-key": {"pem", "key"},
	"receipt-key": {"key", "pem"}, "base": {"zst", "json"},
}

// signing are the commands whose --key is a private one.
var signing = map[string]bool{"build": true, "sign": true}

// valueList finds the values that a flag's help lists: a|b|c.
var valueList = regexp.MustCompile(`(?:^|: |\s)([a-z0-9.-]+(?:\|[a-z0-9.-]+)+)(?:[:;,]|$)`)

// takesBundles is how a command is used whose arguments are bundles.
var takesBundles = regexp.MustCompile(`^\S+ (\[?BUNDLE|REF BUNDLE|A B)`)

// values gives what a flag can be, if its help says so.
func values(f *pflag.Flag) []string {
	m := valueList.FindStringSubmatch(f.Usage)
	if m == nil {
		return nil
	}
	return strings.Split(m[1], "|")
}

// fixedValues are the flags of a command whose help lists their values.
func fixedValues(c *cobra.Command) (names []string) {
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if values(f) != nil {
			names = append(names, f.Name)
		}
	})
	return names
}

// completions tells a shell what flags and arguments can be. What a flag can be
// is what its help says.
func completions(c *cobra.Command) {
	complete := func(f *pflag.Flag) {
		ends := endings[f.Name]
		if f.Name == "key" {
			if ends = []string{"pub", "pem"}; signing[c.Name()] {
				ends = []string{"key", "pem"}
			}
		}
		switch list := values(f); {
		case list != nil:
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp))
		case ends != nil:
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(ends, cobra.ShellCompDirectiveFilterFileExt))
		}
	}
	c.LocalFlags().VisitAll(complete)
	if c.ValidArgsFunction == nil && takesBundles.MatchString(c.Use) {
		// Volumes end in .001 and so on.
		ends := []string{"zst"}
		for n := range 9 {
			ends = append(ends, "00"+string(rune('1'+n)))
		}
		c.ValidArgsFunction = cobra.FixedCompletions(ends, cobra.ShellCompDirectiveFilterFileExt)
	}
}
