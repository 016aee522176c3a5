package activity

import (
	"io"
	"strings"
	"testing"
)

func TestWhatIsUnderWayIsSeen(t *testing.T) {
	var s Set
	if len(s.Now()) > 0 {
		t.Error("nothing is under way")
	}
	a, b := s.Begin("a", "quay.io", 10), s.Begin("b", "", 4)
	r := a.Reader(io.NopCloser(strings.NewReader("345678")), 3)
	if _, err := io.CopyN(io.Discard, r, 5); err != nil {
		t.Fatal(err)
	}
	now := s.Now()
	if len(now) != 2 || now[0].Name != "a" || now[0].Done != 8 || now[0].Total != 10 || now[0].From != "quay.io" || now[0].Last.Before(now[0].Since) {
		t.Errorf("%+v", now)
	}
	// A try that begins anew is shown as it is.
	a.Reader(io.NopCloser(strings.NewReader("")), 0)
	if now := s.Now(); now[0].Done != 0 {
		t.Errorf("%+v", now[0])
	}
	a.End()
	b.End()
	if now := s.Now(); len(now) != 0 {
		t.Errorf("%+v", now)
	}
}
