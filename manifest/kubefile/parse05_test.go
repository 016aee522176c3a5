package kubefile

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func parse(t *testing.T, text string, d Dialect) *File {
	t.Helper()
	f, err := Parse("K", strings.NewReader(text), d)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return f
}

// badLines checks that each text is refused with its message.
func badLines(t *testing.T, d Dialect, cases map[string]string) {
	t.Helper()
	for text, want := range cases {
		f, err := Parse("K", strings.NewReader(text), d)
		if err == nil {
			t.Errorf("reads, as %+v:\n%.200s", f.Instructions, text)
			continue
		}
		if !errors.Is(err, ErrKubefile) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q for\n%.200s", err, want, text)
		}
	}
}

func commands(f *File) []string {
	var out []string
	for _, c := range f.Commands() {
		out = append(out, c.Text)
	}
	return out
}

func TestParse05(t *testing.T) {
	f := parse(t, "\xef\xbb\xbf# base\r\n\r\n  FROM scratch  \r\n\t# indented comment\r\nRUN touch x\r\nCMD  echo 'a  b' # why\r\nCMD cd R && a || b; c", D05)
	if f.Base != Scratch || f.BaseSource != "K:3" || f.Dialect != D05 {
		t.Errorf("got %+v", f)
	}
	if want := []string{"echo 'a  b' # why", "cd R && a || b; c"}; !reflect.DeepEqual(commands(f), want) {
		t.Errorf("commands %q: the text belongs to the shell, and the last line needs no line end", commands(f))
	}
	if c := f.Commands()[1]; c.Source != "K:7" || c.App != "" || c.Dir != "" {
		t.Errorf("got %+v", c)
	}
	if in := f.Instructions[1]; in.Where() != "K:5" || in.Text() != "RUN touch x" {
		t.Errorf("got %+v", in)
	}
	if len(f.Env()) != 0 || f.Labels() != nil || len(f.Apps()) != 0 {
		t.Error("0.5 has no ENV, LABEL or APP")
	}
}

func TestCopy05(t *testing.T) {
	for line, want := range map[string]CopyRule{
		"imageList manifests":          {Src: "imageList", Dst: "manifests", Discover: DiscoverList, base: "imageList"},
		"./a/imageList ./manifests/":   {Src: "a/imageList", Dst: "manifests", Discover: DiscoverList, base: "imageList"},
		"x.yaml /manifests":            {Src: "x.yaml", Dst: "manifests", Discover: DiscoverManifest, base: "x.yaml"},
		"x.yml manifests":              {Src: "x.yml", Dst: "manifests", Discover: DiscoverManifest, base: "x.yml"},
		"x.txt manifests":              {Src: "x.txt", Dst: "manifests", base: "x.txt"},
		"../component/charts/a charts": {Src: "../component/charts/a", Dst: "charts", Discover: DiscoverChart, base: "a"},
		"a/ charts/":                   {Src: "a", Dst: "charts", Discover: DiscoverChart, base: "a"},
		"a charts/sub":                 {Src: "a", Dst: "charts/sub", base: "a"},
		"/etc/x etc":                   {Src: "etc/x", Dst: "etc", base: "x"},
		". .":                          {Src: ".", Dst: ".", base: "."},
		"a/. b":                        {Src: "a", Dst: "b", base: "."},
		"/ b":                          {Src: ".", Dst: "b", base: "."},
		"*.yaml b":                     {Src: "*.yaml", Dst: "b", base: "*.yaml"},
		"images images":                {Src: "images", Dst: "images", base: "images"},
	} {
		got := parse(t, "FROM a\nCOPY "+line, D05).Copies()
		want.Source = "K:2"
		if len(got) != 1 || got[0] != want {
			t.Errorf("COPY %s: %+v, want %+v", line, got, want)
		}
	}
	// The basename is kept, for files and folders, whatever is there.
	for line, want := range map[string]string{"a/b c": "c/b", ". c": "c", "a .": "a", "a ./": "a", "a/. c": "c"} {
		c := parse(t, "FROM a\nCOPY "+line, D05).Copies()[0]
		for _, dir := range []bool{true, false} {
			for _, there := range []bool{true, false} {
				if got := c.Target(c.Src, dir, there); got != want {
					t.Errorf("COPY %s becomes %s, want %s", line, got, want)
				}
			}
		}
	}
	f := parse(t, "FROM a\nCOPY a b # the reason", D05)
	if len(f.Warnings) != 1 || f.Warnings[0].Source != "K:2" || len(f.Copies()) != 1 {
		t.Errorf("got %+v", f)
	}
}

func TestCmdList05(t *testing.T) {
	f := parse(t, `FROM a
CMD ["kubectl apply -f a.yaml", " kubectl apply -f b.yaml "]
CMD ["one"]
CMD [ -f x ] && echo y
CMD helm install x charts/x --set a=1,b=2 -p '{"a": {"b": 1}}'
`, D05)
	want := []string{"kubectl apply -f a.yaml", "kubectl apply -f b.yaml", "one", "[ -f x ] && echo y", `helm install x charts/x --set a=1,b=2 -p '{"a": {"b": 1}}'`}
	if !reflect.DeepEqual(commands(f), want) {
		t.Errorf("got %q", commands(f))
	}
	if len(f.Warnings) != 2 || !strings.Contains(f.Warnings[0].Text, "2 shell lines") || !strings.Contains(f.Warnings[1].Text, "1 shell line,") {
		t.Errorf("warnings %v", f.Warnings)
	}
}

func TestBad05(t *testing.T) {
	badLines(t, D05, map[string]string{
		"":                           "K: the file has no instruction; begin with FROM",
		"# only\n":                   "the file has no instruction",
		"CMD x\nFROM a\n":            `K:1: the first instruction is "CMD", not FROM`,
		"FROM a\nFROM b\n":           "K:2: FROM is used twice",
		"FROM a # base\n":            "K:1: FROM takes one name, and \"# base\" follows it; sealer 0.5 makes a comment here part of the name",
		"FROM a b\n":                 "FROM takes one name",
		"FROM\n":                     "FROM has no value",
		"FROM A\n":                   "K:1: FROM: \"A\" is not an image reference",
		"FROM\ta\n":                  "sealer 0.5 takes no tab after an instruction; put a plain blank after FROM",
		"from a\n":                   `sealer 0.5 knows instructions in upper case only, not "from"; write FROM`,
		"FROM a\nCMD\n":              "K:2: CMD has no value",
		"FROM a\nCMD a \\\n b\n":     "K:2: sealer 0.5 has no line continuation; write the instruction on one line",
		"FROM a\nkubectl get x\n":    `K:2: "kubectl" is not an instruction; sealer 0.5 has FROM, COPY, RUN and CMD`,
		"FROM a\nAPP x local://y\n":  "K:2: APP is not an instruction of sealer 0.5; use --dialect 0.9",
		"FROM a\nARG x=1\n":          "K:2: ARG is not an instruction of sealer 0.5; write the value where it is used",
		"FROM a\nCOPY x\n":           "K:2: COPY has no destination",
		"FROM a\nCOPY a b c\n":       `sealer 0.5 would silently ignore "c"`,
		"FROM a\nCOPY --x a b\n":     "silently ignore",
		"FROM a\nCOPY --chown=x a\n": "sealer 0.5 has no flags for COPY",
		"FROM a\nCOPY \"a\" b\n":     "sealer 0.5 makes the quotes of COPY part of the name",
		"FROM a\nCOPY .. b\n":        "ends in .., so its copy would land outside the destination",
		"FROM a\nCOPY ../ b\n":       "ends in ..",
		"FROM a\nCOPY a ../b\n":      `the destination "../b" may lie outside the root file system`,
		"FROM a\nCOPY a b/../../c\n": "may lie outside",
		"FROM a\nCMD [\"kubectl\",\"apply\",\"-f\",\"x\"]\n": "it cannot be told whether this list has one shell line each or the words of a single command",
		"FROM a\nCMD []\n":                       "CMD has an empty list",
		"FROM a\nCMD [\"\"]\n":                   "CMD has an empty command",
		"FROM a\nCMD kubectl apply -f - <<EOF\n": "a here-document needs lines of its own",
		"FROM a\nCMD helm install a charts/a,helm install b charts/b\n": "K:2: sealer 0.7 and 0.8 split this at the comma",
		"FROM a\nCMD kubectl apply -f a, kubectl apply -f b\n":          "split this at the comma",
		"FROM a\nCOPY x\nCMD\nCOPY y\n":                                 "K:4: COPY has no destination",
		"FROM a\n" + strings.Repeat("x y\n", 60):                        "and 10 more lines of this kind",
		"FROM a\nCMD " + strings.Repeat("x", MaxLine) + "\nCMD y\n":     "K:2: the line has 65540 bytes, 65535 are the limit; sealer 0.5 would drop everything from here on",
		strings.Repeat("\n", MaxSize+1):                                 "K: the file is larger than 4 MiB",
		"FROM a\x00":                                                    "not UTF-8 text",
		"FROM \xff":                                                     "not UTF-8 text",
		"\xff\xfeF\x00":                                                 "the file is UTF-16; save it as UTF-8",
	})
	broken := errors.New("the disk is gone")
	if _, err := Parse("K", iotest.ErrReader(broken), D05); !errors.Is(err, broken) || errors.Is(err, ErrKubefile) {
		t.Errorf("got %v", err)
	}
	// Shifts are no here-documents, and here-strings are one line.
	parse(t, "FROM a\nCMD echo $((1<<2)) && cat <<<EOF\n", D05)
	var p *Problem
	_, err := Parse("K", strings.NewReader("FROM a\nCOPY x"), D05)
	if !errors.As(err, &p) || p.Source != "K:2" || p.Hint == "" {
		t.Errorf("got %+v", p)
	}
}

func TestResolve05(t *testing.T) {
	f := parse(t, "FROM a\nCOPY $x/${ARCH} b\n", D05)
	got, err := f.Resolve(Args{Arch: "arm64"})
	if err != nil || got.Copies()[0].Src != "$x/${ARCH}" {
		t.Errorf("0.5 has no variables: %+v, %v", got, err)
	}
	if _, err := f.Resolve(Args{Build: map[string]string{"x": "1"}}); !errors.Is(err, ErrKubefile) {
		t.Errorf("got %v", err)
	}
}

func FuzzKubefile05(f *testing.F) {
	for _, s := range []string{"", ackdistro, "FROM a\r\nCOPY ../b/. ./c/\nCMD [\"a b\", \"c d\"]\nRUN x", "FROM a\nCOPY /etc/x #y\nCMD a,b\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { check(t, text, D05) })
}

// check holds for every text: no panic, errors of the right class, copies
// that stay inside, and the same answers for the same text.
func check(t *testing.T, text string, d Dialect) {
	for _, d := range []Dialect{d, Auto} {
		f, err := Parse("K", strings.NewReader(text), d)
		if err != nil {
			if !errors.Is(err, ErrKubefile) {
				t.Fatalf("%v is no ErrKubefile", err)
			}
			continue
		}
		if f.Base == "" || f.Dialect == Auto {
			t.Fatalf("half a file: %+v", f)
		}
		f.Commands()
		f.Labels()
		f.Env()
		for _, p := range f.Unsupported() {
			if !errors.Is(p, ErrUnsupported) || errors.Is(p, ErrKubefile) {
				t.Fatalf("class of %v", p)
			}
		}
		r, err := f.Resolve(Args{Arch: "arm64"})
		if err != nil {
			if !errors.Is(err, ErrKubefile) {
				t.Fatalf("%v is no ErrKubefile", err)
			}
			continue
		}
		for _, c := range r.Copies() {
			for _, dir := range []bool{false, true} {
				if to := c.Target(c.Src, dir, true); leaves(to) || strings.HasPrefix(to, "/") {
					t.Fatalf("%+v lands at %q", c, to)
				}
			}
			if r.Dialect == D09 && leaves(c.Src) {
				t.Fatalf("%+v leaves the context", c)
			}
		}
	}
}
