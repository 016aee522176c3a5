package upstream

import (
	"encoding/json"
	"net/http"
	"regexp"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// referrers answers OCI 1.1's referrers API for what [attachSBOM] attached.
// The registry library's own answer names the config's media type where the
// specification wants the artifact type.
type referrers struct {
	mu sync.Mutex
	of map[string][]v1.Descriptor // by "repository@digest"
}

func (r *referrers) add(repository string, subject v1.Hash, d v1.Descriptor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string][]v1.Descriptor{}
	}
	key := repository + "@" + subject.String()
	r.of[key] = append(r.of[key], d)
}

var referrersPath = regexp.MustCompile(`^/v2/(.+)/referrers/(sha256:[0-9a-f]{64})$`)

func (r *referrers) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		m := referrersPath.FindStringSubmatch(req.URL.Path)
		if m == nil || req.Method != http.MethodGet {
			next.ServeHTTP(w, req)
			return
		}
		filter := req.URL.Query().Get("artifactType")
		idx := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
		r.mu.Lock()
		for _, d := range r.of[m[1]+"@"+m[2]] {
			if filter == "" || filter == d.ArtifactType {
				idx.Manifests = append(idx.Manifests, d)
			}
		}
		r.mu.Unlock()
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		if filter != "" {
			w.Header().Set("OCI-Filters-Applied", "artifactType")
		}
		_ = json.NewEncoder(w).Encode(idx)
	})
}
