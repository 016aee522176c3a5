package peers

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestZstdReads(t *testing.T) {
	need(t, "zstd")
	for _, b := range []string{fix.product, fix.native} {
		run(t, "zstd", "-q", "-t", b)
		// The seek table is a skippable frame like any other: it is counted
		// and skipped.
		list := run(t, "zstd", "-lv", b)
		if !strings.Contains(list, "Number of Skippable Frames: 1") && !strings.Contains(list, "# Skippable Frames: 1") {
			t.Errorf("zstd -lv %s does not show one skippable frame:\n%s", filepath.Base(b), list)
		}
	}
}

// members lists a bundle by tar.
func members(t *testing.T, bundle string) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(run(t, "tar", "--zstd", "-tf", bundle)), "\n")
}

func TestTarLists(t *testing.T) {
	need(t, "tar", "zstd")
	got := members(t, fix.product)
	head := "oci-layout index.json manifest.json"
	if len(got) < 10 || strings.Join(got[:3], " ") != head {
		t.Fatalf("the file begins with %v, want %s", got[:min(3, len(got))], head)
	}
	if last := got[len(got)-1]; last != "signatures/1.sigstore.json" {
		t.Errorf("the file ends with %s", last)
	}
	for _, m := range got[3 : len(got)-1] {
		if !strings.HasPrefix(m, "blobs/sha256/") {
			t.Errorf("%s lies between the blobs", m)
		}
	}
}

// Unpacked by tar alone, every blob must be what its name says.
func TestTarUnpacks(t *testing.T) {
	need(t, "tar", "zstd")
	dir := unpack(t, fix.product)
	blobs := 0
	err := filepath.WalkDir(filepath.Join(dir, "blobs", "sha256"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		blobs++
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != d.Name() {
			t.Errorf("blob %s is %x", d.Name(), sum)
		}
		return nil
	})
	if err != nil || blobs < len(images(t, fix.product)) {
		t.Errorf("%d blobs were unpacked, %v", blobs, err)
	}
}

func unpack(t *testing.T, bundle string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, "tar", "--zstd", "-xf", bundle, "-C", dir)
	return dir
}

// A signature that was added in place must leave a file that stock tools read.
func TestAfterSigningInPlace(t *testing.T) {
	need(t, "tar", "zstd")
	data, err := os.ReadFile(fix.native)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := filepath.Join(dir, "signed.tar.zst")
	if err := os.WriteFile(b, data, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, fix.bundle, "keygen", "-o", filepath.Join(dir, "second"))
	run(t, fix.bundle, "sign", b, "--key", filepath.Join(dir, "second.key"))
	run(t, "zstd", "-q", "-t", b)
	got := members(t, b)
	if tail := strings.Join(got[len(got)-2:], " "); tail != "signatures/1.sigstore.json signatures/2.sigstore.json" {
		t.Errorf("after a second signature the file ends with %s", tail)
	}
}
