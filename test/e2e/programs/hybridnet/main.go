// Command hybridnet stands in for a container network: a bridge on every node
// and a route to every other node's pods.
//
//	hybridnet daemon    puts the CNI plugins and their settings on the host it
//	                    runs on, then keeps the routes to the other nodes
//	hybridnet serve     answers HTTP on :8080, as the manager and the webhook do
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const (
	plugins = "/plugins" // in the image
	binDir  = "/host/opt/cni/bin"
	confDir = "/host/etc/cni/net.d"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "daemon":
		err = daemon(ctx)
	case len(os.Args) > 1 && os.Args[1] == "serve":
		err = serve(ctx)
	default:
		err = fmt.Errorf("usage: hybridnet daemon|serve")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hybridnet:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	srv := &http.Server{Addr: ":8080", ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// daemon asks the API server by its service address: that it answers tells
// that kube-proxy has done its work here, and only then may pods get a
// network.
func daemon(ctx context.Context) error {
	api, err := inCluster()
	if err != nil {
		return err
	}
	done := false
	for {
		nodes, err := api.nodes(ctx)
		if err == nil {
			if !done {
				err = installPlugins(nodes, os.Getenv("NODE_NAME"))
				done = err == nil
			}
			if err == nil {
				err = routes(nodes, os.Getenv("NODE_NAME"))
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(2 * time.Second):
		}
	}
}

// installPlugins copies the programs, then writes the settings: as soon as
// these are there the node is ready.
func installPlugins(nodes []node, self string) error {
	cidr := ""
	for _, n := range nodes {
		if n.name == self {
			cidr = n.podCIDR
		}
	}
	if cidr == "" {
		return fmt.Errorf("node %s has no pod addresses yet", self)
	}
	files, err := filepath.Glob(filepath.Join(plugins, "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := replace(filepath.Join(binDir, filepath.Base(f)), b, 0o755); err != nil {
			return err
		}
	}
	conf := fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "hybridnet",
  "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
     "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, cidr)
	return replace(filepath.Join(confDir, "10-hybridnet.conflist"), []byte(conf), 0o644)
}

func replace(path string, content []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err := os.WriteFile(tmp, content, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
