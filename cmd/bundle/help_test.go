package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp wants what a person in a server room needs of every command: one
// line that says what it does, and an example that names the command.
func TestHelp(t *testing.T) {
	a := &app{}
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" || c.Parent() != nil && c.Parent().Name() == "completion" {
			return // cobra's own
		}
		if c.Short == "" {
			t.Errorf("%s has no short description", c.CommandPath())
		}
		if c.HasParent() && !strings.Contains(c.Example, c.CommandPath()) {
			t.Errorf("%s has no example of itself", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(a.root())
}

// TestPinnedCommands holds the command line to its promise.
func TestPinnedCommands(t *testing.T) {
	root := (&app{}).root()
	for _, tt := range []struct{ command, flags string }{
		{"build", "file image image-list chart values name version output platform from mirror registry-config plain-http ca insecure-skip-tls-verify lock update-lock key unsigned compact allow-missing cache jobs retries dry-run"},
		{"keygen", "output"},
		{"sign", "key detached"},
		{"verify", "key certificate-identity certificate-oidc-issuer trusted-root insecure-skip-signature output"},
		{"inspect", "output"}, {"images", "output"}, {"charts", "output"}, {"files", "output"}, {"steps", "output"},
		{"why", "output"}, {"diff", "output"},
		{"extract", "to image chart file"},
		{"serve", "addr tls tls-cert tls-key htpasswd writable key insecure-skip-signature output"},
		{"push", "dry-run plain-http"},
		{"version", "output"},
	} {
		c, _, err := root.Find([]string{tt.command})
		if err != nil {
			t.Errorf("%s: %v", tt.command, err)
			continue
		}
		for f := range strings.FieldsSeq(tt.flags) {
			if c.Flag(f) == nil {
				t.Errorf("bundle %s has no --%s", tt.command, f)
			}
		}
	}
	for _, f := range []string{"progress", "log-level", "log-format"} {
		if root.PersistentFlags().Lookup(f) == nil {
			t.Errorf("there is no global --%s", f)
		}
	}
}

func TestErrorAsJSON(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := Main(context.Background(), []string{"images", "nowhere.tar.zst", "-o", "json"}, strings.NewReader(""), &stdout, &stderr)
	var got map[string]errorObject
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout.String())
	}
	if code != exitUsage || got["error"].Code != "usage" || !strings.Contains(got["error"].Message, "nowhere.tar.zst") || stderr.Len() > 0 {
		t.Errorf("exit %d, %+v, stderr %q", code, got, stderr.String())
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 5202005: "5.2 MB", 10737418240: "10.7 GB", 999_999: "1.0 MB"} {
		if got := formatSize(in); got != want {
			t.Errorf("formatSize(%d) = %q, want %q", in, got, want)
		}
	}
}
