package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"helm.sh/helm/v4/pkg/cli"
	"helm.sh/helm/v4/pkg/getter"
	helmregistry "helm.sh/helm/v4/pkg/registry"
	"helm.sh/helm/v4/pkg/repo/v1"

	"bundle/manifest"
	"bundle/manifest/chart"
	"bundle/registry/pull"
)

// isRemoteChart tells charts that are fetched from files. A file that is
// there wins, whatever its name looks like.
func isRemoteChart(spec string) bool {
	if strings.HasPrefix(spec, "oci://") {
		return true
	}
	_, repoURL, ok := strings.Cut(spec, "@")
	return ok && (strings.HasPrefix(repoURL, "http://") || strings.HasPrefix(repoURL, "https://")) && !fileExists(spec)
}

// fetchChart gets the .tgz of a chart from a registry or a chart repository.
func fetchChart(ctx context.Context, spec string, o RegistryOptions) ([]byte, error) {
	if ref, ok := strings.CutPrefix(spec, "oci://"); ok {
		return fetchOCIChart(ctx, ref, o)
	}
	return fetchRepoChart(ctx, spec, o)
}

func fetchOCIChart(ctx context.Context, s string, o RegistryOptions) ([]byte, error) {
	ref, err := manifest.ParseReference(s)
	if err != nil {
		return nil, err
	}
	remote, err := newRemote(o, nil)
	if err != nil {
		return nil, err
	}
	defer remote.Close()
	if !strings.Contains(s[strings.LastIndexByte(s, '/')+1:], ":") && ref.Digest == "" {
		if ref.Tag, err = newestChart(ref, o); err != nil {
			return nil, fmt.Errorf("chart oci://%s: %w", s, err)
		}
	}
	p := pull.Puller{Sources: []pull.Source{remote}, NoAttached: true}
	images, err := p.Resolve(ctx, []pull.Request{{Ref: ref, Name: "oci://" + s}})
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(images[0].Blobs, func(b pull.BlobRef) bool { return b.Desc.MediaType == chart.MediaTypeLayer })
	if i < 0 {
		return nil, fmt.Errorf("oci://%s is no Helm chart: it has no layer of type %s", s, chart.MediaTypeLayer)
	}
	b := images[0].Blobs[i]
	if b.Desc.Size > maxChartBytes {
		return nil, fmt.Errorf("chart oci://%s has %d bytes; a chart may have %d", s, b.Desc.Size, maxChartBytes)
	}
	r, err := b.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, b.Desc.Size+1))
	if err != nil {
		return nil, err
	}
	if digest.FromBytes(data) != b.Desc.Digest {
		return nil, fmt.Errorf("chart oci://%s came with other bytes than %s", s, b.Desc.Digest)
	}
	return data, nil
}

// newestChart gives the highest version among the tags, as Helm chooses.
func newestChart(ref manifest.Reference, o RegistryOptions) (string, error) {
	host := ref.Registry
	if m, ok := o.Mirrors[host]; ok {
		host = m
	} else if m, ok := o.Mirrors["*"]; ok {
		host = m
	}
	opts := []helmregistry.ClientOption{helmregistry.ClientOptWriter(io.Discard)}
	if isLoopback(host) || slices.Contains(o.PlainHTTP, host) {
		opts = append(opts, helmregistry.ClientOptPlainHTTP())
	}
	if o.Config != "" {
		opts = append(opts, helmregistry.ClientOptCredentialsFile(o.Config))
	}
	c, err := helmregistry.NewClient(opts...)
	if err != nil {
		return "", err
	}
	tags, err := c.Tags(host + "/" + ref.Repository)
	if err != nil {
		return "", err
	}
	if len(tags) == 0 {
		return "", errors.New("it has no version; say oci://…:VERSION")
	}
	return strings.ReplaceAll(tags[0], "+", "_"), nil
}

func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// fetchRepoChart gets NAME@REPO_URL[:VERSION] from a classic chart repository.
func fetchRepoChart(ctx context.Context, spec string, o RegistryOptions) ([]byte, error) {
	name, rest, _ := strings.Cut(spec, "@")
	repoURL, version := splitVersion(rest)
	providers := getter.All(cli.New())
	chartURL, err := repo.FindChartInRepoURL(repoURL, name, providers,
		repo.WithChartVersion(version), repo.WithClientTLS("", "", o.CA))
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", spec, err)
	}
	u, err := url.Parse(chartURL)
	if err != nil {
		return nil, fmt.Errorf("chart %s: its repository names %q, which is no URL", spec, chartURL)
	}
	if u.Scheme == "oci" {
		return fetchOCIChart(ctx, strings.TrimPrefix(chartURL, "oci://"), o)
	}
	g, err := providers.ByScheme(u.Scheme)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", spec, err)
	}
	var opts []getter.Option
	if o.CA != "" {
		opts = append(opts, getter.WithTLSClientConfig("", "", o.CA))
	}
	buf, err := g.Get(chartURL, opts...)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", spec, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if buf.Len() > maxChartBytes {
		return nil, fmt.Errorf("chart %s has %d bytes; a chart may have %d", spec, buf.Len(), maxChartBytes)
	}
	return buf.Bytes(), nil
}

// splitVersion takes the version off the end of REPO_URL[:VERSION], which is
// not to be taken for a port.
func splitVersion(s string) (repoURL, version string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.Contains(s[i:], "/") {
		return s, ""
	}
	if u, err := url.Parse(s); err == nil && u.Port() == s[i+1:] && u.Path == "" {
		return s, ""
	}
	return s[:i], s[i+1:]
}
