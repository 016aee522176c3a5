package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// complete is what a shell asks for the last of words.
func complete(t *testing.T, words ...string) (offers []string, directive string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := Main(t.Context(), append([]string{cobra.ShellCompRequestCmd}, words...), strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("completing %q: exit %d, %s", words, code, &stderr)
	}
	for line := range strings.Lines(stdout.String()) {
		line = strings.TrimSuffix(line, "\n")
		if d, ok := strings.CutPrefix(line, ":"); ok {
			return offers, d
		}
		word, _, _ := strings.Cut(line, "\t")
		offers = append(offers, word)
	}
	t.Fatalf("completing %q gives no directive: %q", words, &stdout)
	return nil, ""
}

// A flag with a fixed set of values offers just these; one that takes a file
// offers files with the right ending; a command offers bundles.
func TestCompletion(t *testing.T) {
	const (
		noFiles = "4"
		byExt   = "8"
	)
	for _, tt := range []struct {
		words     string
		want      string
		directive string
	}{
		{"verify x.tar.zst -o ", "text json", noFiles},
		{"check -o ", "text json html", noFiles},
		{"inspect --lang ", "en zh", noFiles},
		{"verify --progress ", "auto tty plain json none", noFiles},
		{"verify --log-level ", "debug info warn error", noFiles},
		{"verify --log-format ", "text json", noFiles},
		{"build --dialect ", "auto 0.5 0.9", noFiles},
		{"serve --tls ", "auto off", noFiles},
		{"keygen --type ", "ecdsa-p256 sm2", noFiles},
		{"verify x.tar.zst --key ", "pub pem", byExt},
		{"sign x.tar.zst --key ", "key pem", byExt},
		{"build . --key ", "key pem", byExt},
		{"verify --policy ", "yaml yml", byExt},
	} {
		words := strings.Split(tt.words, " ")
		got, directive := complete(t, words...)
		if directive != tt.directive || strings.Join(got, " ") != tt.want {
			t.Errorf("bundle %s⇥ offers %q by %s, want %q by %s", tt.words, got, directive, tt.want, tt.directive)
		}
	}
	if got, _ := complete(t, "explain", "unt"); !slices.Contains(got, "untrusted") {
		t.Errorf("bundle explain⇥ offers %q", got)
	}
	for _, c := range []string{"verify", "inspect", "images", "serve", "install", "plan", "merge"} {
		got, _ := complete(t, c, "x")
		if !slices.Contains(got, "zst") {
			t.Errorf("bundle %s⇥ offers %q, not the bundles of the folder", c, got)
		}
	}
}

// Each flag whose help lists its values completes them.
func TestFlagsWithFixedValuesComplete(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, name := range fixedValues(c) {
			words := append(strings.Fields(c.CommandPath())[1:], "--"+name, "")
			got, _ := complete(t, words...)
			if len(got) < 2 {
				t.Errorf("%s --%s says what its values are and completes %q", c.CommandPath(), name, got)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
}

// Every command that a user sees has a man page, with its flags and an example.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	if code := Main(t.Context(), []string{"man", dir}, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("exit %d, %s", code, &stderr)
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if !c.IsAvailableCommand() && c.HasParent() {
			return
		}
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		for _, want := range []string{".TH", "SYNOPSIS", "--log-level"} {
			if !bytes.Contains(page, []byte(want)) && !bytes.Contains(page, []byte(strings.ReplaceAll(want, "-", `\-`))) {
				t.Errorf("the page of %s has no %s", c.CommandPath(), want)
			}
		}
		if c.Example != "" && !bytes.Contains(page, []byte("EXAMPLE")) {
			t.Errorf("the page of %s has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
}

// A real bash loads what we give it, and asks us.
func TestBashCompletes(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err) // every Debian has it
	}
	var script, stderr bytes.Buffer
	if code := Main(t.Context(), []string{"completion", "bash"}, strings.NewReader(""), &script, &stderr); code != 0 {
		t.Fatalf("exit %d, %s", code, &stderr)
	}
	dir := t.TempDir()
	for _, name := range []string{"a.tar.zst", "b.txt", "ci.pub"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What the package bash-completion has, as far as our script asks for it.
	const helpers = `
_get_comp_words_by_ref() { while [ $# -gt 0 ]; do case $1 in -n) shift ;; cur) cur=${COMP_WORDS[COMP_CWORD]} ;; prev) prev=${COMP_WORDS[COMP_CWORD-1]} ;; words) words=("${COMP_WORDS[@]}") ;; cword) cword=$COMP_CWORD ;; esac; shift; done; }
_filedir() { local x; for x in $(compgen -f -- "$cur"); do [[ -z $1 || $x =~ \.($1)$ ]] && COMPREPLY+=("$x"); done; }
__ltrim_colon_completions() { :; }
compopt() { :; }
ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_KEY=9; COMPREPLY=(); __start_bundle; echo "${COMPREPLY[*]}"; }
`
	cmd := exec.Command(bash, "--norc", "-c", helpers+script.String()+`
ask bundle ver
ask bundle verify --insecure
ask bundle verify a.tar.zst -o ""
ask bundle verify ""
ask bundle verify a.tar.zst --key ""
`)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	lines := strings.Split(string(out), "\n")
	if err != nil || len(lines) < 5 {
		t.Fatalf("%v: %s", err, out)
	}
	for i, want := range [][]string{{"verify", "version"}, {"--insecure-skip-signature"}, {"json", "text"}, {"a.tar.zst"}, {"ci.pub"}} {
		for _, w := range want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("line %d of bash's completions is %q, want %s", i+1, lines[i], w)
			}
		}
	}
	if strings.Contains(lines[3], "b.txt") || strings.Contains(lines[4], "a.tar.zst") {
		t.Errorf("bash offers files that are not what is wanted: %q, %q", lines[3], lines[4])
	}
}
