package host

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"

	"bundle/manifest/cluster"
)

func TestSecretsAreReplacedInEveryForm(t *testing.T) {
	for _, secret := range []string{`p@ss/w"or'd &<>%`, "hunter22", "密码 тайна", `back\slash$HOME`, strings.Repeat("long", 50)} {
		r := NewRedactor(cluster.Secret(secret))
		quoted, _ := json.Marshal(secret)
		printfQ, err := exec.Command("bash", "-c", `LC_ALL=C.UTF-8 printf %q "$1"`, "bash", secret).Output()
		if err != nil {
			t.Fatal(err)
		}
		traced, err := exec.Command("bash", "-c", `export V="$1"; set -x; : "$V"`, "bash", secret).CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		for what, text := range map[string]string{
			"plain":         secret,
			"base64":        base64.StdEncoding.EncodeToString([]byte(secret)),
			"base64url":     base64.URLEncoding.EncodeToString([]byte(secret)),
			"basic auth":    base64.StdEncoding.EncodeToString([]byte("admin:" + secret)),
			"base64, odd":   base64.StdEncoding.EncodeToString([]byte("x" + secret + "\n")),
			"base64, odder": base64.StdEncoding.EncodeToString([]byte("xy" + secret + "zz")),
			"query":         url.QueryEscape(secret),
			"path":          url.PathEscape(secret),
			"lower query":   lowerEscapes(url.QueryEscape(secret)),
			"json":          string(quoted),
			"printf %q":     string(printfQ),
			"set -x":        string(traced),
		} {
			got := r.String("before " + text + " after")
			if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Errorf("%s: the rest was touched: %q", what, got)
			}
			if !strings.Contains(got, redacted) || leaks(got, secret) {
				t.Errorf("%s of %q reads %q", what, secret, got)
			}
		}
	}
}

// leaks tells whether text still holds a telling part of a secret.
func leaks(text, secret string) bool {
	text = strings.ReplaceAll(text, redacted, "")
	for i := 0; i+6 <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+6]) {
			return true
		}
	}
	return false
}

func TestSecretsOfSeveralLinesAreReplacedLineByLine(t *testing.T) {
	r := NewRedactor("-----BEGIN KEY-----\nMIIEvQIBADANBg\nab\n-----END KEY-----\n")
	if got := r.String("x MIIEvQIBADANBg y ab"); got != "x [secret] y ab" {
		t.Errorf("got %q", got)
	}
}

func TestNothingElseIsReplaced(t *testing.T) {
	r := NewRedactor("", "a", "ab", "needle")
	for _, s := range []string{"", "a", "ab", "a b", "needl", "eedle", "NEEDLE"} {
		if got := r.String(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	var none *Redactor
	var b bytes.Buffer
	w := none.Writer(&b)
	fmt.Fprint(w, "needle")
	if w.Close() != nil || none.String("needle") != "needle" || b.String() != "needle" {
		t.Error("a nil redactor replaces something")
	}
}

func TestOverlappingSecretsLeaveNothing(t *testing.T) {
	r := NewRedactor("abcd", "cdef", "abcdefgh", "xyz")
	for in, want := range map[string]string{
		"abcdef":     "[secret]",
		"1abcdef2":   "1[secret]2",
		"abcdefgh":   "[secret]",
		"abcdefgabc": "[secret]gabc",
		"abcdxyz":    "[secret]",
		"abcd xyz":   "[secret] [secret]",
		"abcabcd":    "abc[secret]",
	} {
		if got := r.String(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
		var b bytes.Buffer
		w := r.Writer(&b)
		for _, c := range []byte(in) {
			if _, err := w.Write([]byte{c}); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil || b.String() != want {
			t.Errorf("%q byte by byte became %q, want %q", in, b.String(), want)
		}
	}
}

func TestSecretAddedLaterIsReplaced(t *testing.T) {
	r := NewRedactor()
	var b bytes.Buffer
	w := r.Writer(&b)
	fmt.Fprint(w, "token t0ps3cret\n")
	r.Add("t0ps3cret")
	r.Add("t0ps3cret")
	fmt.Fprint(w, "token t0ps3cret\n")
	_ = w.Close()
	if b.String() != "token t0ps3cret\ntoken [secret]\n" {
		t.Errorf("got %q", b.String())
	}
	r.AddCluster(&cluster.Cluster{
		Hosts:    []cluster.Host{{SSH: cluster.SSH{Password: "ssh-pw", KeyPassword: "key-pw"}}},
		Registry: cluster.Registry{Password: "reg-pw"},
	})
	if got := r.String("ssh-pw,key-pw,reg-pw"); got != "[secret],[secret],[secret]" {
		t.Errorf("got %q", got)
	}
}

// FuzzRedactor: no secret comes through, however the text is cut, and both
// ways to replace agree.
func FuzzRedactor(f *testing.F) {
	f.Add("secret", "other", "a secret and another secreother", 3)
	f.Add("aaa", "aaaaa", "aaaaaaaaaaaaaaaa", 1)
	f.Add("ab\ncd", "x%y", "x%25y ab\ncd", 2)
	f.Fuzz(func(t *testing.T, a, b, text string, cut int) {
		r := NewRedactor(cluster.Secret(a), cluster.Secret(b))
		whole := r.String(text)
		var buf bytes.Buffer
		w := r.Writer(&buf)
		size := 1 + max(cut, -cut)%7
		for rest := text; rest != ""; {
			n := min(max(size, 1), len(rest))
			_, _ = w.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		_ = w.Close()
		if buf.String() != whole {
			t.Fatalf("in pieces %q, whole %q", buf.String(), whole)
		}
		for _, s := range []string{a, b} {
			if len(s) < minSecret || strings.Contains(redacted, s) || strings.ContainsAny(s, "[]") {
				continue
			}
			if strings.Contains(strings.ReplaceAll(whole, redacted, "\x00"), s) && !strings.Contains(s, "\x00") {
				t.Fatalf("%q is left in %q", s, whole)
			}
		}
	})
}

func BenchmarkRedactor(b *testing.B) {
	var secrets []cluster.Secret
	for i := range 20 {
		secrets = append(secrets, cluster.Secret(fmt.Sprintf("password-%d!", i)))
	}
	text := bytes.Repeat([]byte("time=2026 level=info msg=\"pulling image registry.k8s.io/pause:3.9\"\n"), 1000)
	w := NewRedactor(secrets...).Writer(discard{})
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		_, _ = w.Write(text)
	}
}
