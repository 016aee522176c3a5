package page

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestAreasAreTrue holds every tile against its value, and all of them against
// each other: nothing overlaps and nothing sticks out.
func TestAreasAreTrue(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 7, 150, 600} {
		var tiles []Tile
		var total int64
		for range n {
			v := int64(math.Exp(rnd.Float64() * 22))
			total += v
			tiles = append(tiles, Tile{Value: v, Label: "x"})
		}
		for _, view := range NewMap("", tiles).Views {
			if len(view.Boxes) != n {
				t.Fatalf("%d of %d tiles are drawn", len(view.Boxes), n)
			}
			var sum float64
			for _, b := range view.Boxes {
				sum += b.Area()
				if b.X < -0.01 || b.Y < -0.01 || b.X+b.W > 100.01 || b.Y+b.H > 100.01 {
					t.Errorf("a tile sticks out: %+v", b.Rect)
				}
			}
			// Places are rounded to a thousandth of a percent.
			if math.Abs(sum-10000) > 1+float64(n)*0.05 {
				t.Errorf("%d tiles cover %.2f of 10000", n, sum)
			}
			for i, b := range view.Boxes[:min(n, 20)] {
				if want := squarify(sorted(tiles), 1); math.Abs(b.Area()-want[i].Area()) > 0.3 {
					t.Errorf("tile %d has the area %f, want %f", i, b.Area(), want[i].Area())
				}
				for _, c := range view.Boxes[:i] {
					if b.X < c.X+c.W-0.01 && c.X < b.X+b.W-0.01 && b.Y < c.Y+c.H-0.01 && c.Y < b.Y+b.H-0.01 {
						t.Errorf("%+v lies on %+v", b.Rect, c.Rect)
					}
				}
			}
		}
		for i, r := range squarify(sorted(tiles), 2.5) {
			want := float64(sorted(tiles)[i]) / float64(total) * 10000
			if math.Abs(r.Area()-want) > 1e-6*10000 {
				t.Errorf("area %f is not in the ratio of its value, %f", r.Area(), want)
			}
		}
	}
	if m := NewMap("", []Tile{{Value: 0}, {Value: -4}}); len(m.Views[0].Boxes) > 0 {
		t.Error("nothing is drawn as something")
	}
}

func sorted(tiles []Tile) []int64 {
	var v []int64
	for _, b := range tiles {
		v = append(v, b.Value)
	}
	for i := range v {
		for j := i + 1; j < len(v); j++ {
			if v[j] > v[i] {
				v[i], v[j] = v[j], v[i]
			}
		}
	}
	return v
}

func TestLanguageOfBrowserAndLocale(t *testing.T) {
	for header, want := range map[string]Lang{
		"": English, "zh-CN,zh;q=0.9,en;q=0.8": Chinese, "en-US,en;q=0.9,zh;q=0.8": English,
		"zh;q=0.3, en;q=0.5": English, "de, zh-TW;q=0.5": Chinese, "fr": English, "zh;q=x, en;q=0.1": English,
		"*;q=0.5": English, "zh;q=0": English,
	} {
		if got := AcceptLang(header); got != want {
			t.Errorf("Accept-Language %q gives %s, want %s", header, got, want)
		}
	}
	for _, tt := range []struct {
		env  map[string]string
		want Lang
	}{
		{map[string]string{"LANG": "zh_CN.UTF-8"}, Chinese},
		{map[string]string{"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, English},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, Chinese},
		{nil, English},
	} {
		if got := LocaleLang(func(n string) string { return tt.env[n] }); got != tt.want {
			t.Errorf("%v gives %s, want %s", tt.env, got, tt.want)
		}
	}
}

// TestPolicyNamesWhatIsThere: a browser would show a page without style if
// the digests were of other bytes than those in the page.
func TestPolicyNamesWhatIsThere(t *testing.T) {
	script := "\"use strict\"; // a comment </ and <b> & 'quotes'\nif (1 < 2 && 3 > 2) { document.title = \"x\"; }\n"
	p := New(`{{define "title"}}{{.}}{{end}}{{define "main"}}<p>{{.}}</p>{{end}}`, nil, Options{Script: script, Forms: true})
	var b bytes.Buffer
	if err := p.Write(&b, Chinese, "</title><script>alert(1)</script>"); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, tag := range []string{"style", "script"} {
		_, rest, ok := strings.Cut(page, "<"+tag+">")
		content, _, ok2 := strings.Cut(rest, "</"+tag+">")
		if !ok || !ok2 || !strings.Contains(p.Policy(), source(content)) {
			t.Errorf("the policy %q does not have the digest of the page's %s", p.Policy(), tag)
		}
	}
	if strings.Count(page, "<script>") != 1 || !strings.Contains(page, `<html lang="zh-CN">`) {
		t.Error(page)
	}
}

func TestFitShowsLessOfMore(t *testing.T) {
	p := New(`{{define "title"}}{{end}}{{define "main"}}{{range .}}{{.}}{{end}}{{end}}`, nil, Options{})
	list := make([]string, 5000)
	for i := range list {
		list[i] = strings.Repeat("x", 400)
	}
	var b bytes.Buffer
	if err := p.Fit(&b, English, len(list), func(limit int) any { s, _ := Some(list, limit); return s }); err != nil {
		t.Fatal(err)
	}
	if b.Len() > MaxSize || b.Len() < MaxSize/4 {
		t.Errorf("the page has %d bytes of at most %d", b.Len(), MaxSize)
	}
}

func TestTimesForPeople(t *testing.T) {
	for d, want := range map[time.Duration]string{
		40 * time.Millisecond: "0.0 s", 3400 * time.Millisecond: "3 s", 95 * time.Second: "1 min 35 s", 3*time.Hour + 4*time.Minute: "3 h 04 min",
	} {
		if got := Took(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
