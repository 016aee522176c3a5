package check

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"join":   func(list []string) string { return strings.Join(list, ", ") },
	"dash":   orDash,
	"time":   func(t time.Time) string { return t.Format("2006-01-02 15:04:05 MST") },
	"status": func(s Status) string { return statusWords[s] },
}).Parse(page))

// statusWords are the outcomes in both languages of the page.
var statusWords = map[Status]string{
	Pass: "pass 通过", Fail: "fail 不通过", Warning: "warning 注意", Skipped: "skipped 未检查",
}

// maxPage bounds the page, so that it can be sent by mail.
const maxPage = 480 << 10

// HTML writes the report as one page to print and to sign. It holds all that
// it needs and runs no script. Of a very large cluster it shows as many hosts
// and as much evidence as the page has room for, and says how much more there
// is.
func (r Report) HTML(w io.Writer) error {
	var page bytes.Buffer
	for limit := max(len(r.Hosts), MaxEvidence); ; limit /= 2 {
		page.Reset()
		if err := r.page(&page, limit); err != nil {
			return err
		}
		if page.Len() <= maxPage || limit <= 1 {
			_, err := page.WriteTo(w)
			return err
		}
	}
}

// page shows at most limit hosts, and lines of evidence for each item.
func (r Report) page(w io.Writer, limit int) error {
	shown := struct {
		Report
		AllHosts, MoreHosts int
	}{r, len(r.Hosts), max(len(r.Hosts)-limit, 0)}
	shown.Hosts = r.Hosts[:len(r.Hosts)-shown.MoreHosts]
	shown.Items = slices.Clone(r.Items)
	for n := range shown.Items {
		i := &shown.Items[n]
		more := max(len(i.Evidence)-limit, 0)
		i.Evidence = i.Evidence[:len(i.Evidence)-more]
		i.Omitted += more
	}
	return pageTemplate.Execute(w, shown)
}
