package pack

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"bundle/archive"
)

// ArtifactTypeTool is the artifact type of the program that a bundle carries to
// be read with (docs/format.md).
const ArtifactTypeTool = "application/vnd.bundle.tool.v1"

const (
	toolReadme      = "README.txt"
	mediaTypeReadme = "text/plain; charset=utf-8"
	mediaTypeTool   = "application/octet-stream"
	maxToolBytes    = 1 << 30
)

// tool is the program for one platform.
type tool struct {
	file, platform, title string
	blob                  archive.Blob
}

// addTools puts the programs into the file. Every platform of the bundle has
// to have one: a program that does not run on site is none.
func (b *Build) addTools(platforms []string) error {
	if len(b.opts.Tools) == 0 {
		return nil
	}
	var tools []tool
	for _, file := range b.opts.Tools {
		t, err := readTool(file)
		if err != nil {
			return inputError{fmt.Errorf("--with-tool %s: %w", file, err)}
		}
		if slices.ContainsFunc(tools, func(o tool) bool { return o.platform == t.platform }) {
			return inputError{fmt.Errorf("--with-tool %s: a program for %s is given already", file, t.platform)}
		}
		tools = append(tools, t)
	}
	for _, p := range platforms {
		// A variant of a processor runs what was made for the processor.
		base := strings.Join(strings.SplitN(p, "/", 3)[:2], "/")
		if !slices.ContainsFunc(tools, func(t tool) bool { return t.platform == base }) {
			return inputError{hintError{
				fmt.Errorf("the bundle is for %s, and no --with-tool is a program for it", p),
				"give the one of the release for each platform: --with-tool bundle_VERSION_" + strings.ReplaceAll(base, "/", "_"),
			}}
		}
	}
	// The order in which they are given leaves no trace in the file.
	slices.SortFunc(tools, func(a, b tool) int { return strings.Compare(a.platform, b.platform) })
	for _, t := range tools {
		if err := b.content.addRemote(t.blob, t.open, t.title, false); err != nil {
			return err
		}
	}
	b.tools = tools
	return nil
}

// open reads the program from offset on.
func (t tool) open(_ context.Context, offset int64) (io.ReadCloser, error) {
	f, err := os.Open(t.file)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// readTool says what a program is for, and where its bytes go. What is not our
// own program, or needs libraries of the machine that it runs on, is refused.
func readTool(file string) (tool, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return tool{}, err
	}
	if info.Main.Path != "bundle" {
		return tool{}, fmt.Errorf("it is not the program bundle but %s", info.Path)
	}
	set := map[string]string{}
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	if set["CGO_ENABLED"] != "0" {
		return tool{}, fmt.Errorf("it was built with cgo and may not run elsewhere; take the static one of a release, or build with CGO_ENABLED=0")
	}
	t := tool{file: file, platform: set["GOOS"] + "/" + set["GOARCH"], title: "bundle_" + set["GOOS"] + "_" + set["GOARCH"]}
	if set["GOOS"] == "windows" {
		t.title += ".exe"
	}
	f, err := os.Open(file)
	if err != nil {
		return tool{}, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return tool{}, err
	} else if st.Size() > maxToolBytes {
		return tool{}, fmt.Errorf("it has %d bytes, more than a program has", st.Size())
	}
	t.blob, err = archive.Measure(f)
	return t, err
}

// describeTools adds what is said of the programs: the page for people without
// one, and a manifest of both that registries serve.
func (b *Build) describeTools(name, version string) error {
	tools := b.tools
	if len(tools) == 0 {
		return nil
	}
	c := b.content
	text, err := c.readme(name, version, tools)
	if err != nil {
		return err
	}
	readme := c.addMemory(&c.configs, mediaTypeReadme, []byte(text))
	readme.Annotations = map[string]string{ocispec.AnnotationTitle: toolReadme}
	empty := ocispec.DescriptorEmptyJSON
	empty.Data = nil
	m := ocispec.Manifest{
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: ArtifactTypeTool,
		Config:       c.addMemory(&c.configs, empty.MediaType, []byte(`{}`)),
		Layers:       []ocispec.Descriptor{readme},
	}
	m.SchemaVersion = 2
	for _, t := range tools {
		m.Layers = append(m.Layers, ocispec.Descriptor{
			MediaType: mediaTypeTool, Digest: t.blob.Digest, Size: t.blob.Size,
			Annotations: map[string]string{ocispec.AnnotationTitle: t.title, archive.AnnotationPlatform: t.platform},
		})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	desc := c.addMemory(&c.manifests, ocispec.MediaTypeImageManifest, raw)
	desc.ArtifactType = ArtifactTypeTool
	c.entry(desc, archive.KindTool, "tool/"+name+":"+version)
	c.index.Annotations[archive.AnnotationReadme] = member(readme)
	return nil
}

// member is where a blob lies for tar.
func member(d ocispec.Descriptor) string { return path.Join("blobs/sha256", d.Digest.Encoded()) }

// readme is the page of one bundle for people who have no program of ours. A
// test runs what it says.
func (c *composer) readme(name, version string, tools []tool) (string, error) {
	var charts, layers, programs strings.Builder
	for _, d := range c.index.Manifests {
		kind := d.Annotations[archive.AnnotationKind]
		if kind != archive.KindChart && kind != archive.KindBundle {
			continue
		}
		var m ocispec.Manifest
		if err := json.Unmarshal(c.memory[d.Digest], &m); err != nil {
			return "", err
		}
		for _, l := range m.Layers {
			switch {
			case kind == archive.KindChart:
				file, _, _ := strings.Cut(path.Base(d.Annotations[archive.AnnotationRef]), ":")
				fmt.Fprintf(&charts, "    cp layout/%s %s.tgz\n", member(l), file)
			case strings.Contains(l.MediaType, ".tar"):
				fmt.Fprintf(&layers, "    tar -xf layout/%s -C rootfs\n", member(l))
			}
		}
	}
	for _, t := range tools {
		fmt.Fprintf(&programs, "    cp layout/blobs/sha256/%s %s && chmod +x %s\n", t.blob.Digest.Encoded(), t.title, t.title)
	}
	text := strings.NewReplacer("@FILE@", name+"-"+version+".tar.zst", "@NAME@", name+" "+version, "@PROGRAMS@", programs.String()).Replace(readmeText)
	if layers.Len() > 0 {
		text += "\n7. Files that the install puts on hosts / 装到主机上的文件\n\n    mkdir rootfs\n" + layers.String()
	}
	if charts.Len() > 0 {
		text += "\n8. Helm charts / Helm 图表\n\n" + charts.String()
	}
	return text, nil
}

const readmeText = `@NAME@: how to check and unpack this bundle without any program of ours
不用我们的程序，怎样检查和解开这个包

The bundle is a tar in zstd that holds an OCI image layout. These commands need sh,
tar, zstd and sha256sum; cosign or openssl to see who signed it, and skopeo or
podman for images. ci.pub is the public key, which you got by another way.

1. Say where it is / 指定文件

    B=@FILE@

   In volumes (@FILE@.001 …) it is put together first:
   (tar --zstd -xOf $B.001 head; for v in $B.*; do tar --zstd -xOf $v data; done; tar --zstd -xOf $B.001 tail) > $B

2. Unpack / 解包

    mkdir layout
    zstd -dc "$B" | tar -xf - -C layout

   A delta is unpacked over its base: do this with the base first.

3. Is every part what it should be? / 内容是否完好（每个文件的名字就是它的 SHA-256）

    (cd layout/blobs/sha256 && ls | sed 's/.*/&  &/' | sha256sum -c --quiet && echo whole)

4. Is anything missing? / 是否齐全（没有输出就是齐全）

    L=$(grep -o 'sha256:[0-9a-f]*' layout/index.json | head -n 1 | cut -c 8-)
    (echo $L; grep -o '"digest":"sha256:[0-9a-f]*' layout/blobs/sha256/$L | cut -c 18-) | sort > want
    ls layout/blobs/sha256 | sort | comm -13 - want

   It lists the parts that are missing; no line is good.

5. Who signed it? / 谁签的名：以下两种方法任选其一

    cosign verify-blob --key ci.pub --bundle layout/signatures/1.sigstore.json --insecure-ignore-tlog layout/index.json

   or, for a signature by a key:

    sed 's/.*"signature": *"\([^"]*\)".*/\1/' layout/signatures/1.sigstore.json | openssl base64 -d -A > index.sig
    openssl dgst -sha256 -verify ci.pub -signature index.sig layout/index.json

   index.json names the SHA-256 of all that is in the bundle, so its signature is over everything.

6. The program that does all this, and serves and installs the bundle / 随包附带的程序

@PROGRAMS@
   Then, with the one for this machine:  ./bundle_linux_amd64 verify "$B" --key ci.pub

   Images: podman load -i "$B", or one by one skopeo copy oci-archive:$B:NAME docker://REGISTRY/NAME;
   the names are in index.json.
`
