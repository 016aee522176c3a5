// Command upstream runs the registry of package upstream for a script:
//
//	upstream [flags] LIST…
//
// It makes an image for every reference in the lists, prints one line of JSON
// with the address it listens on, and runs until it gets SIGTERM or SIGINT or
// its standard input is closed, so that it never outlives the script.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"bundle/internal/upstream"
	"bundle/manifest"
	"bundle/manifest/imagelist"
)

// ready is the line on standard output.
type ready struct {
	Addr      string `json:"addr"`
	Images    int    `json:"images"`
	CosignKey string `json:"cosignKey"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

func run() error {
	addr := flag.String("addr", "127.0.0.1:0", "loopback `HOST:PORT` to listen on")
	dir := flag.String("dir", "", "`folder` for the blobs (default: a temporary one)")
	goCmd := flag.String("go", "go", "`command` that compiles the images' program")
	platforms := flag.String("platform", "linux/amd64", "comma-separated `list` of OS/ARCH")
	layer := flag.Int64("layer-bytes", 64<<10, "`size` of each image's own layer")
	keyOut := flag.String("cosign-key", "", "`file` that the public key of the signed image is written to")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		// Whoever started us holds the other end; its death closes it.
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()

	refs, err := read(flag.Args())
	if err != nil {
		return err
	}
	reg, err := upstream.Start(ctx, upstream.Options{Addr: *addr, Dir: *dir, Go: *goCmd, LayerBytes: *layer})
	if err != nil {
		return err
	}
	defer func() { _ = reg.Close() }()
	made, err := reg.Populate(ctx, refs, strings.Split(*platforms, ","))
	if err != nil {
		return err
	}
	key, err := reg.CosignPublicKey()
	if err != nil {
		return err
	}
	if *keyOut != "" {
		if err := os.WriteFile(*keyOut, key, 0o644); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(ready{reg.Addr(), len(made), string(key)}); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// read takes the references of all lists, each once, in order.
func read(lists []string) ([]manifest.Reference, error) {
	var refs []manifest.Reference
	seen := map[manifest.Reference]bool{}
	for _, list := range lists {
		f, err := os.Open(list)
		if err != nil {
			return nil, err
		}
		entries, err := imagelist.Parse(list, f)
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !seen[e.Ref] {
				seen[e.Ref] = true
				refs = append(refs, e.Ref)
			}
		}
	}
	return refs, nil
}
