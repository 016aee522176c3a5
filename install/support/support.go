package support

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"bundle/install/journal"
)

// Options say what to gather. The zero value gathers what is known of this
// machine.
type Options struct {
	// Cluster is the name of the cluster, State its folder on this machine;
	// without State nothing is told of an install.
	Cluster, State string
	// Clusterfile is a file to put in; empty puts none in.
	Clusterfile string
	// Version says what this program is.
	Version string
	// Secrets are values that must not be in the archive. Those of less than
	// four bytes are ignored: they would be found everywhere.
	Secrets []string
	// Now is the time of everything in the archive; zero means the current time.
	Now time.Time
}

// Entry is one file of the archive.
type Entry struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	// Redacted is how many lines were left out or changed.
	Redacted int `json:"redacted,omitempty"`
	// Missing says why there is nothing.
	Missing string `json:"missing,omitempty"`
}

// Bounds.
const (
	maxFile = 4 << 20 // of what is taken whole
	maxTail = 1 << 20 // of each log, its end
	maxLogs = 256     // files of logs
	prefix  = "bundle-support/"
)

const readme = `What is in here was gathered by "bundle doctor" on the machine that the install
ran from. Values known to be secret were replaced by %q, and lines that look as if
they held a password, a token or a private key were left out. Look through it
before you give it away.
`

// Write writes a gzipped tar to w and says what is in it.
func Write(w io.Writer, o Options) ([]Entry, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	z := gzip.NewWriter(w)
	a := archive{Writer: tar.NewWriter(z), now: o.Now, redact: newRedactor(o.Secrets)}
	a.text("README.txt", fmt.Appendf(nil, readme, mask))
	a.text("version.txt", []byte(o.Version))
	a.text("machine.txt", machine())
	if o.Clusterfile != "" {
		a.file("Clusterfile", o.Clusterfile)
	}
	if o.State != "" {
		a.status(o)
		a.file(journal.FileName, filepath.Join(o.State, journal.FileName))
		a.logs(filepath.Join(o.State, "logs"))
	}
	return a.entries, errors.Join(a.err, a.Close(), z.Close())
}

// archive is the tar in the making; after an error nothing more is written.
type archive struct {
	*tar.Writer
	now     time.Time
	redact  redactor
	entries []Entry
	err     error
}

func (a *archive) text(name string, data []byte) {
	if a.err != nil {
		return
	}
	data, changed := a.redact.text(name, data)
	h := &tar.Header{Name: prefix + name, Mode: 0o600, Size: int64(len(data)), ModTime: a.now.Truncate(time.Second)}
	if a.err = a.WriteHeader(h); a.err == nil {
		_, a.err = a.Write(data)
	}
	a.entries = append(a.entries, Entry{Name: name, Size: h.Size, Redacted: changed})
}

func (a *archive) missing(name string, err error) {
	why := err.Error()
	if errors.Is(err, fs.ErrNotExist) {
		why = "there is none"
	}
	a.entries = append(a.entries, Entry{Name: name, Missing: why})
}

func (a *archive) file(name, path string) {
	data, err := tail(path, maxFile)
	if err != nil {
		a.missing(name, err)
		return
	}
	a.text(name, data)
}

// status is what `bundle status` prints.
func (a *archive) status(o Options) {
	records, err := journal.Read(o.State)
	if err != nil {
		a.missing("status.txt", err)
		return
	}
	var b bytes.Buffer
	if err := journal.Fold(records).Report(o.Cluster, journal.Busy(o.State)).Text(&b); err != nil {
		a.missing("status.txt", err)
		return
	}
	a.text("status.txt", b.Bytes())
}

func (a *archive) logs(dir string) {
	files, err := os.ReadDir(dir)
	if err != nil {
		a.missing("logs", err)
		return
	}
	for i, f := range files {
		if i == maxLogs {
			a.missing("logs", fmt.Errorf("only %d of %d logs are here", maxLogs, len(files)))
			return
		}
		if !f.Type().IsRegular() {
			continue
		}
		data, err := tail(filepath.Join(dir, f.Name()), maxTail)
		if err != nil {
			a.missing("logs/"+f.Name(), err)
			continue
		}
		a.text("logs/"+f.Name(), data)
	}
}

// tail reads the end of a file, from the beginning of a line.
func tail(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", path)
	}
	from := max(0, info.Size()-most)
	data, err := io.ReadAll(io.NewSectionReader(f, from, most))
	if err != nil || from == 0 {
		return data, err
	}
	_, rest, _ := bytes.Cut(data, []byte{'\n'})
	return append(fmt.Appendf(nil, "(%d bytes before this were left out)\n", from+int64(len(data)-len(rest))), rest...), nil
}

// machine tells what the operator's machine is, without its names and
// addresses.
func machine() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "platform: %s/%s\ncpus: %d\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	for _, f := range []struct {
		path string
		keys []string // lines that begin so; none means all
	}{
		{"/etc/os-release", []string{"PRETTY_NAME="}},
		{"/proc/sys/kernel/osrelease", nil},
		{"/proc/uptime", nil},
		{"/proc/loadavg", nil},
		{"/proc/meminfo", []string{"MemTotal:", "MemAvailable:", "SwapTotal:"}},
	} {
		data, err := tail(f.path, 64<<10)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if len(f.keys) == 0 || slices.ContainsFunc(f.keys, func(k string) bool { return strings.HasPrefix(line, k) }) {
				fmt.Fprintf(&b, "%s: %s\n", f.path, strings.TrimSpace(line))
			}
		}
	}
	return []byte(b.String())
}
