package chart

import (
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// Limits that a [Loader] has where its own are zero. The sum of sizes is what
// Helm itself accepts.
const (
	DefaultMaxBytes = 100 << 20
	DefaultMaxFiles = 20_000
	DefaultMaxDepth = 8
)

// Loader loads charts. The zero value has the default limits.
type Loader struct {
	// MaxBytes bounds the sum of all file sizes, unpacked, subcharts
	// included, and the size of an archive. 0 means [DefaultMaxBytes].
	MaxBytes int64
	// MaxFiles bounds the number of files and folders, subcharts included. 0
	// means [DefaultMaxFiles].
	MaxFiles int
	// MaxDepth bounds how deep charts lie in charts. 0 means
	// [DefaultMaxDepth].
	MaxDepth int
}

// Load reads the chart in a folder or a .tgz file with the default limits.
// See [Loader.Load].
func Load(path string) (*Chart, error) {
	return Loader{}.Load(path)
}

// LoadBytes reads a chart from the bytes of a .tgz; name is for errors.
func LoadBytes(name string, tgz []byte) (*Chart, error) {
	return Loader{}.LoadBytes(name, tgz)
}

// Load reads the chart in a folder, where .helmignore is followed, or in a
// .tgz file. Links of a folder may not leave it; an archive may hold nothing
// but regular files and folders inside one base folder. Errors wrap
// [ErrChart], [ErrUnsafe] or the error of the file system.
func (l Loader) Load(name string) (*Chart, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", name, err)
	}
	b := l.budget(name)
	if info.IsDir() {
		files, err := readFolder(name, b)
		if err != nil {
			return nil, err
		}
		return newChart(name, files, nil, l)
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{Class: ErrChart, Chart: name, Reason: "it is neither a folder nor a regular file"}
	}
	if info.Size() > b.bytes {
		return nil, b.tooLarge()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", name, err)
	}
	defer f.Close()
	tgz, err := io.ReadAll(io.LimitReader(f, b.bytes+1))
	if err != nil {
		return nil, fmt.Errorf("chart %s: %w", name, err)
	}
	return l.LoadBytes(name, tgz)
}

// LoadBytes reads a chart from the bytes of a .tgz; name is for errors. The
// chart keeps tgz, which must not be changed any more.
func (l Loader) LoadBytes(name string, tgz []byte) (*Chart, error) {
	b := l.budget(name)
	if int64(len(tgz)) > b.bytes {
		return nil, b.tooLarge()
	}
	files, err := readArchive(name, tgz, b)
	if err != nil {
		return nil, err
	}
	return newChart(name, files, tgz, l)
}

// budget is what may still be read of one chart.
type budget struct {
	chart           string
	bytes, maxBytes int64
	files, maxFiles int
}

func (l Loader) budget(name string) *budget {
	b := &budget{chart: name, maxBytes: l.MaxBytes, maxFiles: l.MaxFiles}
	if b.maxBytes <= 0 {
		b.maxBytes = DefaultMaxBytes
	}
	if b.maxFiles <= 0 {
		b.maxFiles = DefaultMaxFiles
	}
	b.bytes, b.files = b.maxBytes, b.maxFiles
	return b
}

func (l Loader) maxDepth() int {
	if l.MaxDepth <= 0 {
		return DefaultMaxDepth
	}
	return l.MaxDepth
}

func (b *budget) tooLarge() error {
	return &Error{Class: ErrUnsafe, Chart: b.chart, Reason: fmt.Sprintf("its files are larger than %d bytes together", b.maxBytes)}
}

// entry takes one file or folder off the budget.
func (b *budget) entry() error {
	if b.files--; b.files < 0 {
		return &Error{Class: ErrUnsafe, Chart: b.chart, Reason: fmt.Sprintf("it holds more than %d files and folders", b.maxFiles)}
	}
	return nil
}

// read reads all of r, which is said to hold size bytes.
func (b *budget) read(r io.Reader, size int64) ([]byte, error) {
	if size > b.bytes {
		return nil, b.tooLarge()
	}
	data, err := io.ReadAll(io.LimitReader(r, b.bytes+1))
	if err != nil {
		return nil, err
	}
	if b.bytes -= int64(len(data)); b.bytes < 0 {
		return nil, b.tooLarge()
	}
	return data, nil
}

const maxNameLength = 1024

// cleanName checks a name inside a chart and gives it in its one spelling.
func cleanName(name string) (string, error) {
	clean := path.Clean(name)
	switch {
	case name == "" || clean == ".":
		return "", fmt.Errorf("%q names no file inside the chart", name)
	case len(name) > maxNameLength:
		return "", fmt.Errorf("a file name is longer than %d bytes", maxNameLength)
	case strings.ContainsAny(name, "\\\x00\n\r"):
		return "", fmt.Errorf("the file name %q holds a backslash or a control character", name)
	case path.IsAbs(name), len(clean) > 1 && clean[1] == ':':
		return "", fmt.Errorf("the file name %q is absolute", name)
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "", fmt.Errorf("the file name %q leaves the chart's folder", name)
	}
	return clean, nil
}
