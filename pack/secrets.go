package pack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/manifest"
	"bundle/manifest/secret"
)

// maxChartEntries bounds the files of one chart that are looked into.
const maxChartEntries = 10000

// Secrets looks for private keys and passwords in the files and charts that this
// build adds. Files of a base were looked at when it was built. Nothing of what
// is found leaves this function but place and kind.
func (b *Build) Secrets(ctx context.Context) ([]secret.Finding, error) {
	var found []secret.Finding
	if b.filesDigest != "" {
		r, err := b.content.remote[b.filesDigest].open(ctx, 0)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		if err := secretsInTar(ctx, r, "", &found); err != nil {
			return nil, err
		}
	}
	for _, c := range b.contents.Charts {
		if c.Path != "" && !strings.HasSuffix(c.Path, ".tgz") {
			continue // one of the files
		}
		tgz, err := b.chartLayer(c)
		if err != nil || tgz == nil {
			return found, err
		}
		z, err := gzip.NewReader(bytes.NewReader(tgz))
		if err != nil {
			continue // the chart was rendered, so another tool reads it
		}
		if err := secretsInTar(ctx, z, "chart "+c.Name+" ", &found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// chartLayer gives the .tgz of a chart; nil where it is not held in memory.
func (b *Build) chartLayer(c manifest.Chart) ([]byte, error) {
	raw, ok := b.content.memory[c.Digest]
	if !ok {
		return nil, nil
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil || len(m.Layers) != 1 {
		return nil, fmt.Errorf("the manifest of chart %s is not Helm's", c.Name)
	}
	return b.content.memory[m.Layers[0].Digest], nil
}

// secretsInTar looks into all files of a tar.
func secretsInTar(ctx context.Context, r io.Reader, prefix string, found *[]secret.Finding) error {
	tr := tar.NewReader(r)
	for range maxChartEntries {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("files cannot be looked into for secrets: %w", err)
		}
		if h.Typeflag != tar.TypeReg || h.Size > secret.MaxFile {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(tr, secret.MaxFile))
		if err != nil {
			return fmt.Errorf("files cannot be looked into for secrets: %w", err)
		}
		name := path.Clean(h.Name)
		if prefix != "" { // a chart's own folder says nothing more
			if _, inside, ok := strings.Cut(name, "/"); ok {
				name = inside
			}
		}
		*found = append(*found, secret.Find(prefix+name, data)...)
	}
	return nil
}

// SecretsError refuses a bundle for what [Build.Secrets] found.
func SecretsError(found []secret.Finding) error {
	if len(found) == 0 {
		return nil
	}
	return secretsError(found)
}

type secretsError []secret.Finding

func (e secretsError) Error() string {
	if len(e) == 1 {
		return "a secret would be in the bundle: " + e[0].String()
	}
	return fmt.Sprintf("%d secrets would be in the bundle, the first %s", len(e), e[0])
}

func (e secretsError) Is(target error) bool { return target == ErrIncomplete }

// Object is where the first one is.
func (e secretsError) Object() string { return string(e[0].Source) }

// Hint is one line that says what to do next.
func (e secretsError) Hint() string {
	return "take them out, and give them at install with --set or a Config document of the site; without --fail-on-secret they are told and packed"
}
