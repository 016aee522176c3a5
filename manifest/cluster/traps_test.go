package cluster

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"bundle/manifest"
)

// TestPlaceholders: what a person forgot to fill in is named with its line,
// once each, and nothing that only looks like it.
func TestPlaceholders(t *testing.T) {
	data := read(t, "traps/placeholders.yaml")
	_, err := Parse("C", bytes.NewReader(data), Options{})
	if !errors.Is(err, ErrSyntax) {
		t.Fatal(err)
	}
	want := `C:9: #PASSWD# is not filled in; say --set PASSWD=VALUE, or give the password on the command line
C:10: ${KEY_PASSWD} is not filled in; say --set KEY_PASSWD=VALUE
C:11: $SSH_PORT is not filled in; say --set SSH_PORT=VALUE
C:13: $MASTER_IP_1 is not filled in; say --set MASTER_IP_1=VALUE
C:16: ${WORKER_IP_1} is not filled in; say --set WORKER_IP_1=VALUE
C:17: #WORKER_IP_2# is not filled in; say --set WORKER_IP_2=VALUE
C:28: #DataDiskDeviceName# is not filled in; say --set DataDiskDeviceName=VALUE
C:29: #SecondDisk# is not filled in; say --set SecondDisk=VALUE
C:34: $WORKER_IP_1 is not filled in; say --set WORKER_IP_1=VALUE`
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	set := map[string]string{
		"PASSWD": "p: #w", "KEY_PASSWD": "{", "SSH_PORT": "2022", "MASTER_IP_1": "10.0.0.1", "WORKER_IP_1": "10.0.0.2", "WORKER_IP_2": "10.0.0.3",
		"DataDiskDeviceName": "/dev/vdb", "SecondDisk": "/dev/vdc", "f": "not this one", "old": "OLD", "host": "HOST",
	}
	c, err := Parse("C", bytes.NewReader(data), Options{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "ssh", c.Hosts[0].SSH, SSH{User: "root", Port: 2022, Password: "p: #w", KeyPassword: "{"})
	equal(t, "a port of its own", c.Hosts[1].Address+" "+c.Hosts[2].Address, "10.0.0.2 10.0.0.3")
	equal(t, "script", c.Plugins[0].Data, strings.NewReplacer(
		"VG_DEV=#DataDiskDeviceName#", "VG_DEV=/dev/vdb", `OTHER="#SecondDisk#"`, `OTHER="/dev/vdc"`, "$WORKER_IP_1 ", "10.0.0.2 ", "'s#$old#x#g'", "'s#OLD#x#g'",
	).Replace(scriptOf(t, string(data))))
	equal(t, "table", c.Plugins[1].Data, "10.0.0.2 lb=nginx\n")
	equal(t, "content", c.Configs[0].Data, "# $MASTER_IP_1 in a comment\nproxy_set_header Host HOST;\nupstream a { server 10.0.0.1:80; }\ndisk: /dev/vdb\n")
	equal(t, "warnings", warnings(c.Warnings), "command line --set f: the Clusterfile has no placeholder f\n")
}

// scriptOf cuts the script out of the text by hand.
func scriptOf(t *testing.T, text string) string {
	_, text, ok := strings.Cut(text, "  data: |\n")
	text, _, ok2 := strings.Cut(text, "---\n")
	if !ok || !ok2 {
		t.Fatal("no script")
	}
	return strings.ReplaceAll(text[4:], "\n    ", "\n")
}

// TestPasswordOfTheCommandLine: -p stands in for $PASSWD of spec.ssh, and for
// that one only.
func TestPasswordOfTheCommandLine(t *testing.T) {
	text := "kind: Cluster\nspec:\n  ssh: {passwd: $PASSWD}\n  masters: {ipList: [10.0.0.1]}\n"
	c := parse(t, text, Options{SSH: SSH{Password: "pw"}})
	equal(t, "password", c.Hosts[0].SSH.Password, Secret("pw"))
	text = "kind: Cluster\nspec:\n  hosts: [{ips: [10.0.0.1], roles: [master], ssh: {passwd: $PASSWD}}]\n"
	if _, err := Parse("C", strings.NewReader(text), Options{SSH: SSH{Password: "pw"}}); err == nil || err.Error() != "C:3: $PASSWD is not filled in; say --set PASSWD=VALUE" {
		t.Errorf("got %v", err)
	}
}

// TestVariablesAreNoPlaceholders: what the installer exports is there when a
// script runs.
func TestVariablesAreNoPlaceholders(t *testing.T) {
	plugin := "\n---\nkind: Plugin\nmetadata: {name: p}\nspec: {type: SHELL, action: PreInit, data: 'echo $NODE_IP_1 $PASSWD'}\n"
	for _, cluster := range []string{
		"kind: Cluster\nspec: {env: [NODE_IP_1=x, PASSWD=y], masters: {ipList: [10.0.0.1]}}",
		"kind: Cluster\nspec: {hosts: [{ips: [10.0.0.1], roles: [master], env: [NODE_IP_1=x, PASSWD=y]}]}",
	} {
		parse(t, cluster+plugin, Options{})
		parse(t, plugin[5:]+"---\n"+cluster, Options{})
	}
	_, err := Parse("C", strings.NewReader("kind: Cluster\nspec: {masters: {ipList: [10.0.0.1]}}"+plugin), Options{})
	if err == nil || strings.Count(err.Error(), "is not filled in") != 2 {
		t.Errorf("got %v", err)
	}
}

// TestValuesStayValues: what is given with --set can never become structure
// or a second command.
func TestValuesStayValues(t *testing.T) {
	config := func(data string) string {
		return "kind: Cluster\nspec: {masters: {ipList: [10.0.0.1]}}\n---\nkind: Config\nmetadata: {name: c}\nspec:\n  path: x\n  data: |\n    " + strings.ReplaceAll(data, "\n", "\n    ")
	}
	script := func(data string) string {
		return "kind: Cluster\nspec: {masters: {ipList: [10.0.0.1]}}\n---\nkind: Plugin\nmetadata: {name: c}\nspec:\n  type: SHELL\n  action: PreInit\n  data: |\n    " + data
	}
	for _, tt := range []struct{ text, value, want string }{
		{config("a: $X"), "v", "a: v"},
		{config("a: $X\n# $X"), "v", "a: v\n# $X"},
		{config("a: $X"), "b: c", ""},
		{config("a: $X"), "v #w", ""},
		{config("a: '$X'"), "v #w: {[", "a: 'v #w: {['"},
		{config("a: '$X'"), "it's", ""},
		{config("a: \"$X\""), `\n`, ""},
		{config("a: \"$X\""), `"`, ""},
		{config("a: [$X]"), "b, c", ""},
		{config("a: |\n  text $X"), "b: c, 'd", "a: |\n  text b: c, 'd"},
		{config("a: #X#"), "v", "a: v"},
		{config("a: $X # $X"), "v", "a: v # v"},
		{config("a: 1\n---\nb: ${X}"), "v", "a: 1\n---\nb: v"},
		{config("no: {yaml $X"), "a: b", "no: {yaml a: b"},
		{config("a: &x 1\nb: $X"), "*x", ""},
		{script("echo $X"), "v/1.2-3_4:5@6,7=8+9%", "echo v/1.2-3_4:5@6,7=8+9%"},
		{script("echo $X"), "磁盘", "echo 磁盘"},
		{script("echo $X"), "v; rm -rf /", ""},
		{script("echo $X"), "$(reboot)", ""},
		{script("echo $X"), "`reboot`", ""},
		{script("echo \"$X\""), "a b", ""},
		{script("X=1; echo $X"), "a b", "X=1; echo $X"},
		{script("echo ${X}y"), "", "echo y"},
	} {
		c, err := Parse("C", strings.NewReader(tt.text), Options{Set: map[string]string{"X": tt.value}})
		if tt.want == "" {
			if !errors.Is(err, ErrSyntax) {
				t.Errorf("%q in %q: got %v", tt.value, tt.text, err)
			} else if strings.Contains(err.Error(), "reboot") {
				t.Errorf("the value is in the error: %v", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q in %q: %v", tt.value, tt.text, err)
			continue
		}
		got := ""
		if len(c.Configs) > 0 {
			got = c.Configs[0].Data
		} else {
			got = c.Plugins[0].Data
		}
		equal(t, tt.text, got, tt.want)
	}
	// Fields take any text.
	value := "a\"b: [c] #d 'e' - *f"
	c := parse(t, "kind: Cluster\nspec:\n  masters: {ipList: [10.0.0.1]}\n  env: [A=$X, \"B=$X\"]\n---\nkind: KubeletConfiguration\nmaxPods: $N\nfeature: $B\nname: $X\nmore: x$N\n",
		Options{Set: map[string]string{"X": value, "N": "7", "B": "true"}})
	equal(t, "env", c.Env[0].Value+c.Env[1].Value, value+value)
	equal(t, "document", c.Kubeadm[0].Text, "kind: KubeletConfiguration\nmaxPods: 7\nfeature: true\nname: \"a\\\"b: [c] #d 'e' - *f\"\nmore: \"x7\"\n")
	for _, set := range []map[string]string{{"a b": "c"}, {"A": "b\nc"}, {"A": "b\x00"}} {
		if _, err := Short([]string{"10.0.0.1"}, nil, Options{Set: set}); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: got %v", set, err)
		}
	}
	many := strings.Repeat("$A ", maxPlaceholders+1)
	if _, err := Parse("C", strings.NewReader(config(many)), Options{}); err == nil || !strings.Contains(err.Error(), "more than 10000 placeholders") {
		t.Errorf("got %v", err)
	}
}

// TestUnquotedOn: sealer lost the selector and ran the plugin everywhere.
func TestUnquotedOn(t *testing.T) {
	got, w, err := ParsePlugins("plugin/on.yaml", read(t, "traps/on.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"10.0.0.1"}, {"10.0.0.1", "10.0.0.2"}, {"10.0.0.1"}} {
		equal(t, got[i].Name, got[i].On, want)
	}
	if len(w) != 2 || w[0].Source != "plugin/on.yaml:6" || w[1].Source != "plugin/on.yaml:14" || !strings.Contains(w[0].Text, "ran the plugin on all hosts") {
		t.Errorf("warned %s", warnings(w))
	}
}

// TestPhasesThatNeverRan: a plugin that sealer passed over in silence is still
// not run, but said to be.
func TestPhasesThatNeverRan(t *testing.T) {
	got, w, err := ParsePlugins("plugin/x.yaml", read(t, "traps/preinstall.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]Phase{nil, {PhasePreInstall}, {PhasePreInit, PhasePostClean}} {
		equal(t, got[i].Name, got[i].Phases, want)
	}
	equal(t, "warnings", warnings(w), `plugin/x.yaml:7: the Plugin "never" asks for the phase PreInstall, which no sealer ever ran; it is not run here either
plugin/x.yaml:28: the Plugin "later" asks for the phase PostClean, which sealer ran from 0.6 on only; it is run here
`)
	_, w, err = ParsePlugins("plugins/x.yaml", read(t, "traps/preinstall.yaml"))
	if err != nil || len(w) != 1 {
		t.Errorf("of a later sealer: %s %v", warnings(w), err)
	}
}

func TestNamesAreFreeText(t *testing.T) {
	c, err := Parse("C", bytes.NewReader(read(t, "traps/names.yaml")), Options{Masters: []string{"10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "names", c.Configs[0].Name+" "+c.Plugins[0].Name, "clusterfileguraion_full func clusterfile_originally/磁盘")
}

// TestFilesOfOtherEditors: a byte order mark, CRLF, empty documents, marks with
// comments, and no line end at the end.
func TestFilesOfOtherEditors(t *testing.T) {
	data := read(t, "traps/windows.yaml")
	if !bytes.Contains(data, []byte("\r\n")) {
		t.Fatal("the test data lost what makes it special: CRLF")
	}
	c, err := Parse("C", bytes.NewReader(data), Options{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "hosts", c.Hosts[0].Source, manifest.Source("C:10"))
	equal(t, "plugin", c.Plugins[0].Data, "echo 一\necho 二\n")
	equal(t, "its line", c.Plugins[0].Line, 19)
	equal(t, "config", c.Configs[0].Data, "last line")
	equal(t, "its line", c.Configs[0].Source, manifest.Source("C:25"))
	equal(t, "warnings", warnings(c.Warnings), "")
}

func TestSecretsAreSeen(t *testing.T) {
	c, err := Parse("C", bytes.NewReader(read(t, "traps/secrets.yaml")), Options{Masters: []string{"10.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a password may hold a dollar", c.Hosts[0].SSH.Password, Secret("literal$Pass#1#"))
	equal(t, "warnings", warnings(c.Warnings), `C:5: Config "configuration" holds a Secret in clear text; keep the Clusterfile as you keep a password
C:15: Config "app" holds a private key in base64; keep the Clusterfile as you keep a password
`)
}

func TestRefused(t *testing.T) {
	spec := func(s string) string { return "kind: Cluster\nspec:\n  masters: {ipList: [10.0.0.1]}\n" + s }
	host := func(s string) string {
		return "kind: Cluster\nspec:\n  hosts:\n  - ips: [10.0.0.1]\n    roles: [master]\n" + s
	}
	for _, tt := range []struct{ in, want string }{
		{"", "C:1: the file has no document of kind Cluster"},
		{"kind: Config\nspec: {path: a, data: b}", "C:1: the file has no document of kind Cluster"},
		{spec("") + "---\nkind: Cluster\n", "C:5: the file has a second document of kind Cluster; keep one"},
		{spec("") + "---\n- a\n", "C:5: the document must be a mapping with a kind, not a list"},
		{spec("") + "---\njust words\n", "C:5: the document must be a mapping with a kind, not a text"},
		{spec("---\na: b: c\n"), "C:5: the document is not YAML: mapping values are not allowed"},
		{spec("---\na:\n- b\nc\n"), "C:7: the document is not YAML: "},
		{spec("  image: @x\n"), "C:4: the document is not YAML: found character that cannot start any token; put the value in quotes, and indent with blanks, not tabs"},
		{spec("  image: \xd6\xd0\n"), "C:4: the line is not UTF-8 text; save the file as UTF-8"},
		{spec("  image: [a]\n"), "C:4: spec.image must be a text, not a list"},
		{spec("  image: a\n  image: b\n"), `C:5: spec of the Cluster has the field "image" twice`},
		{spec("  ? [a]\n  : b\n"), "has a list for a name"},
		{spec("  <<: [a]\n"), "merges a text, which must be a mapping"},
		{spec("  hosts: []\n"), "C:4: the Cluster has both hosts and masters or nodes; use hosts alone"},
		{spec("  nodes: {ipList: [10.0.0.1]}\n"), "C:4: the host 10.0.0.1 is there already, from C:3"},
		{spec("  nodes: {ipList: [10.0.0.300]}\n"), `C:4: "10.0.0.300" is no IP address`},
		{spec("  nodes: {ipList: {a: b}}\n"), "spec.nodes.ipList must be a list, not a mapping"},
		{spec("  nodes: {ipList: [[a]]}\n"), "must be a text, not a list"},
		{spec("  provider: ALI_CLOUD\n"), "machines are not made here"},
		{spec("  ssh: {port: 70000}\n"), `C:4: spec.ssh.port is "70000", which is no port`},
		{spec("  ssh: {user: 'a b'}\n"), "which is no user's name"},
		{spec("  ssh: x\n"), "spec.ssh must be a mapping, not a text"},
		{spec("  network: {podCIDR: 10.0.0.0}\n"), `C:4: podCIDR is "10.0.0.0", which is no network; write it like 10.96.0.0/16`},
		{spec("  network: {svcCIDR: '10.0.0.0/8,11.0.0.0/8'}\n"), "svcCIDR has more than one network of an IP family"},
		{spec("  env: [SvcCIDR=x]\n"), `C:4: SvcCIDR is "x", which is no network`},
		{spec("  env: [A]\n"), `C:4: the variable "A" has no value`},
		{spec("  env: [\"A=\\0\"]\n"), "holds a NUL"},
		{spec("  certSANS: ['a b']\n"), `C:4: "a b" is neither a host name nor an address`},
		{spec("  dataRoot: ../x\n"), "must be an absolute path"},
		{spec("  dataRoot: /a/../x\n"), "must be an absolute path"},
		{spec("  dataRoot: /a;b\n"), "must be an absolute path"},
		{spec("  containerRuntime: {type: cri-o}\n"), "must be docker or containerd"},
		{spec("  registry: {localRegistry: {domain: 'a:5000'}}\n"), "which is no host name; a port has its own field"},
		{spec("  registry: {localRegistry: {ha: maybe}}\n"), "must be true or false"},
		{spec("  registry: {externalRegistry: {port: 1}}\n"), "externalRegistry needs a domain"},
		{spec("  hostAliases: [{ip: x, hostnames: [a]}]\n"), `has "x" for an address`},
		{spec("  hostAliases: [{ip: 10.0.0.1}]\n"), "has no names for 10.0.0.1"},
		{spec("  hostAliases: [{ip: 10.0.0.1, hostnames: [\"a\\nb\"]}]\n"), "for a host name"},
		{spec("  hostAliases: x\n"), "spec.hostAliases must be a list, not a text"},
		{"kind: Cluster\nmetadata: {name: ../x}\nspec: {masters: {ipList: [10.0.0.1]}}", "it becomes a folder's name"},
		{"kind: Cluster\nspec: {hosts: [{roles: [master]}]}", "C:2: the entry of spec.hosts has no ips"},
		{"kind: Cluster\nspec: {hosts: [{ips: [10.0.0.1]}]}", "C:2: the entry of spec.hosts has no roles; say roles: [master] or [node]"},
		{"kind: Cluster\nspec: {nodes: {ipList: [10.0.0.1]}}", "C:2: the cluster has no master"},
		{"kind: Cluster\nspec: {hosts: [{ips: [10.0.0.1], roles: ['a b']}]}", `"a b" cannot be a role`},
		{host("    labels: {'a b': c}\n"), `"a b=c" cannot be a label`},
		{host("    taints: ['a=b']\n"), `"a=b" cannot be a taint; write key=value:NoSchedule`},
		{host("    taints: ['a=b:Never']\n"), "cannot be a taint"},
		{host("    taints: [':NoSchedule']\n"), "cannot be a taint"},
		{host("  - {ips: ['fd00::1'], roles: [node]}\n"), "of another IP family"},
		{host("---\nkind: JoinConfiguration\n---\nkind: JoinConfiguration\n"), "C:9: the file has a second document of kind JoinConfiguration, after C:7; keep one"},
		{host("---\nkind: Application\n---\nkind: Application\n"), "second document of kind Application"},
		{host("---\napiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nnetworking: {serviceSubnet: x}\n"), `serviceSubnet is "x", which is no network`},
	} {
		_, err := Parse("C", strings.NewReader(tt.in), Options{})
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.in, err, tt.want)
		}
		var p *Problem
		if !errors.As(err, &p) || p.Source == "" {
			t.Errorf("%q: no line in %v", tt.in, err)
		}
	}
}

// TestBounds: no file keeps us busy or fills the memory.
func TestBounds(t *testing.T) {
	bomb := "kind: Cluster\nx0: &x0 [a,a,a,a,a,a,a,a,a,a]\n"
	for i := range 9 {
		n := string(rune('0' + i))
		m := string(rune('1' + i))
		bomb += "x" + m + ": &x" + m + " [" + strings.Repeat("*x"+n+",", 9) + "*x" + n + "]\n"
	}
	hosts := "kind: Cluster\nspec:\n  env: &e [" + strings.Repeat("A=1,", 3000) + "]\n  hosts:\n" + strings.Repeat("  - {ips: [10.0.0.1], roles: [master], env: *e}\n", 3000)
	for _, tt := range []struct{ in, want string }{
		{strings.Repeat("#", maxFileBytes+1), "the file is larger than 16 MiB"},
		{strings.Repeat("---\na: b\n", maxDocuments+1), "the file holds more than 1000 documents"},
		{bomb + "spec: {env: *x9}", ""},
		{hosts, "the aliases of the document multiply without end"},
		{"kind: Cluster\nspec: &s\n  <<: *s\n", ""},
		{"kind: Cluster\nspec:\n  masters: {ipList: &l [*l]}\n", ""},
		{"kind: Cluster\nspec: " + strings.Repeat("{a: ", 20000), ""},
		{"kind: Cluster\nspec:\n" + strings.Repeat("  a: 1\n", 100), "and 49 more of this kind"},
	} {
		_, err := Parse("C", strings.NewReader(tt.in), Options{})
		if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.60q:\n got %.300v\nwant %s", tt.in, err, tt.want)
		}
	}
}
