package archive

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// stock gives the path of a tool, or skips the test.
func stock(t *testing.T, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed: reading a bundle with it is not checked", name)
	}
	return p
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func stockSample(t *testing.T) (*sample, string) {
	s := newSample(t, []byte(`[]`), []byte{}, noise("stock", 3*rawChunk+11), text("stock", 2*packFrame+1), noise("frames", rawFrame+1))
	return s, s.write(t, []byte(`{"sig":1}`), []byte(`{"sig":2}`))
}

// The zstd tool finds nothing wrong with a bundle.
func TestStockZstd(t *testing.T) {
	zstdTool := stock(t, "zstd")
	_, path := stockSample(t)
	run(t, zstdTool, "-t", path)
	plain := filepath.Join(t.TempDir(), "plain.tar")
	run(t, zstdTool, "-q", "-d", path, "-o", plain)
	d, err := zstd.NewReader(bytes.NewReader(readFile(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	want, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, plain), want) {
		t.Error("zstd -d and the Go decoder disagree")
	}
}

// The tar tool lists and unpacks a bundle, and the blobs are whole.
func TestStockTar(t *testing.T) {
	tarTool := stock(t, "tar")
	stock(t, "zstd")
	s, path := stockSample(t)
	names := strings.Fields(run(t, tarTool, "--zstd", "-tf", path))
	want := []string{"oci-layout", "index.json", "manifest.json", blobPrefix + s.plan.geo.layout.digest.Encoded()}
	for _, b := range s.plan.Blobs() {
		want = append(want, blobPrefix+b.Digest.Encoded())
	}
	want = append(want, "signatures/1.sigstore.json", "signatures/2.sigstore.json")
	if strings.Join(names, "\n") != strings.Join(want, "\n") {
		t.Errorf("tar lists\n%s\nnot\n%s", strings.Join(names, "\n"), strings.Join(want, "\n"))
	}
	dir := t.TempDir()
	run(t, tarTool, "--zstd", "-xf", path, "-C", dir)
	for d, content := range s.content {
		if !bytes.Equal(readFile(t, filepath.Join(dir, "blobs/sha256", d.Encoded())), content) {
			t.Errorf("blob %s of %d bytes is not what was packed", d, len(content))
		}
	}
	if !bytes.Equal(readFile(t, filepath.Join(dir, "index.json")), s.plan.IndexBytes()) {
		t.Error("index.json is not the plan's")
	}
	if fi, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil || fi.Mode().Perm()&0o600 != 0o600 || fi.ModTime().Unix() != 0 {
		t.Errorf("oci-layout is unpacked as %v, %v", fi, err)
	}
}

// Go's tar reader gets the same from every header, the huge ones included.
func TestTarHeadIsStandard(t *testing.T) {
	for _, size := range []int64{0, 1, 511, 512, maxUstarSize, maxUstarSize + 1, 1 << 40, maxBlobSize} {
		name := blobPrefix + strings.Repeat("0123456789abcdef", 4)
		head := tarHead(name, size)
		if int64(len(head)) != headLen(size) {
			t.Errorf("the header for %d bytes has %d bytes, not %d", size, len(head), headLen(size))
		}
		h, err := tar.NewReader(bytes.NewReader(head)).Next()
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if h.Name != name || h.Size != size || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() != 0 || h.Typeflag != tar.TypeReg {
			t.Errorf("size %d is read back as %+v", size, h)
		}
	}
}

// An independent reading of the zstd seekable format (version 0.1.0, as
// specified in contrib/seekable_format of zstd): every frame that the table
// lists decodes by itself to the length it says, and together they are the
// file.
func TestSeekTableIsStandard(t *testing.T) {
	_, path := stockSample(t)
	p := readFile(t, path)
	footer := p[len(p)-9:]
	if binary.LittleEndian.Uint32(footer[5:]) != 0x8F92EAB1 {
		t.Fatal("no seekable magic number at the end")
	}
	if footer[4]&0x7C != 0 {
		t.Error("reserved bits of the descriptor are set")
	}
	entry := 8
	if footer[4]&0x80 != 0 {
		entry = 12
	}
	n := int(binary.LittleEndian.Uint32(footer))
	length := 8 + n*entry + 9
	table := p[len(p)-length:]
	if binary.LittleEndian.Uint32(table) != 0x184D2A5E || int(binary.LittleEndian.Uint32(table[4:])) != length-8 {
		t.Fatal("the table is not a skippable frame of the right length")
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	pos := 0
	var whole []byte
	for i := range n {
		e := table[8+i*entry:]
		enc, dec := int(binary.LittleEndian.Uint32(e)), int(binary.LittleEndian.Uint32(e[4:]))
		out, err := d.DecodeAll(p[pos:pos+enc], nil)
		if err != nil || len(out) != dec {
			t.Fatalf("frame %d decodes to %d bytes, the table says %d: %v", i, len(out), dec, err)
		}
		whole = append(whole, out...)
		pos += enc
	}
	if pos != len(p)-length {
		t.Errorf("the table covers %d bytes of %d", pos, len(p)-length)
	}
	if err := d.Reset(bytes.NewReader(p)); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(d)
	if err != nil || !bytes.Equal(all, whole) {
		t.Errorf("the frames of the table are not the stream: %v", err)
	}
}
