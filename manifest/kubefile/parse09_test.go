package kubefile

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"bundle/manifest"
)

const shop = "# syntax=sealer\n# a shop\n" + `ARG REG=registry.example.com
from --platform=linux/amd64 ${REG}/ackdistro:v1-22-15-ack-10
MAINTAINER somebody <x@example.com>
LABEL a=b "c d"="e f" g='h'
KUBEVERSION ">=1.20"
ENV A=1 B="two" C=x\ y
ENV A=3
ARG DIR=charts V
COPY ${ARCH}/bin bin
COPY --chown=1:1 $DIR/api charts/api
COPY ["with blank", "files/"]
ADD imageList manifests/
CNI calico local://cni/calico.yaml
CSI nfs local://csi
APP api local://charts/api
APP web2 local://x
APP ["web", "local://web/a.yaml", "local://web/b.yaml"]
APPENV api X=1 Y=2
APPCMDS web ["kubectl apply -f a.yaml", \

# comment in the first column

  "&& kubectl apply -f b.yaml"]
LAUNCH calico web nginx
`

func TestParse09(t *testing.T) {
	f := parse(t, shop, Auto)
	if f.Dialect != D09 || f.Base != "${REG}/ackdistro:v1-22-15-ack-10" || f.BasePlatform != "linux/amd64" || f.BaseSource != "K:4" {
		t.Errorf("got %+v", f)
	}
	if f.InheritsCommands() {
		t.Error("0.9 drops the commands of the base")
	}
	wantEnv := []manifest.EnvVar{
		{Name: "A", Value: "3", Source: "K:9"}, {Name: "B", Value: "two", Source: "K:8"}, {Name: "C", Value: "x y", Source: "K:8"},
		{Name: "X", Value: "1", App: "api", Source: "K:20"}, {Name: "Y", Value: "2", App: "api", Source: "K:20"},
	}
	if got := f.Env(); !reflect.DeepEqual(got, wantEnv) {
		t.Errorf("env %+v", got)
	}
	wantLabels := map[string]string{
		"a": "b", "c d": "e f", "g": "h", "maintainer": "somebody <x@example.com>",
		"app.alpha.sealer.io/supported-kube-version": ">=1.20",
		"cluster.alpha.sealer.io/kube-cni-calico":    "true", "cluster.alpha.sealer.io/kube-csi-nfs": "true",
	}
	if got := f.Labels(); !reflect.DeepEqual(got, wantLabels) {
		t.Errorf("labels %v", got)
	}
	if apps := f.Apps(); len(apps) != 5 || apps[0].Role != RoleCNI || apps[1].Role != RoleCSI || apps[4].Name != "web" || len(apps[4].Files) != 2 {
		t.Errorf("apps %+v", apps)
	}
	want := []Command{
		{Source: "K:26", App: "calico"},
		{Text: "kubectl apply -f a.yaml && kubectl apply -f b.yaml", Source: "K:21", App: "web", Dir: "application/apps/web"},
		{Source: "K:26", App: "nginx"},
	}
	if got := f.Commands(); !reflect.DeepEqual(got, want) {
		t.Errorf("commands %+v", got)
	}
	var warnings []string
	for _, w := range f.Warnings {
		warnings = append(warnings, string(w.Source)+" "+w.Text)
	}
	all := strings.Join(warnings, "\n")
	for _, w := range []string{
		"K:8 the quotes of ENV are taken away", "K:12 --chown is ignored, as sealer does",
		"K:21 sealer joins the 2 elements of APPCMDS by blanks", `K:26 the application "nginx" is not declared here and must come with`,
	} {
		if !strings.Contains(all, w) {
			t.Errorf("no warning %q in\n%s", w, all)
		}
	}
	if len(f.Warnings) != 4 {
		t.Errorf("warnings:\n%s", all)
	}

	r, err := f.Resolve(Args{Arch: "arm64", Build: map[string]string{"DIR": "my"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Base != "registry.example.com/ackdistro:v1-22-15-ack-10" || f.Base == r.Base {
		t.Errorf("base %q", r.Base)
	}
	var copies []string
	for _, c := range r.Copies() {
		s := c.Src + " -> " + c.Target(c.Src, true, true) + " or " + c.Target(c.Src, false, false)
		if c.App != "" {
			s += " @" + c.App
		}
		if c.Add {
			s += " add"
		}
		copies = append(copies, s)
	}
	wantCopies := []string{
		"arm64/bin -> bin or bin",
		"my/api -> charts/api or charts/api",
		"with blank -> files or files/with blank",
		"imageList -> manifests or manifests/imageList add",
		"cni/calico.yaml -> application/apps/calico or application/apps/calico/calico.yaml @calico",
		"csi -> application/apps/nfs or application/apps/nfs/csi @nfs",
		"charts/api -> application/apps/api or application/apps/api/api @api",
		"x -> application/apps/web2 or application/apps/web2/x @web2",
		"web/a.yaml -> application/apps/web or application/apps/web/a.yaml @web",
		"web/b.yaml -> application/apps/web or application/apps/web/b.yaml @web",
	}
	if !reflect.DeepEqual(copies, wantCopies) {
		t.Errorf("got\n%s", strings.Join(copies, "\n"))
	}
	if f.Copies()[0].Src != "${ARCH}/bin" {
		t.Error("Resolve changed its receiver")
	}
}

func TestCopy09(t *testing.T) {
	for line, want := range map[string]CopyRule{
		"a b":          {Src: "a", Dst: "b", base: "a"},
		"./a/ /b/":     {Src: "a", Dst: "b", Into: true, base: "a"},
		"/a .":         {Src: "a", Dst: ".", Into: true, base: "a"},
		"a/../b c":     {Src: "b", Dst: "c", base: "b"},
		"*.yaml m/":    {Src: "*.yaml", Dst: "m", Into: true, Glob: true, base: "*.yaml"},
		`["a", "b c"]`: {Src: "a", Dst: "b c", base: "a"},
	} {
		want.Source, want.Mode = "K:2", Contents
		got := parse(t, "FROM a\nCOPY "+line, D09).Copies()
		if len(got) != 1 || got[0] != want {
			t.Errorf("COPY %s: %+v, want %+v", line, got, want)
		}
	}
	c := parse(t, "FROM a\nCOPY *.yaml m/", D09).Copies()[0]
	if got := c.Target("x/b.yaml", false, false); got != "m/b.yaml" {
		t.Errorf("a match of the glob lands at %q", got)
	}
	c = parse(t, "FROM a\nCOPY imageList manifests", D09).Copies()[0]
	if c.Target("imageList", false, false) != "manifests" || c.Target("imageList", false, true) != "manifests/imageList" {
		t.Error("without a slash it depends on whether the folder is there")
	}
}

func TestCommands09(t *testing.T) {
	f := parse(t, "FROM a\nCMD kubectl apply -f a.yaml\ncmd [\"a b\", \"c d\"]\nCMD echo CMD x\n", D09)
	if want := []string{"kubectl apply -f a.yaml", "a b", "c d", "echo CMD x"}; !reflect.DeepEqual(commands(f), want) {
		t.Errorf("got %q", commands(f))
	}
	if len(f.Warnings) != 3 || !strings.Contains(f.Warnings[0].Text, "CMD is deprecated") || !strings.Contains(f.Warnings[2].Text, `the second "CMD "`) {
		t.Errorf("warnings %v", f.Warnings)
	}
	f = parse(t, "FROM a\nCMDS [\"helm install x y --set a=1,b=2\", \" kubectl get $HOME \"]\n", D09)
	if want := []string{"helm install x y --set a=1,b=2", "kubectl get $HOME"}; !reflect.DeepEqual(commands(f), want) {
		t.Errorf("got %q", commands(f))
	}
	f = parse(t, "FROM a\nCMDS one\n", D09)
	if want := []string{"one"}; !reflect.DeepEqual(commands(f), want) {
		t.Errorf("got %q", commands(f))
	}
	f = parse(t, "FROM scratch\nAPP a local://x\nLAUNCH [\"a\"]\n", D09)
	if got := f.Commands(); len(got) != 1 || got[0].App != "a" || got[0].Text != "" {
		t.Errorf("got %+v", got)
	}
	// No LAUNCH, nothing launched.
	if f := parse(t, "FROM a\nAPP a local://x\nAPPCMDS a [\"b\"]\n", D09); len(f.Commands()) != 0 {
		t.Errorf("got %+v", f.Commands())
	}
}

func TestLines09(t *testing.T) {
	for text, want := range map[string][]string{
		"FROM a\nCMD a \\\n  b\\\n c\n":                        {"a   b c"},
		"FROM a\r\nCMD a \\\r\n b\r\n":                         {"a  b"},
		"FROM a\nCMD a \\   \n# x\n\n b\n":                     {"a  b"},
		"# escape=`\nFROM a\nCMD a `\n b\nCMD c\\\n":           {"a  b", `c\`},
		"# Escape = \\\nFROM a\nCMD b\n":                       {"b"},
		"# check=x\n# syntax=y\n# escape=`\nFROM a\nCMD b`\nc": {"bc"},
		"# not=a directive\n# escape=`\nFROM a\nCMD a`\n":      {"a`"},
		"\n# escape=`\nFROM a\nCMD a`\n":                       {"a`"},
		"FROM a\nCMD\ta\n":                                     {"a"},
		"\xef\xbb\xbfFROM a\nCMD b":                            {"b"},
		"   FROM a\n  # c\nCMD b":                              {"b"},
	} {
		if got := commands(parse(t, text, D09)); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f := parse(t, "FROM a\n\nCMD a \\\n b\nCMD c", D09)
	if f.Commands()[0].Source != "K:3" || f.Commands()[1].Source != "K:5" {
		t.Errorf("got %+v", f.Commands())
	}
}

func TestBad09(t *testing.T) {
	from := "FROM a\n"
	app := "FROM scratch\nAPP x local://y\n"
	badLines(t, D09, map[string]string{
		"":                                            "the file has no instruction",
		"ARG x=1\n":                                   "K: the file has no FROM",
		"CMD a\nCMD b\n":                              "K:1: the first instruction is CMD, not FROM",
		from + "FROM b\n":                             "K:2: FROM is used twice",
		"FROM a AS b\n":                               "stages (AS) are not part of a Kubefile",
		"FROM a # b\n":                                "put the comment on a line of its own",
		"FROM --x=1 a\n":                              "FROM has no flag --x",
		"FROM --platform=linux/amd64\n":               "FROM takes one name",
		"FROM A\n":                                    "not an image reference",
		"FROM\n":                                      "FROM has no value",
		from + "WORKDIR /x\n":                         `K:2: "WORKDIR" is not an instruction of a Kubefile`,
		from + "CMD a \\\n":                           "K:2: the file ends inside this instruction; the last line ends in a line continuation",
		from + "CMD a \\\n  # c\n b\n":                "K:3: a comment inside a continued instruction must begin in the first column; sealer makes an indented one part of the command",
		"# escape=x\nFROM a\n":                        `K:1: the escape character is "x"; it must be`,
		from + "COPY ../a b\n":                        `K:2: the source "../a" lies outside the context, which sealer 0.9 refuses; move the files into the context, or use --dialect 0.5`,
		from + "COPY a/../../b c\n":                   "lies outside the context",
		from + "COPY [\"../a\", \"b\"]\n":             "lies outside the context",
		from + "COPY a ../b\n":                        "may lie outside the root file system",
		from + "COPY a\n":                             "COPY has no destination",
		from + "COPY a b c/\n":                        `sealer takes the first two words only and would silently ignore "c/"`,
		from + "COPY --from=x a b\n":                  "COPY --from takes files of another image",
		from + "COPY --link a b\n":                    "COPY has no flag --link",
		from + "COPY --chown=1\n":                     "COPY has no destination",
		from + "COPY \"a b\" c\n":                     "quotes do not hold the words of COPY together",
		from + "COPY [\"a\", 1]\n":                    "COPY: \"[\\\"a\\\", 1]\" begins like a JSON list of strings and is none",
		from + "COPY [\"\", \"b\"]\n":                 "COPY has an empty name",
		from + "COPY <<EOF /x\n":                      "a Kubefile has no here-documents",
		from + "ADD a\n":                              "ADD has no destination",
		from + "CMD kubectl apply -f - <<EOF\n":       "a here-document needs lines of its own",
		from + "CMD a b, kubectl get c\n":             "sealer 0.7 and 0.8 split this at the comma",
		from + "CMD [\"a\", \"b\"]\n":                 "it cannot be told",
		from + "CMDS kubectl get x\n":                 "without brackets sealer makes every word a command of its own",
		from + "CMDS []\n":                            "CMDS has an empty list",
		from + "CMDS [\" \"]\n":                       "CMDS has an empty command",
		from + "CMDS [1]\n":                           "CMDS: ",
		from + "CMDS [\"a\"]\nCMDS [\"b\"]\n":         "K:3: CMDS follows CMDS in K:2, which must be the last instruction",
		from + "CMDS [\"a\"]\nCOPY b c\n":             "COPY follows CMDS in K:2",
		app + "LAUNCH x\nCMD y\n":                     "CMD follows LAUNCH in K:3",
		app + "CMD y\nLAUNCH x\n":                     "K:4: a Kubefile has CMD or LAUNCH, not both",
		app + "LAUNCH y\n":                            `K:3: LAUNCH names the application "y", which is not declared`,
		app + "LAUNCH []\n":                           "LAUNCH names no application",
		app + "LAUNCH [x]\n":                          "LAUNCH names no application",
		app + "APP x local://z\n":                     `the application "x" is declared twice`,
		from + "APP x\n":                              "APP needs a name and at least one file",
		from + "APP x y\n":                            `APP has the file "y" without a known scheme`,
		from + "APP x ftp://y\n":                      "without a known scheme",
		from + "APP x local://../y\n":                 "outside the context",
		from + "APP x local://\n":                     "outside the context",
		from + "APP ../x local://y\n":                 "which cannot be a folder",
		from + "APP [x]\n":                            "APP: ",
		from + "CNI x y\n":                            "CNI has the file",
		app + "APPCMDS y [\"a\"]\n":                   `APPCMDS names the application "y", which is not declared`,
		app + "APPCMDS x a\n":                         "APPCMDS needs a JSON list",
		app + "APPCMDS x\n":                           "APPCMDS needs a JSON list",
		app + "APPCMDS x [1]\n":                       "APPCMDS: ",
		app + "APPCMDS x [\"\"]\n":                    "APPCMDS has an empty command",
		app + "APPCMDS /x [\"a\"]\n":                  "which cannot be a folder",
		app + "APPENV y A=1\n":                        `APPENV names the application "y"`,
		app + "APPENV x\n":                            "APPENV sets nothing",
		app + "APPENV x A\n":                          `APPENV has the word "A" without a name and =`,
		from + "ENV A 1\n":                            `ENV has the word "A" without a name and =, which sealer silently ignores; write ENV NAME=value`,
		from + "ENV =1\n":                             "without a name and =",
		from + "ENV A-$B=1\n":                         "which no shell can read",
		from + "ENV A=\"1\n":                          `ENV: a " quote is not closed`,
		from + "LABEL a\n":                            `LABEL has the word "a"`,
		from + "ARG a=b,c=d\n":                        "sealer 0.7 and 0.8 read this as several arguments, 0.9 as one",
		from + "ARG 1a=b\n":                           `ARG has the name "1a"`,
		from + "ARG a='b\n":                           "ARG: a ' quote is not closed",
		from + "ARG V=1\nCMD echo ${V}\n":             "K:3: CMD uses the build argument V: sealer 0.7 and 0.8 put its value in, 0.9 leaves it empty",
		from + "ARG V=1\nCMDS [\"echo $V\"]\n":        "CMDS uses the build argument V",
		app + "ARG V=1\nAPPCMDS x [\"echo $V-$W\"]\n": "APPCMDS uses the build argument V",
	})
	f := parse(t, from+"ARG a=\"b,c=d\" e=f\n", D09)
	if a := f.Instructions[1].(Arg); a.Name != "a" || a.Default != "b,c=d" || !a.HasDefault || len(f.Instructions) != 3 {
		t.Errorf("got %+v", f.Instructions)
	}
}

func TestUnsupported(t *testing.T) {
	f := parse(t, "FROM a\nRUN make\nADD https://x/y z\nADD a.tar.gz b\nADD git@x:y z\nADD ok z\nAPP x https://y/z.yaml local://q\n", D09)
	want := []string{
		`K:2: RUN "make" cannot be run while packaging`,
		`K:3: ADD "https://x/y" fetches from the network`,
		`K:4: ADD "a.tar.gz" would unpack an archive; fetch or unpack it before the build and use COPY`,
		`K:5: ADD "git@x:y" fetches`,
		`K:7: the application x fetches "https://y/z.yaml", and nothing pins what comes`,
	}
	got := f.Unsupported()
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i, p := range got {
		if !strings.HasPrefix(p.Error(), want[i]) || !errors.Is(p, ErrUnsupported) || errors.Is(p, ErrKubefile) || p.Hint == "" {
			t.Errorf("got %v, want %s", p, want[i])
		}
	}
	if c := f.Copies(); len(c) != 2 || c[0].Src != "ok" || c[1].Src != "q" {
		t.Errorf("what cannot be done is copied all the same: %+v", c)
	}
	if got := parse(t, "FROM a\nRUN make && make install\n", D05).Unsupported(); len(got) != 1 || !strings.Contains(got[0].Hint, "COPY the files it makes") {
		t.Errorf("got %v", got)
	}
}

func TestKindsOfApplications(t *testing.T) {
	cases := []struct {
		files []string
		kind  AppKind
		line  string
	}{
		{[]string{"Chart.yaml", "values.yaml", "templates/a.yaml", "README.md"}, KindHelm, "helm install x application/apps/x"},
		{[]string{"b.yml", "a.yaml"}, KindKube, "kubectl apply -f application/apps/x/a.yaml && kubectl apply -f application/apps/x/b.yml"},
		{[]string{"b.sh", "a b.sh"}, KindShell, "bash 'application/apps/x/a b.sh' && bash application/apps/x/b.sh"},
		{[]string{"a.sh", "b.yaml"}, KindUnknown, ""},
		{[]string{"Chart.yaml", "templates/a.yaml"}, KindKube, "kubectl apply -f application/apps/x/Chart.yaml && kubectl apply -f application/apps/x/templates/a.yaml"},
		{[]string{"sub/Chart.yaml", "sub/values.yaml", "sub/templates/NOTES.txt"}, KindUnknown, ""},
		{nil, KindUnknown, ""},
	}
	for _, c := range cases {
		if got := KindOf(c.files); got != c.kind {
			t.Errorf("%v is %q", c.files, got)
		}
		line, err := LaunchLine("x", c.files)
		if line != c.line || (err != nil) != (c.kind == KindUnknown) {
			t.Errorf("%v: %q, %v", c.files, line, err)
		}
		if err != nil && (!errors.Is(err, ErrKubefile) || !strings.Contains(err.Error(), "APPCMDS")) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := LaunchLine("x", []string{"a\x00.sh"}); !errors.Is(err, ErrKubefile) {
		t.Errorf("got %v", err)
	}
}

func TestResolve(t *testing.T) {
	text := "ARG V=1\nFROM r.io/a:${V}\nARG V\nARG W=x-$V\nENV E=e\nCOPY ${V}/$W/${E}.${U:-u}${V:+s}${U:+no} ${ARCH}/\n"
	f := parse(t, text, D09)
	r, err := f.Resolve(Args{Arch: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	if c := r.Copies()[0]; r.Base != "r.io/a:1" || c.Src != "1/x-1/e.us" || c.Dst != "amd64" {
		t.Errorf("base %q copy %+v", r.Base, c)
	}
	r, err = f.Resolve(Args{Arch: "amd64", Build: map[string]string{"V": "2"}})
	if err != nil || r.Base != "r.io/a:2" || r.Copies()[0].Src != "2/x-2/e.us" {
		t.Errorf("got %+v, %v", r, err)
	}
	for text, want := range map[string]string{
		"FROM a:$V\n":                            "K:1: the variable V has no value here",
		"ARG V=1\nFROM a\nCOPY $V b\n":           "K:3: the variable V has no value here; declare it with ARG after FROM",
		"FROM a\nCOPY ${ARCH b\n":                "has no closing brace",
		"FROM a\nCOPY ${X:?y} b\n":               "is not a variable that can be replaced here",
		"FROM a\nCOPY $1 b\n":                    "is not a variable",
		"FROM a\nCOPY a$ b\n":                    "is not a variable",
		"FROM a\nARG V=..\nCOPY $V/x b\n":        `K:3: the source becomes "../x", which lies outside the context`,
		"FROM a\nARG V=..\nCOPY x a/$V\n":        "may lie outside the root file system",
		"FROM a\nARG V=..\nAPP x local://$V/y\n": "lies outside the context",
		"ARG V=A\nFROM $V\n":                     "K:2: FROM: \"A\" is not an image reference",
		"FROM a\nARG V=$X\n":                     "K:2: the variable X has no value",
		"FROM a\nADD $X b\n":                     "the variable X has no value",
	} {
		f := parse(t, text, D09)
		if _, err := f.Resolve(Args{}); !errors.Is(err, ErrKubefile) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	_, err = f.Resolve(Args{Arch: "amd64", Build: map[string]string{"X": "1", "Y": "2"}})
	if !errors.Is(err, ErrKubefile) || !strings.Contains(err.Error(), "the build argument X is not declared") || !strings.Contains(err.Error(), "argument Y") {
		t.Errorf("got %v", err)
	}
}

func TestExpandArch(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "a": "a", "${ARCH}/b": "x/b", "$ARCH/b": "x/b", "$ARCH": "x", "a$ARCH.b$ARCH": "ax.bx", "$ARCHIVE": "$ARCHIVE", "$ARCH_": "$ARCH_", "$V": "$V",
	} {
		if got := ExpandArch(s, "x"); got != want {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

func FuzzKubefile09(f *testing.F) {
	for _, s := range []string{"", shop, ackdistro, "# escape=`\nFROM a\nCMD x `\n y", "ARG A=1\nFROM $A\nCOPY ${B:-c} d/\nENV x='y z'\\ q\nCMDS [\"a\"]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { check(t, text, D09) })
}
