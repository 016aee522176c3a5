package kubefile

import (
	"errors"
	"strings"
	"testing"
)

const ackdistro = `FROM registry.cn-qingdao.aliyuncs.com/sealer-io/ack:genesis
COPY kubectl ./bin
COPY kubeadm ./bin
COPY kubelet ./bin
COPY helm ./bin
COPY imageList manifests
COPY Metadata .
COPY kubeadm-init.yaml.tmpl ./etc
COPY kube-core charts
COPY hybridnet charts
COPY open-local charts
COPY yamls ack-distro-yamls
CMD helm -n kube-system install kube-core charts/kube-core
CMD kubectl apply -f ack-distro-yamls/*
CMD helm -n kube-system install hybridnet charts/hybridnet
CMD helm -n kube-system install open-local charts/open-local
`

func TestDetect(t *testing.T) {
	cases := []struct {
		name, text string
		want       Dialect
		ambiguous  bool
		reason     string
	}{
		{"the published base", ackdistro, D05, false, "paths that COPY makes in sealer 0.5"},
		{"app", "FROM a\nAPP x local://y\nLAUNCH x\n", D09, false, "line 2 has the instruction APP"},
		{"app beats parent", "FROM a\nCOPY ../x y\nAPP x local://y\n", D09, false, "line 3"},
		{"lower-case app", "from a\napp x local://y\n", D09, false, "line 2 has the instruction APP"},
		{"escape directive", "# escape=`\nFROM a\n", D09, false, "a parser directive"},
		{"platform flag", "FROM --platform=linux/arm64 a\n", D09, false, "a flag of FROM"},
		{"chown flag", "FROM a\nCOPY --chown=1:1 b c\n", D09, false, "a flag of COPY"},
		{"json copy", "FROM a\nCOPY [\"b\", \"c\"]\n", D09, false, "a COPY in JSON form"},
		{"arch", "FROM scratch\nCOPY ${ARCH}/bin bin\n", D09, false, "the variable ARCH"},
		{"short arch", "FROM scratch\nCOPY $ARCH/bin bin\n", D09, false, "the variable ARCH"},
		{"parent", "FROM a\nCOPY ../b c\n", D05, false, "line 2 copies from outside the context"},
		{"deep parent", "FROM a\nCOPY b/../../c d\n", D05, false, "line 2 copies"},
		{"arg alone", "FROM a\nARG x=1\nCMD y\n", D09, true, "the instruction ARG, which came after sealer 0.6"},
		{"lower case alone", "FROM a\ncopy b c\n", D09, true, "an instruction in lower case"},
		{"continuation alone", "FROM a\nCMD b \\\n c\n", D09, true, "a line continuation"},
		{"tab alone", "FROM a\nCMD\tb\n", D09, true, "a tab after the instruction"},
		{"plugins folder", "FROM a\nCOPY p.yaml plugins\n", D09, false, "the folder plugins"},
		{"plugins folder with commands", "FROM a\nCOPY p.yaml plugins\nCMD x\n", D09, true, "the folder plugins"},
		{"plugin folder", "FROM a\nCOPY p.yaml plugin\n", D05, false, "the folder plugin, whose"},
		{"paths of 0.5", "FROM a\nCOPY charts/x charts\nCMD helm install x ./charts/x\n", D05, false, "paths that COPY makes in sealer 0.5"},
		{"paths of 0.9", "FROM a\nCOPY x charts/x\nCMD helm install x charts/x\n", D09, true, "paths that COPY makes in sealer 0.9"},
		{"paths of both", "FROM a\nCOPY x charts\nCOPY y m/y\nCMD helm install x charts/x\nCMD helm install x charts/x && kubectl apply -f m/y\n", D05, true, "in sealer 0.5"},
		{"plugin against paths", "FROM a\nCOPY p plugin\nCOPY x charts/x\nCMD helm install x charts/x\n", D09, true, "in sealer 0.9"},
		{"plain commands", "FROM a\nCMD kubectl get nodes\n", D05, false, "line 2 has CMD"},
		{"plain commands with copy", "FROM a\nCOPY b .\nCMD kubectl get nodes\n", D05, true, "line 3 has CMD"},
		{"only copy", "FROM a\nCOPY b c\n", D09, true, "nothing in the file tells the dialect"},
		{"only from", "FROM a\n", D09, false, "nothing in the file depends on the dialect"},
		{"unknown lines do not count", "FROM a\nfoo\tbar\nCMD x\n", D05, false, "line 3 has CMD"},
		{"half a copy", "FROM a\nCOPY\nCMD x\n", D05, true, "line 3 has CMD"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Detect("Kubefile", []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if got.Dialect != c.want || got.Ambiguous != c.ambiguous || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// ARG came with 0.7 and ../ went with 0.9: such a file means something that
// neither dialect here would give it.
func TestDetectRefuses07(t *testing.T) {
	text := "FROM a\nARG X=1\nCOPY ../b c\nCMD echo $X\n"
	_, err := Detect("K", []byte(text))
	if !errors.Is(err, ErrDialect) || !errors.Is(err, ErrKubefile) || !strings.Contains(err.Error(), "K:2: the instruction ARG and the COPY from outside the context in line 3 together are the dialect of sealer 0.7 or 0.8") {
		t.Errorf("got %v", err)
	}
	if _, err := Parse("K", strings.NewReader(text), Auto); !errors.Is(err, ErrDialect) {
		t.Errorf("got %v", err)
	}
	if _, err := Detect("K", []byte{0}); !errors.Is(err, ErrKubefile) {
		t.Errorf("got %v", err)
	}
}

func TestAmbiguousFilesWarn(t *testing.T) {
	f, err := Parse("K", strings.NewReader("FROM a\nCOPY b c\n"), Auto)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Warnings) != 1 || f.Warnings[0].Source != "K" || !strings.Contains(f.Warnings[0].Text, "--dialect 0.5 or --dialect 0.9") {
		t.Errorf("warnings %v", f.Warnings)
	}
	f, err = Parse("K", strings.NewReader("FROM a\nCOPY b c\n"), D05)
	if err != nil || len(f.Warnings) != 0 || f.Detection.Reason != "" {
		t.Errorf("told the dialect, still %v (%v)", f.Warnings, err)
	}
}

func TestParseDialect(t *testing.T) {
	for s, want := range map[string]Dialect{
		"": Auto, "auto": Auto, "AUTO": Auto, "0.5": D05, "v0.5.2": D05, "0.6.1": D05, "0.9": D09, "v0.9.3": D09, "0.10.0": D09, "0.11": D09,
	} {
		if got, err := ParseDialect(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for s, want := range map[string]string{
		"0.7": "docs/kubefile.md", "v0.8.6": "docs/kubefile.md", "1.0": "use auto, 0.5 or 0.9", "x": "use auto", "0.4": "use auto", "5": "use auto",
	} {
		if _, err := ParseDialect(s); !errors.Is(err, ErrDialect) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", s, err)
		}
	}
	if Auto.String() != "auto" || D05.String() != "0.5" || D09.String() != "0.9" || Dialect(7).String() != "Dialect(7)" {
		t.Error("names of dialects")
	}
	if _, err := Parse("K", strings.NewReader("FROM a\n"), Dialect(7)); !errors.Is(err, ErrDialect) {
		t.Errorf("got %v", err)
	}
}
