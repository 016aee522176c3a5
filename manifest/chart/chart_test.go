package chart

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tgz packs members the way a hostile or careless tool would.
func tgz(t testing.TB, members ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, h := range members {
		body := h.Linkname
		if h.Typeflag == 0 {
			h.Typeflag, h.Linkname, h.Size = tar.TypeReg, "", int64(len(body))
		} else {
			body = ""
		}
		if h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// m is a regular member; the content travels in Linkname.
func m(name, content string) tar.Header { return tar.Header{Name: name, Linkname: content} }

const chartYAML = "apiVersion: v2\nname: a\nversion: 1.0.0\n"

// folder writes a chart folder; a value that begins with "-> " is a link.
func writeFolder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, p)
		} else {
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func render(t testing.TB, c *Chart, o RenderOptions) string {
	t.Helper()
	docs, err := c.Render(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, d := range docs {
		fmt.Fprintf(&b, "%s: %s\n", d.Template, strings.TrimSpace(string(d.Data)))
	}
	return b.String()
}

func TestLoadFolder(t *testing.T) {
	c, err := Load("testdata/aecp")
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "aecp" || c.Version != "1.5.3+ce.1" || c.AppVersion != "v1.5.3.0" || c.KubeVersion != ">=1.14.0-0" || c.Library || c.Tag() != "1.5.3_ce.1" || c.Path != "testdata/aecp" {
		t.Errorf("got %+v", c)
	}
	if slices.Contains(c.Files(), "values.yaml.bak") || !slices.Contains(c.Files(), "templates/deploy.yaml") || !slices.IsSorted(c.Files()) {
		t.Errorf(".helmignore or order: %v", c.Files())
	}
	data, ok := c.File("values.yaml")
	if !ok || !bytes.Contains(data, []byte("默认值")) {
		t.Errorf("values.yaml: %q", data)
	}
	data[0] = 'X'
	if again, _ := c.File("values.yaml"); again[0] == 'X' {
		t.Error("a caller can change the chart")
	}
	if _, ok := c.File("nope"); ok {
		t.Error("found a file that is not there")
	}
}

// TestLinks: links inside the folder are files like others, as for Helm; one
// that leaves it would carry a file of the build host into the bundle.
func TestLinks(t *testing.T) {
	outside := writeFolder(t, map[string]string{"secret": "password"})
	base := map[string]string{"Chart.yaml": chartYAML, "shared/x.yaml": "x: 1"}
	with := func(name, content string) map[string]string {
		all := map[string]string{name: content}
		for k, v := range base {
			all[k] = v
		}
		return all
	}
	c, err := Load(writeFolder(t, with("templates", "-> shared")))
	if err != nil {
		t.Fatal(err)
	}
	if got := render(t, c, RenderOptions{}); got != "templates/x.yaml: x: 1\n" {
		t.Errorf("got %s", got)
	}
	if _, err := Load(writeFolder(t, with("files/f", "-> ../shared/x.yaml"))); err != nil {
		t.Errorf("link to a file inside: %v", err)
	}
	tests := []struct{ name, file, content, text string }{
		{"file outside", "files/s", "-> " + outside + "/secret", "files/s is not a safe chart: it cannot be followed inside the chart's folder"},
		{"relative", "s", "-> ../../../../../../etc/passwd", "cannot be followed"},
		{"folder outside", "templates", "-> " + outside, "cannot be followed"},
		{"dangling", "s", "-> nowhere", "cannot be followed"},
		{"itself", "s", "-> s", "cannot be followed"},
		{"loop", "files/up", "-> ..", "it links to a folder it lies in"},
	}
	for _, tt := range tests {
		_, err := Load(writeFolder(t, with(tt.file, tt.content)))
		if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
	ignored := with("secret", "-> "+outside)
	ignored[".helmignore"] = "secret\n"
	if _, err := Load(writeFolder(t, ignored)); err != nil {
		t.Errorf("an ignored link is not followed: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	fifo := writeFolder(t, map[string]string{"Chart.yaml": chartYAML, "a\\b": "x"})
	deep := map[string]string{"Chart.yaml": chartYAML, strings.Repeat("d/", maxFolderDepth+2) + "f": ""}
	file := filepath.Join(t.TempDir(), "x.tgz")
	if err := os.WriteFile(file, []byte("kind: Pod"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path, text string
		is               error
	}{
		{"absent", "testdata/absent", "chart testdata/absent: stat", os.ErrNotExist},
		{"no archive", file, "it is not a gzip-compressed archive", ErrChart},
		{"device", os.DevNull, "neither a folder nor a regular file", ErrChart},
		{"not a chart", t.TempDir(), "Chart.yaml", ErrChart},
		{"odd name", fifo, `the file name "a\\b" holds a backslash`, ErrUnsafe},
		{"deep", writeFolder(t, deep), "folders lie too deep", ErrUnsafe},
		{"no name", writeFolder(t, map[string]string{"Chart.yaml": "apiVersion: v2\nversion: 1.0.0\n"}), "name is required", ErrChart},
		{"path as name", writeFolder(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: ../x\nversion: 1.0.0\n"}), "invalid", ErrChart},
		{"spaces as name", writeFolder(t, map[string]string{"Chart.yaml": "apiVersion: v2\nname: \"a b\"\nversion: 1.0.0\n"}), `the name "a b" holds more than letters`, ErrChart},
		{"newer", writeFolder(t, map[string]string{"Chart.yaml": "apiVersion: v3\nname: x\nversion: 1.0.0\n"}), `apiVersion "v3" is neither v1 nor v2`, ErrChart},
		{"bad values", writeFolder(t, map[string]string{"Chart.yaml": chartYAML, "values.yaml": "a: [\n"}), "values.yaml", ErrChart},
		{"bad ignore", writeFolder(t, map[string]string{"Chart.yaml": chartYAML, ".helmignore": "a/**\n"}), ".helmignore is not a usable chart", ErrChart},
		{"large ignore", writeFolder(t, map[string]string{"Chart.yaml": chartYAML, ".helmignore": strings.Repeat("#\n", 1<<20)}), ".helmignore is not a safe chart", ErrUnsafe},
		{"ignore outside", writeFolder(t, map[string]string{"Chart.yaml": chartYAML, ".helmignore": "-> /etc/passwd"}), ".helmignore is not a safe chart", ErrUnsafe},
		{"null dependency", writeFolder(t, map[string]string{"Chart.yaml": chartYAML + "dependencies: [null]\n"}), "not a usable chart", ErrChart},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(tt.path)
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

func TestArchives(t *testing.T) {
	good := m("a/Chart.yaml", chartYAML)
	nested := tgz(t, good, m("a/templates/x.yaml", "n: 0"))
	for range DefaultMaxDepth + 1 {
		nested = tgz(t, good, m("a/charts/a.tgz", string(nested)))
	}
	half := tgz(t, good, m("a/big", strings.Repeat("x", 60<<20)))
	damaged := tgz(t, good, m("a/b", strings.Repeat("ab\n", 1000)))
	crowd := []tar.Header{good}
	for i := range 50 {
		crowd = append(crowd, m(fmt.Sprintf("a/%d", i), ""))
	}
	tests := []struct {
		name string
		in   []byte
		l    Loader
		text string
		is   error
	}{
		{"good", tgz(t, tar.Header{Name: "a/", Typeflag: tar.TypeDir}, good, good), Loader{}, "", nil},
		{"Windows", tgz(t, m(`a\Chart.yaml`, chartYAML), m(`a\templates\x.yaml`, "a: 1")), Loader{}, "", nil},
		{"global header", tgz(t, tar.Header{Name: "pax_global_header", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, good), Loader{}, "", nil},
		{"traversal", tgz(t, good, m("a/../../etc/passwd", "x")), Loader{}, `"a/../../etc/passwd" leaves the chart's folder`, ErrUnsafe},
		{"traversal to the root", tgz(t, m("../Chart.yaml", chartYAML)), Loader{}, "leaves the chart's folder", ErrUnsafe},
		{"traversal for Windows", tgz(t, good, m(`a/..\..\x`, "x")), Loader{}, "backslash", ErrUnsafe},
		{"absolute", tgz(t, good, m("/etc/passwd", "x")), Loader{}, "is absolute", ErrUnsafe},
		{"drive", tgz(t, good, m("a/c:/x", "x")), Loader{}, "is absolute", ErrUnsafe},
		{"newline", tgz(t, good, m("a/x\ny", "x")), Loader{}, "control character", ErrUnsafe},
		{"long name", tgz(t, good, m("a/"+strings.Repeat("x", 2000), "x")), Loader{}, "longer than 1024", ErrUnsafe},
		{"no base", tgz(t, m("Chart.yaml", chartYAML)), Loader{}, "outside a base folder", ErrUnsafe},
		{"only a base", tgz(t, m("a/.", chartYAML)), Loader{}, "names no file", ErrUnsafe},
		{"symbolic link", tgz(t, good, tar.Header{Name: "a/l", Linkname: "/etc/passwd", Typeflag: tar.TypeSymlink}), Loader{}, `"a/l", which is not a regular file`, ErrUnsafe},
		{"hard link", tgz(t, good, tar.Header{Name: "a/l", Linkname: "a/Chart.yaml", Typeflag: tar.TypeLink}), Loader{}, "links and devices are refused", ErrUnsafe},
		{"device", tgz(t, good, tar.Header{Name: "a/l", Typeflag: tar.TypeChar}), Loader{}, "links and devices are refused", ErrUnsafe},
		{"two of one name", tgz(t, good, m("a/x", "1"), m("a/./x", "2")), Loader{}, "twice with different content", ErrUnsafe},
		{"bomb", tgz(t, good, m("a/big", strings.Repeat("x", 2<<20))), Loader{MaxBytes: 1 << 20}, "larger than 1048576 bytes", ErrUnsafe},
		{"bomb of subcharts", tgz(t, good, m("a/charts/b.tgz", string(half)), m("a/charts/c.tgz", string(half))), Loader{}, "larger than", ErrUnsafe},
		{"large archive", make([]byte, 2<<10), Loader{MaxBytes: 1 << 10}, "larger than 1024 bytes", ErrUnsafe},
		{"crowd", tgz(t, crowd...), Loader{MaxFiles: 20}, "more than 20 files", ErrUnsafe},
		{"crowd of subcharts", tgz(t, good, m("a/charts/b.tgz", string(tgz(t, crowd...)))), Loader{MaxFiles: 20}, "more than 20 files", ErrUnsafe},
		{"deep", nested, Loader{}, "charts lie too deep in one another", ErrUnsafe},
		{"bad subchart", tgz(t, good, m("a/charts/b.tgz", "x")), Loader{}, "chart in.tgz/charts/b.tgz is not a usable chart", ErrChart},
		{"hostile subchart", tgz(t, good, m("a/charts/b.tgz", string(tgz(t, good, m("a/../../x", ""))))), Loader{}, "leaves the chart's folder", ErrUnsafe},
		{"truncated", damaged[:len(damaged)/2], Loader{}, "the archive is damaged", ErrChart},
		{"no tar", store([]byte(strings.Repeat("x", 1024))), Loader{}, "the archive is damaged", ErrChart},
		{"empty", tgz(t), Loader{}, "Chart.yaml", ErrChart},
		{"no gzip", []byte("x"), Loader{}, "not a gzip-compressed archive", ErrChart},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.l.LoadBytes("in.tgz", tt.in)
			if tt.is == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

// TestLoaderLimitsOfFolders: what holds for archives holds for folders.
func TestLoaderLimitsOfFolders(t *testing.T) {
	dir := writeFolder(t, map[string]string{"Chart.yaml": chartYAML, "a": "1", "b": "2", "c": strings.Repeat("x", 4096)})
	if _, err := (Loader{MaxFiles: 2}).Load(dir); !errors.Is(err, ErrUnsafe) {
		t.Errorf("files: %v", err)
	}
	if _, err := (Loader{MaxBytes: 1024}).Load(dir); !errors.Is(err, ErrUnsafe) {
		t.Errorf("bytes: %v", err)
	}
	file := filepath.Join(t.TempDir(), "x.tgz")
	if err := os.WriteFile(file, make([]byte, 4096), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := (Loader{MaxBytes: 1024}).Load(file); !errors.Is(err, ErrUnsafe) {
		t.Errorf("file: %v", err)
	}
}

func TestWithFile(t *testing.T) {
	c, err := Load("testdata/localpv")
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.WithFile("./values.yaml", []byte("storageClass: other\n"))
	if err != nil {
		t.Fatal(err)
	}
	if d, err = d.WithFile("templates/sc.yaml", []byte("name: {{ .Values.storageClass }}\n")); err != nil {
		t.Fatal(err)
	}
	if got := render(t, d, RenderOptions{}); !strings.Contains(got, "templates/sc.yaml: name: other") {
		t.Errorf("got %s", got)
	}
	if got, _ := c.File("values.yaml"); string(got) != "storageClass: manual" || len(c.Files()) != 3 {
		t.Error("the chart it was made from changed")
	}
	if _, err := c.WithFile("../x", nil); !errors.Is(err, ErrUnsafe) {
		t.Error(err)
	}
	if _, err := c.WithFile("Chart.yaml", []byte("a: [")); !errors.Is(err, ErrChart) {
		t.Error(err)
	}
}

// FuzzChartArchive gives the bytes inside the gzip frame, which are the ones
// worth changing; every input is also tried as the frame itself.
func FuzzChartArchive(f *testing.F) {
	plain := func(members ...tar.Header) []byte {
		zr, err := gzip.NewReader(bytes.NewReader(tgz(f, members...)))
		if err != nil {
			f.Fatal(err)
		}
		data, err := io.ReadAll(zr)
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	good := m("a/Chart.yaml", chartYAML)
	f.Add(plain(good, m("a/templates/x.yaml", "a: {{ .Values.b }}"), m("a/values.yaml", "b: 1")))
	f.Add(plain(good, m("a/charts/b.tgz", string(store(plain(good))))))
	f.Add(plain(good, m("a/charts/b/Chart.yaml", "apiVersion: v1\nname: b\nversion: 1.0.0"), m("a/Chart.lock", "dependencies: [{name: b}]")))
	f.Add(plain(m("a/Chart.yaml", chartYAML+"dependencies: [{name: b, alias: c, condition: b.x, import-values: [x, {child: a, parent: .}]}]"), m("a/charts/b/Chart.yaml", "apiVersion: v1\nname: b\nversion: 1.0.0")))
	f.Add(tgz(f, good))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, in := range [][]byte{data, store(data)} {
			checkArchive(t, in)
		}
	})
}

func checkArchive(t *testing.T, data []byte) {
	l := Loader{MaxBytes: 1 << 20, MaxFiles: 100}
	c, err := l.LoadBytes("f", data)
	if err != nil {
		if !errors.Is(err, ErrChart) && !errors.Is(err, ErrUnsafe) {
			t.Errorf("unclassed error %v", err)
		}
		return
	}
	if got, err := c.Package(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the archive changed: %v", err)
	}
	if _, err := c.OCI(); err != nil {
		t.Error(err)
	}
	// What is packed anew holds the same chart.
	d, err := c.WithFile("added", nil)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := d.Package()
	if err != nil {
		t.Fatal(err)
	}
	if e, err := LoadBytes("g", packed); err != nil || !slices.Equal(e.Files(), d.Files()) {
		t.Errorf("packed anew: %v", err)
	}
}

// FuzzRender: whatever Chart.yaml and values say, a chart with fixed
// templates is rendered or refused with a reason; the SDK must not take the
// program down.
func FuzzRender(f *testing.F) {
	f.Add(chartYAML, "a: 1", "a: 2")
	f.Add(chartYAML+"dependencies: [{name: b, version: 1.x, alias: c, condition: 'c.on,x', tags: [t]}]", "tags: {t: false}", "c: {on: true}")
	f.Add(chartYAML+"dependencies: [{name: b, version: '*', import-values: [x, {child: a, parent: .}]}]", "b: 1", "b: {exports: {x: 1}}")
	f.Add(chartYAML+"kubeVersion: '>=99'", "", "global: 1")
	f.Fuzz(func(t *testing.T, chartfile, values, over string) {
		sub := m("a/charts/b/Chart.yaml", "apiVersion: v1\nname: b\nversion: 1.0.0")
		for _, h := range []tar.Header{m("a/Chart.yaml", chartfile), m("a/values.yaml", values)} {
			if len(h.Linkname) > 1<<16 {
				return
			}
		}
		in := tgz(t, m("a/Chart.yaml", chartfile), m("a/values.yaml", values), sub,
			m("a/charts/b/values.yaml", "exports: {x: {y: 1}}\na: {z: 2}\n"),
			m("a/templates/x.yaml", "a: {{ .Values.a | quote }}"), m("a/charts/b/templates/y.yaml", "b: {{ toJson .Values }}"))
		c, err := LoadBytes("f", in)
		if err != nil {
			return
		}
		v, err := ParseValues("v", []byte(over))
		if err != nil {
			return
		}
		_, err = c.Render(t.Context(), RenderOptions{Values: []map[string]any{v}})
		if _, ok := errors.AsType[*Error](err); err != nil && !ok {
			t.Errorf("unclassed error %v", err)
		}
	})
}
