package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bundle/manifest/cluster"
)

// TestSecretsStayInPipes plants secrets wherever one can be, looks at the
// argument lists of all processes while scripts run, and at every log and
// error afterwards.
func TestSecretsStayInPipes(t *testing.T) {
	sshd := newSSHD(t)
	plain := newServer(t)
	o := options(t)
	for name, connect := range map[string]func() Host{
		"local":      func() Host { return Local("local", o) },
		"our server": func() Host { return mustDial(t, plain.start(), o) },
		"sudo":       func() Host { return mustDial(t, sshd.as("withpw"), o) },
	} {
		t.Run(name, func(t *testing.T) { plantSecrets(t, connect(), o.LogDir) })
	}
	for _, line := range plain.commandLines() {
		if strings.Contains(line, "planted") {
			t.Errorf("the server was asked for %q", line)
		}
	}
}

func plantSecrets(t *testing.T, h Host, logs string) {
	env, script, input, printed := cluster.Secret("planted-in-env 'x'"), cluster.Secret("planted-in-script"),
		cluster.Secret("planted-in-input"), cluster.Secret("planted-in-output")
	r := redactorOf(h)
	r.Add(env, script, input, printed)
	secrets := []string{"planted-in", sshdPassword, "let me in", base64.StdEncoding.EncodeToString([]byte(env))}

	ctx, cancel := context.WithCancel(soon(t))
	defer cancel()
	first := &firstLine{line: make(chan string, 1)}
	done := make(chan error, 1)
	go func() {
		done <- h.Run(ctx, Command{
			Label: "with " + script.Reveal(),
			Env:   map[string]string{"PASSWORD": env.Reveal()},
			Stdin: strings.NewReader(input.Reveal() + "\n"),
			Script: `read -r line
(exec sleep 300) &
printf 'planted-in-'; sleep 0.05; printf 'output %s\n' "$PASSWORD" | tee /dev/stderr
printf %s "$PASSWORD" | base64 >&2
: ` + script.Reveal() + `
(set -x; : "$PASSWORD" "$line")
echo "$line ` + script.Reveal() + `" >&2
sleep 300`,
			Stdout: first,
		})
	}()
	<-first.line
	snapshot := cmdlines(t)
	if !strings.Contains(snapshot, "sleep\x00300") {
		t.Error("the snapshot does not even hold what runs")
	}
	noneOf(t, "an argument list", snapshot, secrets)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	} else {
		noneOf(t, "the error of a stop", err.Error(), secrets)
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := h.WriteFile(soon(t), file, 0o600, []byte("planted-in-file")); err != nil {
		t.Error(err)
	}
	if data, err := h.ReadFile(soon(t), file, 100); err != nil || string(data) != "planted-in-file" {
		t.Errorf("%q, %v", data, err)
	}
	if err := h.Upload(soon(t), file, 0o600, bytes.NewReader([]byte("planted-in-file")), 15, nil); err != nil {
		t.Error(err)
	}

	err := h.Run(soon(t), Command{
		Env:    map[string]string{"PASSWORD": env.Reveal()},
		Script: "head -c 5000 /dev/zero >&2; echo $PASSWORD; for i in $(seq 400); do echo \"$PASSWORD\" >&2; done; exit 1",
	})
	var exit *ExitError
	if !errors.As(err, &exit) || !strings.Contains(exit.Stderr, redacted) {
		t.Errorf("got %v", err)
	} else {
		noneOf(t, "the error", fmt.Sprintf("%v %+v %#v", err, exit, *exit), secrets)
	}
	_ = h.Close()
	files, err := filepath.Glob(logs + "/*.log")
	if err != nil || len(files) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		noneOf(t, f, string(data), secrets)
	}
	if log := readLog(t, Options{LogDir: logs}, h.Name()); !strings.Contains(log, redacted) {
		t.Errorf("the log says nothing:\n%s", log)
	}
}

func redactorOf(h Host) *Redactor {
	switch h := h.(type) {
	case *local:
		return h.o.Redactor
	default:
		return h.(*remote).o.Redactor
	}
}

func noneOf(t *testing.T, what, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if i := strings.Index(text, s); i >= 0 {
			t.Errorf("%s holds %q: …%.80q", what, s, text[max(0, i-40):])
		}
	}
}

// cmdlines gives the argument lists of all processes.
func cmdlines(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	var b strings.Builder
	for _, f := range files {
		// Some end meanwhile.
		data, _ := os.ReadFile(f)
		b.Write(data)
		b.WriteByte('\n')
	}
	return b.String()
}
