package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bundle/internal/page"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

// classes finds every exported error class of the product: PACKAGE.ErrNAME.
func classes(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if d.IsDir() {
			if slices.Contains([]string{"test", "testdata", "internal", "cmd", ".git", ".cache", "bin", "dist"}, rel) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range f.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, spec := range g.Specs {
				v := spec.(*ast.ValueSpec)
				for i, name := range v.Names {
					if !strings.HasPrefix(name.Name, "Err") || i >= len(v.Values) {
						continue
					}
					// Another package's class under a second name is no class.
					if call, ok := v.Values[i].(*ast.CallExpr); ok {
						if fun, ok := call.Fun.(*ast.SelectorExpr); ok && fun.Sel.Name == "New" {
							found[f.Name.Name+"."+name.Name] = true
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Every class of errors has an entry: nobody is left alone with one.
func TestCatalogueIsComplete(t *testing.T) {
	source, err := os.ReadFile("faults.go")
	if err != nil {
		t.Fatal(err)
	}
	all := classes(t)
	if len(all) < 80 {
		t.Fatalf("found only %d classes", len(all))
	}
	for class := range all {
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(class) + `\b`).Match(source) {
			t.Errorf("no entry of the catalogue is about %s", class)
		}
	}
}

// An entry that one before it always hides would never be seen.
func TestCatalogueEntriesAreReached(t *testing.T) {
	ids := map[string]bool{}
	for i := range faults {
		f := &faults[i]
		if ids[f.id] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(f.id) {
			t.Errorf("%q is there twice or is no name", f.id)
		}
		ids[f.id] = true
		for _, class := range f.is {
			if got := faultOf(fmt.Errorf("image x: %w", class)); got != f {
				t.Errorf("%v of %s is explained by %s", class, f.id, got.id)
			}
		}
		for _, lang := range page.Langs {
			text := f.in(lang)
			if text.what == "" || text.why == "" || text.cure == "" {
				t.Errorf("%s lacks a text in %s", f.id, lang)
			}
		}
	}
}

// What the catalogue tells to type must exist.
func TestCatalogueNamesWhatExists(t *testing.T) {
	root := (&app{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}).root()
	var flags []string
	commands := map[string]bool{}
	for _, c := range root.Commands() {
		commands[c.Name()] = true
		flags = append(flags, c.LocalFlags().FlagUsages())
	}
	usage := strings.Join(flags, "\n")
	for i := range faults {
		for _, text := range []faultText{faults[i].en, faults[i].zh} {
			all := text.what + text.why + text.cure
			for _, flag := range regexp.MustCompile(`--[a-z]+(-[a-z]+)*`).FindAllString(all, -1) {
				if !strings.Contains(usage, flag+" ") {
					t.Errorf("%s tells of %s, which no command has", faults[i].id, flag)
				}
			}
			for _, m := range regexp.MustCompile(`bundle ([a-z]+)`).FindAllStringSubmatch(text.cure, -1) {
				if !commands[m[1]] && !slices.Contains([]string{"built", "again", "of", "and", "or", "can", "on", "by"}, m[1]) {
					t.Errorf("%s tells of bundle %s, which is no command", faults[i].id, m[1])
				}
			}
			for _, doc := range regexp.MustCompile(`docs/[a-z.-]+[a-z]`).FindAllString(all, -1) {
				if _, err := os.Stat(filepath.Join("..", "..", doc)); err != nil {
					t.Errorf("%s tells of %s: %v", faults[i].id, doc, err)
				}
			}
		}
	}
}

// docs/errors.md is what the program says, for reading beforehand.
func TestErrorsDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Errors

What can go wrong, why, and what to do. The program knows all of this without a
network: ` + "`bundle explain NAME`" + `, and ` + "`--lang zh`" + ` for Chinese. With ` + "`-o json`" + ` the name
is ` + "`error.id`" + `. This file is written by ` + "`go test ./cmd/bundle -run TestErrorsDocument -update`" + `.
`)
	for i := range faults {
		f := &faults[i]
		fmt.Fprintf(&b, "\n## %s\n\nExit %d. %s\n\n%s\n\n**What to do:** %s\n\n%s%s**处理：**%s\n",
			f.id, f.exit, f.en.what, f.en.why, f.en.cure, f.zh.what, f.zh.why, f.zh.cure)
	}
	path := filepath.Join("..", "..", "docs", "errors.md")
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, b.Bytes()) {
		t.Errorf("%s is not what the program says; run this test with -update", path)
	}
}

func TestErrorsAreExplained(t *testing.T) {
	for _, tc := range []struct {
		lang page.Lang
		err  error
		want string
	}{
		{page.English, fmt.Errorf("image x: %w", faults[0].is[0]), "error: image x: " + faults[0].is[0].Error() + "\nhint: " + faults[0].en.cure + " (more: bundle explain " + faults[0].id + ")\n"},
		{page.English, hint(fmt.Errorf("image x: %w", faults[0].is[0]), "own"), "error: image x: " + faults[0].is[0].Error() + "\nhint: own\n"},
		{page.Chinese, hint(fmt.Errorf("image x: %w", faults[0].is[0]), "own"), "error: Chart 或清单需要的镜像不在任何镜像列表中：image x: " + faults[0].is[0].Error() + "\nhint: " + faults[0].zh.cure + "\nhint: own\n"},
		{page.English, errors.New("of no class"), "error: of no class\n"},
	} {
		var stderr bytes.Buffer
		a := &app{stderr: &stderr, lang: tc.lang}
		a.reportError(t.Context(), tc.err)
		if stderr.String() != tc.want {
			t.Errorf("%s: got %q, want %q", tc.lang, &stderr, tc.want)
		}
	}
}
