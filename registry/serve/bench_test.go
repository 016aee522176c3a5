//go:build unix

package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// plain serves the distribution project's registry on a folder, as its
// documentation says.
func plain(b *testing.B) *httptest.Server {
	b.Helper()
	cfg := &configuration.Configuration{Storage: configuration.Storage{
		"filesystem":  configuration.Parameters{"rootdirectory": b.TempDir()},
		"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
	}}
	entry := newLogEntry(slog.New(slog.DiscardHandler))
	app := handlers.NewApp(logContext{b.Context(), entry}, cfg)
	hs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		app.ServeHTTP(w, r.WithContext(logContext{r.Context(), entry}))
	}))
	b.Cleanup(hs.Close)
	return hs
}

// BenchmarkPull pulls the same images by several clients from the distribution
// project's registry on a folder and from ours on a bundle file, both warm.
// The clients only count the bytes, so that what is measured is the servers.
// "first" is ours for blobs that nobody has read yet, SHA-256 included.
func BenchmarkPull(b *testing.B) {
	const images, layers, layerSize = 4, 2, 16 << 20
	f := newFake("bench")
	refs := make([]string, images)
	all := make([]v1.Image, images)
	for i := range images {
		refs[i] = fmt.Sprintf("quay.io/bench/image%d:1", i)
		all[i] = f.random(b, refs[i], layerSize, layers)
	}
	bundle, _ := openFile(b, f.file(b))
	folder := plain(b)
	for i, img := range all {
		if err := remote.Write((&testServer{folder.URL}).ref(b, refs[i]), img); err != nil {
			b.Fatal(err)
		}
	}
	var paths []string
	for i, img := range all {
		m, err := img.Manifest()
		if err != nil {
			b.Fatal(err)
		}
		repo := fmt.Sprintf("/v2/quay.io/bench/image%d", i)
		paths = append(paths, repo+"/manifests/1", repo+"/blobs/"+m.Config.Digest.String())
		for _, l := range m.Layers {
			paths = append(paths, repo+"/blobs/"+l.Digest.String())
		}
	}
	run := func(clients int, url func() string) func(b *testing.B) {
		return func(b *testing.B) {
			b.SetBytes(images * layers * layerSize)
			before := cpuTime(b)
			for b.Loop() {
				u := url()
				work := make(chan string)
				var wg sync.WaitGroup
				for range clients {
					wg.Go(func() {
						for p := range work {
							if err := drain(b.Context(), u+p); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for _, p := range paths {
					work <- p
				}
				close(work)
				wg.Wait()
			}
			b.ReportMetric(float64((cpuTime(b)-before).Milliseconds())/float64(b.N), "cpu-ms/op")
		}
	}
	serve := func(b *testing.B) string {
		s, err := New([]Bundle{bundle}, Options{})
		if err != nil {
			b.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		go func() { _ = s.Serve(b.Context(), ln) }()
		return "http://" + ln.Addr().String()
	}
	ours := serve(b)
	for _, clients := range []int{1, 4} {
		b.Run(fmt.Sprintf("server=distribution/clients=%d", clients), run(clients, func() string { return folder.URL }))
		b.Run(fmt.Sprintf("server=bundle/clients=%d", clients), run(clients, func() string { return ours }))
		b.Run(fmt.Sprintf("server=bundle-first/clients=%d", clients), func(b *testing.B) {
			run(clients, func() string { return serve(b) })(b)
		})
	}
}

// cpuTime is what this process has used, clients included. On a busy machine
// it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func drain(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", acceptAll)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != 200 {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
