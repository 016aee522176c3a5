package catalogue

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	"bundle/internal/page"
	"bundle/manifest"
)

//go:embed page.html
var source string

//go:embed copy.js
var script string

var pageTemplate = page.New(source, words, page.Options{Script: script, Forms: true})

// pageLines is how many images are on one page.
const pageLines = 50

// Trust is what was found out about the signature of a bundle.
type Trust string

// What may be known.
const (
	Verified  Trust = "verified"
	Unchecked Trust = "unchecked" // nobody said whom to believe
	Skipped   Trust = "skipped"   // it was not to be checked
)

// Bundle is one bundle that is served.
type Bundle struct {
	// File is what the user calls it.
	File        string
	IndexDigest digest.Digest
	Size        int64
	Trust       Trust
	// Contents reads its inventory; it is asked when the page is first opened.
	Contents func() (*manifest.Contents, error)
}

// Options say what the page is about.
type Options struct {
	Bundles []Bundle
	// Problems tells which bundles cannot be read now, and why; empty where
	// all is well.
	Problems func(context.Context) map[string]string
	// Protected: clients need a user and a password.
	Protected bool
	// Writable: what was pushed is served too, and is not on the page.
	Writable bool
	// CA is the file that clients have to trust, empty where the registry has
	// no authority of its own.
	CA string
}

// Handler answers the page.
type Handler struct {
	o Options

	mu    sync.Mutex
	known []*manifest.Contents // by bundle, nil until read
}

// New makes a handler.
func New(o Options) *Handler {
	return &Handler{o: o, known: make([]*manifest.Contents, len(o.Bundles))}
}

// contents reads the inventory of a bundle once.
func (h *Handler) contents(i int) (*manifest.Contents, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[i] == nil {
		c, err := h.o.Bundles[i].Contents()
		if err != nil {
			return nil, err
		}
		h.known[i] = c
	}
	return h.known[i], nil
}

// ServeHTTP answers GET and HEAD. ?q= looks for a text in names, ?page= leafs
// through them, ?lang= overrides the browser's language.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	lang, err := page.ParseLang(query.Get("lang"))
	if err != nil {
		lang = page.AcceptLang(r.Header.Get("Accept-Language"))
	}
	v := h.view(r, query)
	var b bytes.Buffer
	if err := pageTemplate.Write(&b, lang, v); err != nil {
		http.Error(w, "the page cannot be written", http.StatusInternalServerError)
		return
	}
	head := w.Header()
	head.Set("Content-Type", "text/html; charset=utf-8")
	head.Set("Content-Length", strconv.Itoa(b.Len()))
	head.Set("Content-Security-Policy", pageTemplate.Policy()+"; frame-ancestors 'none'")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cache-Control", "no-cache")
	head.Set("Vary", "Accept-Language, Authorization")
	_, _ = w.Write(b.Bytes()) // the client is gone, or not
}

// view is one answer.
type view struct {
	Options
	// Address is how clients reach the registry; Scheme is http or https.
	Address, Scheme string
	Plain, Loopback bool
	Bundles         []shownBundle
	Images          []image
	Charts          []chart
	Health          []string // what is wrong
	// Found of All images fit the query; the page is one of Pages.
	Query, Lang      string
	All, Found       int
	Page, Pages      int
	Previous, Next   string
	AllCharts        int
	Tools            []string
	English, Chinese string
	Platforms        []string
	ServedBytes      int64
}

type shownBundle struct {
	Bundle
	Name, Version, Class, State string
	Problem                     string
}

type image struct {
	manifest.Image
	Commands []command
}

type chart struct {
	manifest.Chart
	Command string
}

// command is one line for one tool.
type command struct{ Tool, Line string }

// tools are those that the page knows lines for.
var tools = []string{"docker", "nerdctl", "skopeo", "crane"}

func (h *Handler) view(r *http.Request, query url.Values) *view {
	const maxQuery = 200
	v := &view{Options: h.o, Scheme: "http", Plain: r.TLS == nil, Tools: tools, Lang: query.Get("lang")}
	if r.TLS != nil {
		v.Scheme = "https"
	}
	v.Address = address(r)
	host, _, _ := net.SplitHostPort(v.Address)
	ip := net.ParseIP(host)
	v.Loopback = host == "localhost" || ip != nil && ip.IsLoopback()
	v.Query = strings.ToLower(strings.TrimSpace(query.Get("q")))
	v.Query = strings.ToValidUTF8(v.Query[:min(len(v.Query), maxQuery)], "")
	v.Health = problems(h.o.Problems(r.Context()))
	images := map[string]image{}
	charts := map[string]chart{}
	for i, b := range h.o.Bundles {
		s := shownBundle{Bundle: b, Name: b.File}
		s.Class, s.State = state(b.Trust)
		v.ServedBytes += b.Size
		c, err := h.contents(i)
		if err != nil {
			s.Problem = err.Error()
			v.Bundles = append(v.Bundles, s)
			continue
		}
		s.Name, s.Version = c.Name, c.Version
		v.Bundles = append(v.Bundles, s)
		for _, i := range c.Images {
			images[i.Name] = image{Image: i}
		}
		for _, ch := range c.Charts {
			charts[ch.Name+":"+ch.Version] = chart{Chart: ch}
		}
		v.Platforms = append(v.Platforms, c.Platforms...)
	}
	slices.Sort(v.Platforms)
	v.Platforms = slices.Compact(v.Platforms)
	v.list(images, charts)
	v.leaf(query)
	return v
}

// list sorts what fits the query and gives it its commands.
func (v *view) list(images map[string]image, charts map[string]chart) {
	v.All, v.AllCharts = len(images), len(charts)
	for name, i := range images {
		if strings.Contains(strings.ToLower(name), v.Query) || strings.HasPrefix(strings.TrimPrefix(i.Digest.String(), "sha256:"), strings.TrimPrefix(v.Query, "sha256:")) {
			v.Images = append(v.Images, i)
		}
	}
	slices.SortFunc(v.Images, func(a, b image) int { return strings.Compare(a.Name, b.Name) })
	for name, c := range charts {
		if strings.Contains(strings.ToLower(name), v.Query) {
			c.Command = v.helm(c.Chart)
			v.Charts = append(v.Charts, c)
		}
	}
	slices.SortFunc(v.Charts, func(a, b chart) int { return strings.Compare(a.Name+a.Version, b.Name+b.Version) })
	v.Found = len(v.Images)
}

// leaf keeps the images of one page.
func (v *view) leaf(query url.Values) {
	v.Pages = max((v.Found+pageLines-1)/pageLines, 1)
	v.Page, _ = strconv.Atoi(query.Get("page"))
	v.Page = min(max(v.Page, 1), v.Pages)
	from := (v.Page - 1) * pageLines
	v.Images = v.Images[from:min(from+pageLines, v.Found)]
	for i := range v.Images {
		v.Images[i].Commands = v.commands(v.Images[i].Name)
	}
	at := func(page int, lang string) string {
		q := url.Values{}
		if v.Query != "" {
			q.Set("q", v.Query)
		}
		if page > 1 {
			q.Set("page", strconv.Itoa(page))
		}
		if lang != "" {
			q.Set("lang", lang)
		}
		return "/?" + q.Encode()
	}
	if v.Page > 1 {
		v.Previous = at(v.Page-1, v.Lang)
	}
	if v.Page < v.Pages {
		v.Next = at(v.Page+1, v.Lang)
	}
	v.English, v.Chinese = at(v.Page, string(page.English)), at(v.Page, string(page.Chinese))
}

// safeHost are addresses that may stand in a command line as they are.
var safeHost = regexp.MustCompile(`^[A-Za-z0-9._-]+(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)

// address is where the page was asked for, or where the connection came in if
// the browser's word for it cannot stand in a command.
func address(r *http.Request) string {
	if safeHost.MatchString(r.Host) {
		return r.Host
	}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return "REGISTRY"
}

// commands are the lines that pull an image; none where its name could be more
// than a name to a shell. A registry with a port in its name cannot be part of a
// path; such an image answers without it.
func (v *view) commands(name string) []command {
	named, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return nil
	}
	ref := name
	if strings.Contains(reference.Domain(named), ":") {
		ref = strings.TrimPrefix(name, reference.Domain(named)+"/")
	}
	ref = v.Address + "/" + ref
	base := path.Base(reference.Path(named))
	flag := func(s string) string {
		if v.Plain {
			return s + " "
		}
		return ""
	}
	nerdctl := ""
	if v.Plain && !v.Loopback { // nerdctl takes plain HTTP of loopback for granted
		nerdctl = "--insecure-registry "
	}
	return []command{
		{"docker", "docker pull " + ref},
		{"nerdctl", "nerdctl " + nerdctl + "-n k8s.io pull " + ref},
		{"skopeo", fmt.Sprintf("skopeo copy %sdocker://%s docker-archive:%s.tar", flag("--src-tls-verify=false"), ref, base)},
		{"crane", fmt.Sprintf("crane pull %s%s %s.tar", flag("--insecure"), ref, base)},
	}
}

// safeWord is what a chart's name and version may be in a command line.
var safeWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+/-]*$`)

func (v *view) helm(c manifest.Chart) string {
	if !safeWord.MatchString(c.Name) || !safeWord.MatchString(c.Version) {
		return ""
	}
	line := fmt.Sprintf("helm pull oci://%s/charts/%s --version %s", v.Address, c.Name, c.Version)
	if v.Plain {
		line += " --plain-http"
	}
	return line
}

func problems(m map[string]string) []string {
	var list []string
	for name, why := range m {
		list = append(list, name+": "+why)
	}
	slices.Sort(list)
	return list
}

func state(t Trust) (class, text string) {
	switch t {
	case Verified:
		return "ok", "signature verified"
	case Skipped:
		return "warn", "signature not checked, as was asked for"
	}
	return "warn", "signature not checked"
}
