package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mvdan.cc/sh/v3/syntax"
)

// docLine is a command line without "bundle". In prose it may be cut short.
type docLine struct {
	words []string
	prose bool
	// text is the whole line, with what is piped into the command and after it.
	text string
}

// documented finds the command lines of bundle in a document: in code blocks,
// in the examples of scripts for CI, and between backticks.
func documented(t *testing.T, text string) (lines []docLine) {
	t.Helper()
	var code []string
	prose := map[string]bool{}
	fenced := false
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			for _, m := range regexp.MustCompile("`(bundle [^`]+)`").FindAllStringSubmatch(line, -1) {
				code = append(code, m[1])
				prose[m[1]] = true
			}
			continue
		}
		// A line that goes on from the one before it.
		if n := len(code); n > 0 && strings.HasSuffix(code[n-1], "\\") {
			code[n-1] = strings.TrimSuffix(code[n-1], "\\") + " " + trimmed
			continue
		}
		code = append(code, strings.TrimPrefix(strings.TrimPrefix(trimmed, "- "), "$ "))
	}
	for _, line := range code {
		if !regexp.MustCompile(`(^|\| |&& )bundle `).MatchString(line) || strings.ContainsAny(line, "│─►") {
			continue
		}
		f, err := syntax.NewParser().Parse(strings.NewReader(line), "")
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		syntax.Walk(f, func(n syntax.Node) bool {
			call, ok := n.(*syntax.CallExpr)
			if !ok || len(call.Args) < 2 || call.Args[0].Lit() != "bundle" {
				return true
			}
			var words []string
			for _, w := range call.Args[1:] {
				var b bytes.Buffer
				_ = syntax.NewPrinter().Print(&b, w)
				words = append(words, strings.Trim(b.String(), `"'`))
			}
			lines = append(lines, docLine{words, prose[line], line})
			return true
		})
	}
	return lines
}

// Every command line in the documents is one that the program takes: commands,
// flags, their values and the number of arguments.
func TestDocumentedCommandsExist(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, filepath.Join("..", "..", "README.md"), filepath.Join("..", "..", "README_zh.md"))
	seen := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range documented(t, string(text)) {
			words := line.words
			// bundle COMMAND --help, bundle inspect …: about commands, not one.
			name := words[0]
			if strings.ToUpper(name) == name || strings.Contains(strings.Join(words, " "), "…") || strings.HasPrefix(name, "-") {
				continue
			}
			seen++
			root := (&app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}).root()
			cmd, rest, err := root.Find(words)
			if err != nil || cmd == root {
				t.Errorf("%s: bundle %s: there is no command %s", filepath.Base(file), strings.Join(words, " "), name)
				continue
			}
			if line.prose {
				for _, w := range rest {
					if name, ok := strings.CutPrefix(w, "--"); ok && cmd.Flag(name) == nil {
						t.Errorf("%s: bundle %s: there is no --%s", filepath.Base(file), strings.Join(words, " "), name)
					}
				}
				continue
			}
			if err := cmd.ParseFlags(rest); err != nil {
				t.Errorf("%s: bundle %s: %v", filepath.Base(file), strings.Join(words, " "), err)
				continue
			}
			if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
				t.Errorf("%s: bundle %s: %v", filepath.Base(file), strings.Join(words, " "), err)
			}
		}
	}
	if seen < 60 {
		t.Errorf("only %d command lines were found", seen)
	}
}
