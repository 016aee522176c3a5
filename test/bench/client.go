package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const acceptManifest = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

type descriptor struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// blobsOf reads an image's manifest from a registry.
func blobsOf(addr, image string) ([]descriptor, error) {
	repo, tag, _ := strings.Cut(image, ":")
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/v2/"+repo+"/manifests/"+tag, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", acceptManifest)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	var m struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		return nil, fmt.Errorf("%s: %w", req.URL, err)
	}
	return append([]descriptor{m.Config}, m.Layers...), nil
}

// pull reads images as a node would: each blob once, hashed, over streams
// connections. It gives the bytes read.
func pull(addr string, images []string, streams int) (int64, error) {
	type blob struct {
		repo string
		descriptor
	}
	var queue []blob
	seen := map[string]bool{}
	var total int64
	for _, img := range images {
		blobs, err := blobsOf(addr, img)
		if err != nil {
			return 0, err
		}
		repo, _, _ := strings.Cut(img, ":")
		for _, d := range blobs {
			if !seen[d.Digest] {
				seen[d.Digest] = true
				total += d.Size
				queue = append(queue, blob{repo, d})
			}
		}
	}
	work, errs := make(chan blob), make(chan error, len(queue))
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			for b := range work {
				errs <- pullBlob(addr, b.repo, b.descriptor)
			}
		})
	}
	for _, b := range queue {
		work <- b
	}
	close(work)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

func pullBlob(addr, repo string, d descriptor) error {
	resp, err := http.Get("http://" + addr + "/v2/" + repo + "/blobs/" + d.Digest)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	h := sha256.New()
	n, err := io.CopyBuffer(h, resp.Body, make([]byte, 1<<20))
	if err != nil {
		return err
	}
	if got := fmt.Sprintf("sha256:%x", h.Sum(nil)); resp.StatusCode != http.StatusOK || n != d.Size || got != d.Digest {
		return fmt.Errorf("%s of %s came as %s, %d bytes of %s", d.Digest, repo, resp.Status, n, got)
	}
	return nil
}

// pullNodes has so many nodes pull the images at the same time, each all of
// them over streams connections of its own. It gives the bytes read.
func pullNodes(addr string, images []string, nodes, streams int) (int64, error) {
	var g errgroup.Group
	var total atomic.Int64
	for range nodes {
		g.Go(func() error {
			n, err := pull(addr, images, streams)
			total.Add(n)
			return err
		})
	}
	err := g.Wait()
	return total.Load(), err
}

// distribution starts the reference registry on a folder; config is where its
// configuration is to be written.
func distribution(dir, path string) (*server, string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, "", err
	}
	config := fmt.Sprintf("version: 0.1\nlog:\n  level: error\n  accesslog: {disabled: true}\nstorage:\n  filesystem: {rootdirectory: %q}\n  delete: {enabled: false}\nhttp:\n  addr: %q\n  secret: bench\n",
		filepath.Join(dir, "registry"), addr)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, "", err
	}
	v := &server{cmd: exec.Command("registry", "serve", path)}
	if v.stdin, err = v.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	if err := v.cmd.Start(); err != nil {
		return nil, "", err
	}
	for range 200 {
		resp, err := http.Get("http://" + addr + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
			return v, addr, nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	v.stop(&sample{})
	return nil, "", fmt.Errorf("the registry does not answer on %s", addr)
}

// pushBlob puts a blob into a repository, if it is not there.
func pushBlob(addr, repo string, d descriptor, content io.Reader) error {
	url := "http://" + addr + "/v2/" + repo + "/blobs/"
	resp, err := http.Head(url + d.Digest)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	resp, err = http.Post(url+"uploads/", "", nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	at, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("POST %s: %s", url, resp.Status)
	}
	q := at.Query()
	q.Set("digest", d.Digest)
	at.RawQuery = q.Encode()
	return put(at.String(), "application/octet-stream", d.Size, content)
}

func put(url, mediaType string, size int64, content io.Reader) error {
	req, err := http.NewRequest(http.MethodPut, url, content)
	if err != nil {
		return err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", mediaType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("PUT %s: %s", url, resp.Status)
	}
	return nil
}
