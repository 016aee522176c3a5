// Command hello stands in for every image of a demo or a test: it says which
// image it is, so that whoever runs it sees that the right bytes arrived.
//
//	hello                        prints one line and exits
//	hello serve [--listen=:8080] answers HTTP on every path until stopped
//	      [--create=DIR]         first creates each CRD file of DIR in the cluster it runs in
//
// Charts hand it the arguments of the program it stands in for; what it does
// not know it ignores.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	serve, listen, create := false, ":8080", ""
	for _, arg := range os.Args[1:] {
		switch {
		case arg == "serve":
			serve = true
		case strings.HasPrefix(arg, "--listen="):
			listen = strings.TrimPrefix(arg, "--listen=")
		case strings.HasPrefix(arg, "--create="):
			create = strings.TrimPrefix(arg, "--create=")
		}
	}
	name, err := os.ReadFile("/etc/image-name")
	if err != nil {
		name = []byte("nowhere")
	}
	line := fmt.Sprintf("hello from %s (%s/%s)", strings.TrimSpace(string(name)), runtime.GOOS, runtime.GOARCH)
	fmt.Println(line)
	if !serve {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if create != "" {
		go keepCreating(ctx, create)
	}
	srv := &http.Server{
		Addr:              listen,
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintln(w, line)
		}),
	}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.ListenAndServe(); err != nil && err != http.ErrServerClosed {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// keepCreating tries until every file was taken: an operator that starts
// before its API server is reachable has to wait, too.
func keepCreating(ctx context.Context, dir string) {
	for {
		err := createAll(ctx, dir)
		if err == nil {
			return
		}
		fmt.Fprintln(os.Stderr, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
	}
}

// createAll posts each YAML file of dir, one CustomResourceDefinition each.
// One that exists already is left as it is.
func createAll(ctx context.Context, dir string) error {
	const account = "/var/run/secrets/kubernetes.io/serviceaccount/"
	token, err := os.ReadFile(account + "token")
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(account + "ca.crt")
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
	}
	url := "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")) +
		"/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		body, err := os.Open(file)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, body)
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/yaml")
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusConflict {
			return fmt.Errorf("%s: the API server answered %s", filepath.Base(file), resp.Status)
		}
	}
	return nil
}
