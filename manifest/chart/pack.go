package chart

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// Package gives the chart as a .tgz that Helm loads. A chart that came as an
// archive keeps its bytes. One from a folder is packed so that equal files
// give equal bytes whenever, wherever and by whatever Go version: sorted, mode
// 0644, no owner, no time, not compressed inside the gzip frame (a bundle
// compresses on its own). The files are those [Load] read, unchanged.
func (c *Chart) Package() ([]byte, error) {
	if c.tgz != nil {
		return bytes.Clone(c.tgz), nil
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range c.files {
		h := &tar.Header{
			Typeflag: tar.TypeReg, Name: c.Name + "/" + f.name, Size: int64(len(f.data)),
			Mode: 0o644, ModTime: time.Unix(0, 0),
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("chart %s: %s cannot be packed: %w", c.Name, f.name, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, fmt.Errorf("chart %s: %s cannot be packed: %w", c.Name, f.name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("chart %s cannot be packed: %w", c.Name, err)
	}
	return store(b.Bytes()), nil
}

// Package is [Chart.Package] as a function.
func Package(c *Chart) ([]byte, error) { return c.Package() }

// store puts data into a gzip frame of stored blocks (RFC 1951, 3.2.4).
// compress/gzip may change its output from one Go version to the next.
func store(data []byte) []byte {
	const maxBlock = 65535
	sum, size := crc32.ChecksumIEEE(data), uint32(len(data))
	out := make([]byte, 0, len(data)+len(data)/maxBlock*5+32)
	// No name, no time, unknown operating system (RFC 1952, 2.3).
	out = append(out, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff)
	for {
		n := min(len(data), maxBlock)
		last := byte(0)
		if n == len(data) {
			last = 1
		}
		out = append(out, last)
		out = binary.LittleEndian.AppendUint16(out, uint16(n))
		out = binary.LittleEndian.AppendUint16(out, ^uint16(n))
		out = append(out, data[:n]...)
		if data = data[n:]; last == 1 {
			break
		}
	}
	out = binary.LittleEndian.AppendUint32(out, sum)
	return binary.LittleEndian.AppendUint32(out, size)
}
