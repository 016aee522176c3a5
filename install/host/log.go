package host

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// maxLine is where a line of output that does not end is cut; maxLogged is
// how much of one stream of one script a log takes.
const (
	maxLine   = 16 << 10
	maxLogged = 64 << 20
)

// hostLog is the log of one host: every line of output with its time, the
// number of the script and the stream. A nil one takes everything and keeps
// nothing.
type hostLog struct {
	path string
	red  *Redactor
	now  func() time.Time

	mu  sync.Mutex
	f   *os.File
	n   int
	err error
}

// openLog opens the log of a host in dir, which is made if it is missing.
func openLog(dir, host string, red *Redactor) (*hostLog, error) {
	if dir == "" {
		return nil, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == filepath.Separator || control(r) {
			return '_'
		}
		return r
	}, host)
	path := filepath.Join(dir, name+".log")
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrInvalid}
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &hostLog{path: path, red: red, now: time.Now, f: f}, nil
}

// name is the log's file, empty where there is none.
func (l *hostLog) name() string {
	if l == nil {
		return ""
	}
	return l.path
}

// begin numbers a script and notes that it starts.
func (l *hostLog) begin(what string) *scriptLog {
	if l == nil {
		return &scriptLog{}
	}
	l.mu.Lock()
	l.n++
	s := &scriptLog{log: l, n: l.n, start: l.now()}
	l.mu.Unlock()
	if what == "" {
		what = "script"
	}
	s.note("run", what)
	return s
}

// note writes one line that is not output.
func (l *hostLog) note(format string, args ...any) {
	if l != nil {
		l.line(0, "-", l.red.String(fmt.Sprintf(format, args...)))
	}
}

func (l *hostLog) line(n int, stream, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.f, "%s %d %s %s\n", l.now().UTC().Format("2006-01-02T15:04:05.000Z"), n, stream, clean(text))
	if err != nil && l.err == nil {
		l.err = err
	}
}

// Close closes the file and gives the first error that writing to it met: a
// full disk must not stop an install.
func (l *hostLog) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.f.Close(); l.err == nil {
		l.err = err
	}
	return l.err
}

// scriptLog is the part of a log that belongs to one script.
type scriptLog struct {
	log   *hostLog
	n     int
	start time.Time
}

func (s *scriptLog) note(stream, text string) {
	if s.log != nil {
		s.log.line(s.n, stream, s.log.red.String(text))
	}
}

// end notes how the script ended.
func (s *scriptLog) end(err error) {
	if s.log == nil {
		return
	}
	how := "done"
	if err != nil {
		how = err.Error()
	}
	s.note("end", fmt.Sprintf("%s, after %s", how, s.log.now().Sub(s.start).Round(time.Millisecond)))
}

// stream takes one stream of output without secrets; Close ends its last
// line.
func (s *scriptLog) stream(name string) io.WriteCloser {
	if s.log == nil {
		return discard{}
	}
	left := maxLogged
	return &splitter{emit: func(line []byte) {
		if left < 0 {
			return
		}
		text := string(line)
		if left -= len(line); left < 0 {
			text = "(the rest is not logged)"
		}
		s.log.line(s.n, name, text)
	}}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// splitter cuts a stream into lines: at \n, \r and \r\n, and after maxLine
// bytes.
type splitter struct {
	emit func(line []byte)
	buf  []byte
	cr   bool // the last byte was \r, so a \n ends nothing
}

func (s *splitter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' && s.cr {
			s.cr = false
			continue
		}
		s.cr = c == '\r'
		if c == '\n' || c == '\r' {
			s.flush()
			continue
		}
		s.buf = append(s.buf, c)
		if len(s.buf) >= maxLine {
			s.flush()
		}
	}
	return len(p), nil
}

func (s *splitter) flush() {
	s.emit(s.buf)
	s.buf = s.buf[:0]
}

// Close emits a last line that has no end.
func (s *splitter) Close() error {
	if len(s.buf) > 0 {
		s.flush()
	}
	return nil
}

// clean makes a line that a terminal can show: control characters and bytes
// that are no UTF-8 stand as \xNN.
func clean(s string) string {
	if utf8.ValidString(s) {
		return printable(s)
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			writeHex(&b, s[i])
		} else {
			b.WriteString(printable(s[i : i+n]))
		}
		i += n
	}
	return b.String()
}

// tail keeps the last bytes that were written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > t.max {
		p = p[len(p)-t.max:]
	}
	if over := len(t.buf) + len(p) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	t.buf = append(t.buf, p...)
	return n, nil
}

func (t *tail) String() string { return strings.ToValidUTF8(string(t.buf), "\uFFFD") }
