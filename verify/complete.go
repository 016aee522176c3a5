package verify

import (
	"fmt"

	"github.com/opencontainers/go-digest"

	"bundle/archive"
	"bundle/manifest"
)

// checkEntries makes sure that index.json and the inventory list the same.
func (s *survey) checkEntries() {
	c := s.contents
	if c == nil {
		return
	}
	index := s.held.Index()
	for _, x := range []struct{ what, index, inventory string }{
		{"name", index.Annotations[archive.AnnotationName], c.Name},
		{"version", index.Annotations[archive.AnnotationVersion], c.Version},
	} {
		if x.index != x.inventory {
			s.problems.add(Problem{Kind: ProblemMalformed, Object: "inventory",
				Reason: fmt.Sprintf("it says %s %q and index.json %q", x.what, printable(x.inventory), printable(x.index))})
		}
	}
	listed := make(map[string]bool, len(c.Images)+len(c.Charts))
	for _, img := range c.Images {
		listed[img.Name] = true
	}
	for _, chart := range c.Charts {
		listed[chartRef(chart)] = true
	}
	for _, e := range s.all {
		kind, ref := e.node.Annotations[archive.AnnotationKind], e.node.Annotations[archive.AnnotationRef]
		if (kind == archive.KindImage || kind == archive.KindChart) && !listed[ref] {
			s.problems.add(Problem{Kind: ProblemUnexpected, Object: entryName(e), Digest: e.node.Digest,
				Reason: "index.json lists it and the inventory does not"})
		}
	}
}

func chartRef(c manifest.Chart) string { return "charts/" + c.Name + ":" + c.Version }

// entryName names the object of an entry as a whole.
func entryName(e *entry) string {
	ref := printable(e.node.Annotations[archive.AnnotationRef])
	switch e.node.Annotations[archive.AnnotationKind] {
	case archive.KindImage:
		return "image " + ref
	case archive.KindChart:
		return chartName(ref)
	case archive.KindAttached:
		return "attachment " + ref
	}
	return nodeName(e.node)
}

// checkContents makes sure that all that the inventory promises is there.
func (s *survey) checkContents() {
	if s.contents == nil {
		return
	}
	for _, img := range s.contents.Images {
		s.checkImage(img)
	}
	for _, chart := range s.contents.Charts {
		ref := chartRef(chart)
		s.checkListed(chartName(printable(ref)), s.charts[ref], chart.Digest)
	}
}

// checkListed makes sure that index.json lists an object with the digest that
// the inventory gives.
func (s *survey) checkListed(object string, e *entry, d digest.Digest) bool {
	switch {
	case e == nil:
		s.problems.add(Problem{Kind: ProblemMissing, Object: object, Digest: printableDigest(d), Reason: "the inventory lists it and index.json does not"})
		return false
	case e.node.Digest != d:
		s.problems.add(Problem{Kind: ProblemMalformed, Object: object, Digest: e.node.Digest,
			Reason: fmt.Sprintf("index.json gives it this digest, and the inventory %s", printable(string(d)))})
		return false
	}
	return true
}

func (s *survey) checkImage(img manifest.Image) {
	object := "image " + printable(img.Name)
	e := s.images[img.Name]
	for _, a := range img.Attached {
		if !s.attached[a.Digest] {
			s.problems.add(Problem{Kind: ProblemMissing, Object: "attachment of " + object, Digest: printableDigest(a.Digest),
				Reason: "the inventory lists it and index.json does not"})
		}
	}
	if !s.checkListed(object, e, img.Digest) {
		return
	}
	if e.node.MediaType != img.MediaType {
		s.problems.add(Problem{Kind: ProblemMalformed, Object: object, Digest: e.node.Digest,
			Reason: fmt.Sprintf("index.json gives it media type %s, and the inventory %s", printable(e.node.MediaType), printable(img.MediaType))})
	}
	if e.node.Err != nil {
		// Its index cannot be read, which is told elsewhere.
		return
	}
	if _, ok := s.held.Stat(e.node.Digest); !ok {
		return
	}
	if e.excused && len(e.present) == 0 && !e.bare {
		s.problems.add(Problem{Kind: ProblemMissing, Object: object, Digest: e.node.Digest, Reason: "none of its platforms is in the bundle"})
		return
	}
	for _, name := range img.Platforms {
		// A manifest whose platform stands only in its config may be the one. A
		// platform that is none is missing, too.
		p, err := manifest.ParsePlatform(name)
		if (err != nil || !e.present[p]) && !e.bare {
			s.problems.add(Problem{Kind: ProblemMissing, Object: fmt.Sprintf("%s (%s)", object, printable(name)), Digest: e.node.Digest,
				Reason: "the inventory promises this platform"})
		}
	}
}

// printableDigest keeps what is no digest out of reports.
func printableDigest(d digest.Digest) digest.Digest {
	if d.Validate() != nil {
		return ""
	}
	return d
}
