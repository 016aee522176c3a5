package verify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

func streamed(t *testing.T, b *builder, o Options) (*Report, error) {
	t.Helper()
	data, err := os.ReadFile(b.write())
	if err != nil {
		t.Fatal(err)
	}
	o.SkipSignature = true
	return Stream(context.Background(), bytes.NewReader(data), o)
}

// A stream must keep little in memory, say so where that is too little, and
// never call whole what it could not look at.
func TestStreamMemory(t *testing.T) {
	bulk := func(backwards bool) *builder {
		b := standard(t)
		b.backwards = backwards
		// JSON that nothing will read.
		b.contents.Labels = map[string]string{}
		b.image("example.com/json:1", b.manifest([]byte(`{"pad":"`+strings.Repeat("x", 60<<10)+`"}`), "  {"+strings.Repeat("y", 60<<10)), "linux/amd64")
		return b
	}
	for _, c := range []struct {
		backwards bool
		keep      int64
		ok        bool
	}{
		{false, 1 << 20, true}, {true, 1 << 20, true},
		// Room for what is needed and not for the rest: guesses must give way.
		{false, 40 << 10, true},
		{false, 4 << 10, false}, {true, 4 << 10, false}, {true, 1, false},
	} {
		rep, err := streamed(t, bulk(c.backwards), Options{keep: c.keep})
		switch {
		case c.ok && (err != nil || !rep.OK):
			t.Errorf("backwards %v, %d bytes: %v", c.backwards, c.keep, err)
		case !c.ok && (!errors.Is(err, ErrStream) || rep != nil || ExitClass(err) != exitFailed):
			t.Errorf("backwards %v, %d bytes: report %v, error %v", c.backwards, c.keep, rep, err)
		}
	}
}

// A network that fails is no damage: the bundle may be whole.
func TestStreamThatFails(t *testing.T) {
	s := signer(t)
	data, err := os.ReadFile(standard(t).write(s))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("connection reset")
	for _, at := range []int{0, 100, 3000, len(data) / 2, len(data) - 10} {
		r := io.MultiReader(bytes.NewReader(data[:at]), iotest.ErrReader(broken))
		rep, err := Stream(context.Background(), r, Options{Policy: Keys(s.Public())})
		if rep != nil || !errors.Is(err, broken) || ExitClass(err) != exitFailed {
			t.Errorf("at byte %d: report %v, error %v", at, rep, err)
		}
	}
	// However the bytes arrive.
	if _, err := Stream(context.Background(), iotest.HalfReader(bytes.NewReader(data)), Options{Policy: Keys(s.Public())}); err != nil {
		t.Error(err)
	}
	if _, err := Stream(context.Background(), iotest.DataErrReader(bytes.NewReader(data)), Options{Policy: Keys(s.Public())}); err != nil {
		t.Error(err)
	}
}
