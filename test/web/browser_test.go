package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// limit bounds all that is done with one page.
const limit = 90 * time.Second

// browser starts one Chromium for a test, or skips it.
func browser(t *testing.T) context.Context {
	t.Helper()
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("no chromium is installed; the pages were not opened")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // Chromium has none for root
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return ctx
}

// look is how a page is opened.
type look struct {
	name     string
	width    int64
	dark     bool
	print    bool
	noScript bool
	language string
	user     string // user:password
}

// seen is what a page did.
type seen struct {
	console  []string
	requests []string
	// text is all that can be read, width what it takes.
	text         string
	width        int64
	overflowing  []string
	background   string
	lang         string
	pdf          []byte
	ctx          context.Context
	restrictions string
}

// open loads a page in a tab of its own and keeps a picture of it.
func open(t *testing.T, b context.Context, url string, l look) *seen {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b)
	t.Cleanup(cancel)
	s := &seen{ctx: ctx}
	var mu sync.Mutex
	must(t, chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			s.console = append(s.console, fmt.Sprintf("%s: %v", ev.Type, ev.Args))
		case *runtime.EventExceptionThrown:
			s.console = append(s.console, fmt.Sprintf("exception: %+v", ev.ExceptionDetails))
		case *log.EventEntryAdded:
			s.console = append(s.console, fmt.Sprintf("%s: %s", ev.Entry.Level, ev.Entry.Text))
		case *network.EventRequestWillBeSent:
			s.requests = append(s.requests, ev.Request.URL)
		}
	}))
	ctx, cancel = context.WithTimeout(ctx, limit)
	t.Cleanup(cancel)
	media, scheme := "screen", "light"
	if l.print {
		media = "print"
	}
	if l.dark {
		scheme = "dark"
	}
	call(t, ctx, network.Enable, network.EnableParams{})
	call(t, ctx, log.Enable, cdp.Empty{})
	call(t, ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: l.width, Height: 900, DeviceScaleFactor: 1, Mobile: l.width < 600})
	call(t, ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	call(t, ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: l.noScript})
	headers := network.Headers{}
	if l.language != "" {
		headers["Accept-Language"] = l.language
	}
	if l.user != "" {
		headers["Authorization"] = basic(l.user)
	}
	if len(headers) > 0 {
		call(t, ctx, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers})
	}
	must(t, chromedp.Do(ctx, chromedp.Navigate(url)))
	s.text = eval[string](t, ctx, `document.body.innerText`)
	s.width = eval[int64](t, ctx, `document.documentElement.scrollWidth`)
	s.lang = eval[string](t, ctx, `document.documentElement.lang`)
	s.background = eval[string](t, ctx, `getComputedStyle(document.body).backgroundColor`)
	s.restrictions = eval[string](t, ctx, `(document.querySelector('meta[http-equiv="Content-Security-Policy"]')||{}).content||''`)
	s.overflowing = eval[[]string](t, ctx, `[...document.querySelectorAll('body *')].filter(e => !e.closest('svg') && !e.closest('thead') && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.tagName + ' ' + e.textContent.slice(0, 60)).slice(0, 5)`)
	shot := run(t, ctx, chromedp.FullScreenshot(100))
	if l.print {
		s.pdf = run(t, ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize(), chromedp.PDFPrintBackground()))
	}
	if dir := os.Getenv("BUNDLE_WEB_SHOTS"); dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		name := strings.ReplaceAll(t.Name(), "/", "-") + "-" + l.name
		if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
			t.Fatal(err)
		}
		if s.pdf != nil {
			if err := os.WriteFile(filepath.Join(dir, name+".pdf"), s.pdf, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	s.console, s.requests = slices.Clone(s.console), slices.Clone(s.requests)
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run[T any](t *testing.T, ctx context.Context, a chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, a)
	must(t, err)
	return v
}

func eval[T any](t *testing.T, ctx context.Context, js string) T {
	t.Helper()
	return run(t, ctx, chromedp.Evaluate[T](js))
}

func call[P, R any](t *testing.T, ctx context.Context, cmd cdp.Command[P, R], params P) {
	t.Helper()
	_, err := chromedp.Call(ctx, cmd, params)
	must(t, err)
}

// looks are the ways in which every page has to be good.
var looks = []look{
	{name: "desktop", width: 1280},
	{name: "dark", width: 1280, dark: true},
	{name: "phone", width: 390},
	{name: "phone-dark", width: 390, dark: true},
	{name: "no-script", width: 1280, noScript: true},
	{name: "paper", width: 718, print: true},
}

// good opens a page in all ways and wants facts on each.
func good(t *testing.T, b context.Context, url string, facts []string, base look) {
	t.Helper()
	var light, dark string
	for _, l := range looks {
		l.language, l.user = base.language, base.user
		s := open(t, b, url, l)
		if len(s.console) > 0 {
			t.Errorf("%s: the console says %q", l.name, s.console)
		}
		for _, r := range s.requests {
			if r != url && !strings.HasPrefix(r, "data:") {
				t.Errorf("%s: it asks for %s", l.name, r)
			}
		}
		if s.width > l.width || len(s.overflowing) > 0 {
			t.Errorf("%s: it is %d wide where there is room for %d: %q", l.name, s.width, l.width, s.overflowing)
		}
		if !strings.Contains(s.restrictions, "default-src 'none'") {
			t.Errorf("%s: its security policy is %q", l.name, s.restrictions)
		}
		for _, f := range facts {
			if !strings.Contains(s.text, f) {
				t.Errorf("%s: nothing is said of %q", l.name, f)
			}
		}
		switch {
		case l.name == "desktop":
			light = s.background
		case l.name == "dark":
			dark = s.background
		case l.print && (len(s.pdf) < 1000 || string(s.pdf[:4]) != "%PDF"):
			t.Errorf("%s: printing gives %d bytes", l.name, len(s.pdf))
		case l.print && s.background != "rgb(255, 255, 255)":
			t.Errorf("%s: the paper is %s", l.name, s.background)
		}
	}
	if light == dark {
		t.Errorf("light and dark have the same background %s", light)
	}
}
