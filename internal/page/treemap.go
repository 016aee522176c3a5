package page

import (
	"cmp"
	"math"
	"slices"
)

// Tile is one thing of a [Map].
type Tile struct {
	// Class is the style: "own", "shared", "chart", "files" or "other".
	Class string
	Label string
	// Title says more, for those who point at the tile.
	Title string
	// Href leads to where the page says everything of it; it may be empty.
	Href string
	// Value is what the area stands for.
	Value int64
	// Parts divide the tile; their sum is at most Value.
	Parts []int64
}

// Map is a drawing in which areas are in the ratio of values: once for a wide
// page and once for a phone.
type Map struct {
	// Label is what it shows, for those who cannot see it.
	Label string
	Views []View
}

// View is a map laid out for one shape of page.
type View struct {
	Class  string
	Height int
	Boxes  []Box
}

// Box is one tile where it lies, in percent of what it lies in.
type Box struct {
	Rect
	Class, Label, Sub, Title, Href string
	Cuts                           []Rect
}

// Rect is a place in percent.
type Rect struct{ X, Y, W, H float64 }

// Area is in ten-thousandths of what the place lies in.
func (r Rect) Area() float64 { return r.W * r.H }

// The shapes in CSS pixels, as the style sheet shows them. Widths are nominal.
var shapes = []struct {
	class         string
	width, height float64
}{
	{"wide", 1090, 420}, {"tall", 330, 560},
}

// What a label needs, in pixels.
const (
	labelWidth, labelHeight         = 46, 24
	subWidth, subHeight             = 62, 42
	charWidth, padding      float64 = 8.2, 12
)

// NewMap lays tiles out, the largest first. Tiles without value are left out.
func NewMap(label string, tiles []Tile) Map {
	tiles = slices.DeleteFunc(slices.Clone(tiles), func(t Tile) bool { return t.Value <= 0 })
	slices.SortStableFunc(tiles, func(a, b Tile) int { return cmp.Compare(b.Value, a.Value) })
	values := make([]int64, len(tiles))
	for i, t := range tiles {
		values[i] = t.Value
	}
	m := Map{Label: label}
	for _, s := range shapes {
		v := View{Class: s.class, Height: int(s.height)}
		for i, r := range squarify(values, s.width/s.height) {
			t := tiles[i]
			b := Box{Rect: r, Class: t.Class, Title: t.Title, Href: t.Href}
			w, h := r.W*s.width/100, r.H*s.height/100
			if w >= labelWidth && h >= labelHeight {
				b.Label = clip(t.Label, w)
				if w >= subWidth && h >= subHeight {
					b.Sub = Size(t.Value)
				}
			}
			if len(t.Parts) > 1 {
				parts := slices.Clone(t.Parts)
				slices.SortFunc(parts, func(a, b int64) int { return cmp.Compare(b, a) })
				for _, c := range squarify(parts, w/h) {
					if c.W*w/100 >= 2 && c.H*h/100 >= 2 { // a line thinner than itself is no part
						b.Cuts = append(b.Cuts, c.round())
					}
				}
			}
			b.Rect = b.round()
			v.Boxes = append(v.Boxes, b)
		}
		m.Views = append(m.Views, v)
	}
	return m
}

// clip cuts a label to the width of its tile.
func clip(s string, width float64) string {
	r := []rune(s)
	if n := int((width - padding) / charWidth); len(r) > n && n > 1 {
		return string(r[:n-1]) + "…"
	}
	return s
}

func (r Rect) round() Rect {
	at := func(v float64) float64 { return math.Round(v*1000) / 1000 }
	return Rect{at(r.X), at(r.Y), at(r.W), at(r.H)}
}

// squarify places values, largest first, in a rectangle of the given ratio of
// width to height, so that tiles are about square: Bruls, Huizing and van Wijk,
// "Squarified treemaps". Places are in percent of the rectangle.
func squarify(values []int64, ratio float64) []Rect {
	var total float64
	for _, v := range values {
		total += float64(v)
	}
	if total <= 0 || ratio <= 0 {
		return nil
	}
	// Work in a rectangle of area total with the right shape.
	width := math.Sqrt(total * ratio)
	height := total / width
	x, y, w, h := 0.0, 0.0, width, height
	out := make([]Rect, 0, len(values))
	for rest := values; len(rest) > 0; {
		side := min(w, h)
		n, sum := 1, float64(rest[0])
		for n < len(rest) {
			more := sum + float64(rest[n])
			if worst(rest[:n+1], more, side) > worst(rest[:n], sum, side) {
				break
			}
			n, sum = n+1, more
		}
		// One strip along the shorter side.
		thick := sum / side
		at := 0.0
		for _, v := range rest[:n] {
			long := float64(v) / thick
			r := Rect{x, y + at, thick, long}
			if w < h {
				r = Rect{x + at, y, long, thick}
			}
			out = append(out, Rect{r.X / width * 100, r.Y / height * 100, r.W / width * 100, r.H / height * 100})
			at += long
		}
		if w < h {
			y, h = y+thick, h-thick
		} else {
			x, w = x+thick, w-thick
		}
		rest = rest[n:]
		if w <= 0 || h <= 0 { // nothing is left but what rounding ate
			w, h = max(w, math.SmallestNonzeroFloat32), max(h, math.SmallestNonzeroFloat32)
		}
	}
	return out
}

// worst is the largest ratio of the sides of tiles in a strip.
func worst(values []int64, sum, side float64) float64 {
	thick := sum / side
	var w float64
	for _, v := range values {
		long := float64(v) / thick
		w = max(w, max(long/thick, thick/long))
	}
	return w
}
