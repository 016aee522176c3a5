package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// readArchive reads the files of a .tgz, without the base folder they lie in.
func readArchive(name string, tgz []byte, b *budget) ([]file, error) {
	bad := func(class error, format string, a ...any) error {
		return &Error{Class: class, Chart: name, Reason: fmt.Sprintf(format, a...)}
	}
	zr, err := gzip.NewReader(bytes.NewReader(tgz))
	if err != nil {
		return nil, bad(ErrChart, "it is not a gzip-compressed archive")
	}
	tr := tar.NewReader(zr)
	seen := make(map[string][]byte)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, bad(ErrChart, "the archive is damaged: %v", err)
		}
		if err := b.entry(); err != nil {
			return nil, err
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader, tar.TypeDir:
			continue
		case tar.TypeReg:
		default:
			return nil, bad(ErrUnsafe, "the archive holds %q, which is not a regular file; links and devices are refused", h.Name)
		}
		inner, err := stripBase(h.Name)
		if err != nil {
			return nil, bad(ErrUnsafe, "%v", err)
		}
		data, err := b.read(tr, h.Size)
		if err != nil {
			if errors.Is(err, ErrUnsafe) {
				return nil, err
			}
			return nil, bad(ErrChart, "the archive is damaged at %q: %v", h.Name, err)
		}
		if old, ok := seen[inner]; ok && !bytes.Equal(old, data) {
			return nil, bad(ErrUnsafe, "the archive holds %q twice with different content", h.Name)
		}
		seen[inner] = data
	}
	files := make([]file, 0, len(seen))
	for n, data := range seen {
		files = append(files, file{name: n, data: data})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, nil
}

// stripBase checks a member's whole name and drops the folder all lie in.
// Archives made on Windows may separate by backslashes.
func stripBase(name string) (string, error) {
	n := name
	if !strings.Contains(n, "/") {
		n = strings.ReplaceAll(n, `\`, "/")
	}
	if _, err := cleanName(n); err != nil {
		return "", err
	}
	_, inner, ok := strings.Cut(n, "/")
	if !ok || inner == "" {
		return "", fmt.Errorf("the archive holds %q outside a base folder", name)
	}
	return cleanName(inner)
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
