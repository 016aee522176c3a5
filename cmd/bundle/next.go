package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// next says on standard error what to type now, and what else one may want. It
// says nothing beside JSON and pages: their readers know what they are after.
func (a *app) next(ways ...string) {
	if a.output == "json" || a.output == "html" {
		return
	}
	lead := "next: "
	for _, way := range ways {
		fmt.Fprintln(a.stderr, lead+way)
		lead = "  or: "
	}
}

// typed is a command line that can be typed as it stands.
func typed(words ...[]string) string {
	line := []string{"bundle"}
	for _, w := range together(slices.Concat(words...)) {
		// The shell finds the volumes.
		w, all := strings.CutSuffix(w, allVolumes)
		q, err := syntax.Quote(w, syntax.LangPOSIX)
		if err != nil {
			// What nobody can type, such as an escape character, is shown.
			q = fmt.Sprintf("%q", w)
		}
		if all {
			q += allVolumes
		}
		line = append(line, q)
	}
	return strings.Join(line, " ")
}

// allVolumes stands for the numbers of volumes.
const allVolumes = ".*"

var volume = regexp.MustCompile(`^(.+)\.[0-9]{3,}$`)

// together makes one word of the volumes of a bundle that stand side by side.
func together(words []string) (out []string) {
	for i := 0; i < len(words); {
		n := 1
		if m := volume.FindStringSubmatch(words[i]); m != nil {
			for i+n < len(words) && volume.ReplaceAllString(words[i+n], "$1") == m[1] && words[i+n] != m[1] {
				n++
			}
			if n > 1 {
				out = append(out, m[1]+allVolumes)
				i += n
				continue
			}
		}
		out = append(out, words[i])
		i++
	}
	return out
}

// words gives the flags of trust back, for a command that comes next; PUB
// stands where none was given.
func (t *trust) words() []string {
	var w []string
	add := func(flag string, values ...string) {
		for _, v := range values {
			if v != "" {
				w = append(w, flag, v)
			}
		}
	}
	if t.skip {
		return []string{"--insecure-skip-signature"}
	}
	if !t.given() {
		return []string{"--key", "PUB"}
	}
	add("--key", t.keys...)
	add("--certificate-identity", t.identity)
	add("--certificate-oidc-issuer", t.issuer)
	add("--trusted-root", t.trustedRoot)
	add("--policy", t.policyFile)
	add("--trust-state", t.stateFile)
	add("--statement", t.statements...)
	add("--index", t.indexes...)
	add("--signature", t.signatures...)
	return w
}

// words gives the flags that say which hosts are meant back. The values of
// variables and passwords are left out: a log is no place for them.
func (s *siteFlags) words() []string {
	var w []string
	if s.file != "" {
		w = append(w, "-f", s.file)
	}
	if len(s.masters) > 0 {
		w = append(w, "-m", strings.Join(s.masters, ","))
	}
	if len(s.nodes) > 0 {
		w = append(w, "-n", strings.Join(s.nodes, ","))
	}
	if s.user != "" {
		w = append(w, "-u", s.user)
	}
	if s.password != "" {
		w = append(w, "-p", "…")
	}
	if s.key != "" {
		w = append(w, "--ssh-key", s.key)
	}
	for _, list := range []struct {
		flag   string
		values []string
	}{{"-e", s.env}, {"--set", s.set}} {
		for _, v := range list.values {
			name, _, _ := strings.Cut(v, "=")
			w = append(w, list.flag, name+"=…")
		}
	}
	for _, v := range s.values {
		w = append(w, "--values", v)
	}
	return w
}

// afterProof is what to do with bundles that are what they should be: install
// them where they bring steps, and in any case serve them.
func afterProof(files []string, trust []string) []string {
	serve := typed([]string{"serve"}, files, trust)
	bundles, done, err := openBundles(files, nil)
	defer done()
	if err != nil || !slices.ContainsFunc(bundles, func(b *opened) bool { return len(b.contents.Steps) > 0 }) {
		return []string{serve}
	}
	return []string{typed([]string{"plan"}, files, trust, []string{"-f", "Clusterfile"}), serve}
}
