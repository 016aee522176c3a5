package cluster

import (
	"strings"

	"bundle/manifest"
)

// Row is one line of the data of a HOSTNAME, LABEL or TAINT plugin.
type Row struct {
	Host Host
	// Name is the new host name, of a HOSTNAME plugin.
	Name string
	// Labels are those of a LABEL plugin.
	Labels map[string]string
	// Taints are written like [Host].Taints, of a TAINT plugin.
	Taints []string
	Source manifest.Source
}

// Table reads the data of a HOSTNAME, LABEL or TAINT plugin: lines of an
// address, or a list or range of them, a blank, and the value.
//
//	192.168.0.2 master-0
//	192.168.0.3 ssd=true,hdd=false
//	192.168.0.4-192.168.0.6 key=value:NoSchedule
//
// Blank lines and lines that begin with # are passed over. Sealer skipped
// lines that it did not understand; here they are errors.
func (c *Cluster) Table(p Plugin) ([]Row, []Warning, error) {
	r := &report{}
	rows := c.table(r, p)
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return rows, r.warnings, nil
}

func (c *Cluster) table(r *report, p Plugin) []Row {
	var rows []Row
	n := -1
	for line := range strings.Lines(p.Data) {
		n++
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		at := p.Source
		if p.Line > 0 {
			at = manifest.FileLine(fileOf(p.Source), p.Line+n)
		}
		what := "the Plugin " + quoted(p.Name)
		if len(words) < 2 || len(words) > 2 && p.Type != TypeTaint && p.Type != TypeLabel {
			r.bad(at, "write an address, a blank and the value", "%s has a line of %d words", what, len(words))
			continue
		}
		row, ok := readRow(r, at, what, p.Type, words[1:])
		if !ok {
			continue
		}
		for _, w := range selectors(words[:1]) {
			for _, h := range c.match(r, at, what, w) {
				row.Host = h
				rows = append(rows, row)
			}
		}
	}
	return rows
}

func readRow(r *report, at manifest.Source, what, kind string, words []string) (Row, bool) {
	row := Row{Source: at}
	switch kind {
	case TypeHostname:
		row.Name = words[0]
		if !dnsName.MatchString(row.Name) || strings.HasPrefix(row.Name, "*") {
			r.bad(at, "", "%s has %.60q for a host name", what, row.Name)
			return row, false
		}
	case TypeLabel:
		row.Labels = map[string]string{}
		for _, w := range selectors(words) {
			key, value, ok := strings.Cut(w, "=")
			if !ok || !labelKey.MatchString(key) || !labelValue.MatchString(value) {
				r.bad(at, "write key=value", "%s has %.60q for a label", what, w)
				return row, false
			}
			row.Labels[key] = value
		}
	case TypeTaint:
		for _, w := range selectors(words) {
			if !validTaint(w) {
				r.bad(at, "write key=value:NoSchedule, with a - behind it to remove it", "%s has %.80q for a taint", what, w)
				return row, false
			}
			row.Taints = append(row.Taints, w)
		}
	default:
		r.bad(at, "", "%s is of the type %s, whose data is no table", what, kind)
		return row, false
	}
	return row, true
}

// fileOf is the file of a source, without the line.
func fileOf(s manifest.Source) string {
	file := string(s)
	if i := strings.LastIndexByte(file, ':'); i > 0 {
		file = file[:i]
	}
	return file
}
