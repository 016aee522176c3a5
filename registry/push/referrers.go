package push

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"

	"bundle/registry/wire"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// put is a request that stores a manifest.
func put(name, mediaType string, raw []byte) wire.Request {
	return wire.Request{
		Method:        http.MethodPut,
		Path:          "manifests/" + name,
		Header:        http.Header{"Content-Type": {mediaType}},
		Body:          bodyOf(raw),
		GetBody:       getBody(raw),
		ContentLength: int64(len(raw)),
		Accept:        []int{http.StatusCreated, http.StatusOK, http.StatusAccepted},
	}
}

// refer puts t on the list of referrers of its subject, which clients keep
// under a tag where a registry does not have the referrers API (OCI
// distribution specification, "Pushing Manifests with Subject").
func (p *pusher) refer(ctx context.Context, to wire.Target, t *tree) error {
	lock := p.listLock(to.Repository)
	lock.Lock()
	defer lock.Unlock()

	tag := string(t.subject.Digest.Algorithm()) + "-" + t.subject.Digest.Encoded()
	list := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	_, raw, err := p.client.ReadAll(ctx, to, wire.Request{
		Method: http.MethodGet,
		Path:   "manifests/" + tag,
		Header: http.Header{"Accept": {ocispec.MediaTypeImageIndex}},
		Accept: []int{http.StatusOK},
	}, maxManifest)
	switch {
	case err == nil:
		if err := json.Unmarshal(raw, &list); err != nil || list.MediaType != ocispec.MediaTypeImageIndex {
			return &wire.Error{Addr: to.Addr, Class: wire.ErrRefused, Err: err,
				Reason: "has something else under " + tag + ", where the list of referrers belongs"}
		}
	case !errors.Is(err, wire.ErrNotFound):
		return err
	}
	if slices.ContainsFunc(list.Manifests, func(d ocispec.Descriptor) bool { return d.Digest == t.desc.Digest }) {
		return nil
	}
	var about struct {
		ArtifactType string              `json:"artifactType"`
		Config       *ocispec.Descriptor `json:"config"`
		Annotations  map[string]string   `json:"annotations"`
	}
	if err := json.Unmarshal(t.raw, &about); err != nil {
		return err
	}
	d := t.desc
	if d.ArtifactType = about.ArtifactType; d.ArtifactType == "" && about.Config != nil {
		d.ArtifactType = about.Config.MediaType
	}
	d.Annotations = about.Annotations
	list.Manifests = append(list.Manifests, d)
	if raw, err = json.Marshal(list); err != nil {
		return err
	}
	resp, err := p.client.Do(ctx, to, put(tag, ocispec.MediaTypeImageIndex, raw))
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (p *pusher) listLock(repository string) *sync.Mutex {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.subjects[repository]
	if l == nil {
		l = &sync.Mutex{}
		p.subjects[repository] = l
	}
	return l
}
