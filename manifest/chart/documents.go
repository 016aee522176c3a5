package chart

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	helmchart "helm.sh/helm/v4/pkg/chart/v2"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"sigs.k8s.io/yaml"
)

const (
	hookAnnotation = "helm.sh/hook"
	notesFile      = "NOTES.txt"
)

// hookEvents are those Helm knows; it never applies a document that names
// another one.
var hookEvents = []string{
	"pre-install", "post-install", "pre-delete", "post-delete", "pre-upgrade",
	"post-upgrade", "pre-rollback", "post-rollback", "test", "test-success",
}

// documents cuts what the engine rendered into documents.
func (c *Chart) documents(hc *helmchart.Chart, rendered map[string]string) ([]Doc, error) {
	var docs []Doc
	crds := hc.CRDObjects()
	slices.SortStableFunc(crds, func(a, b helmchart.CRD) int { return cmp.Compare(a.Filename, b.Filename) })
	for _, crd := range crds {
		list, err := c.split(c.relative(hc, crd.Filename), string(crd.File.Data))
		if err != nil {
			return nil, err
		}
		for _, d := range list {
			docs = append(docs, Doc{Template: d.Template, Data: d.Data, CRD: true})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		if strings.HasSuffix(name, notesFile) || strings.HasPrefix(path.Base(name), "_") {
			continue
		}
		list, err := c.split(c.relative(hc, name), rendered[name])
		if err != nil {
			return nil, err
		}
		docs = append(docs, list...)
	}
	return docs, nil
}

// head is what Helm itself reads of a document.
type head struct {
	Metadata *struct {
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// split cuts one rendered template the way Helm does and finds hooks.
func (c *Chart) split(template, text string) ([]Doc, error) {
	parts := releaseutil.SplitManifests(text)
	keys := slices.Collect(maps.Keys(parts))
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	var docs []Doc
	for i, k := range keys {
		var h head
		if err := yaml.Unmarshal([]byte(parts[k]), &h); err != nil {
			return nil, &Error{Class: ErrRender, Chart: c.Name, Template: template,
				Reason: fmt.Sprintf("document %d of its output is not YAML: %s", i+1, yamlReason(err))}
		}
		if blank(parts[k]) {
			continue
		}
		d := Doc{Template: template, Data: []byte(parts[k])}
		if h.Metadata != nil {
			events, hook, known := hookOf(h.Metadata.Annotations)
			if !known {
				continue
			}
			d.Hook, d.Events = hook, events
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// hookOf reads the events of a hook; known is false for one Helm would skip.
func hookOf(annotations map[string]string) (events []string, hook, known bool) {
	value, ok := annotations[hookAnnotation]
	if !ok {
		return nil, false, true
	}
	for e := range strings.SplitSeq(value, ",") {
		e = strings.ToLower(strings.TrimSpace(e))
		if !slices.Contains(hookEvents, e) {
			return nil, false, false
		}
		events = append(events, e)
	}
	return events, true, true
}

// blank tells whether a document holds nothing but comments.
func blank(doc string) bool {
	for line := range strings.Lines(doc) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return false
		}
	}
	return true
}

// yamlReason drops the words that YAML libraries put before the reason.
func yamlReason(err error) string {
	s := strings.TrimPrefix(oneLine(err.Error()), "error converting YAML to JSON: ")
	return strings.TrimPrefix(s, "yaml: ")
}
