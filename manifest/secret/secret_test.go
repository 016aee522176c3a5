package secret

import (
	"encoding/base64"
	"strings"
	"testing"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu\n-----END RSA PRIVATE KEY-----\n"

func TestSecretsAreFoundAndNotTold(t *testing.T) {
	const value = "Tr0ub4dor-3"
	for _, c := range []struct {
		name, text string
		line       string
		kind       Kind
		object     string
		encoded    bool
	}{
		{"key", "a: b\n" + pem, "f:2", PrivateKey, "", false},
		{"key of openssh", "-----BEGIN OPENSSH PRIVATE KEY-----", "f:1", PrivateKey, "", false},
		{"key, encrypted", "x\n-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "f:2", PrivateKey, "", false},
		{"key of pgp", "-----BEGIN PGP PRIVATE KEY BLOCK-----", "f:1", PrivateKey, "", false},
		{"key in base64", "data:\n  tls.key: " + b64(pem), "f:2", PrivateKey, "", true},
		{"key in base64 in base64", "x: " + b64("y: "+b64(pem)), "f:1", PrivateKey, "", true},
		{"clusterfile", "spec:\n  ssh:\n    passwd: " + value + "\n", "f:3", Password, "passwd", false},
		{"config", "kind: Config\nspec:\n  data: |\n    global:\n      dbPassword: '" + value + "'\n", "f:5", Password, "dbPassword", false},
		{"secret", "kind: Secret\ndata:\n  password: " + b64(value), "f:3", Password, "password", true},
		{"stringData", "kind: Secret\nstringData:\n  password: \"" + value + "\"", "f:3", Password, "password", false},
		{"config in base64", "data: " + b64("mysql:\n  root_password: "+value+"\n"), "f:1", Password, "root_password", true},
		{"json", `{"user": "x", "password": "` + value + `"}`, "f:1", Password, "password", false},
		{"shell", "export MYSQL_ROOT_PASSWORD=" + value, "f:1", Password, "MYSQL_ROOT_PASSWORD", false},
		{"helm", "helm install x --set auth.password=" + value, "f:1", Password, "password", false},
		{"access key", "accessKeySecret: " + value, "f:1", Password, "accessKeySecret", false},
		{"aws", "id: AKIAIOSFODNN7EXAMPLE", "f:1", Token, "", false},
		{"address", "url: postgres://app:" + value + "@db:5432/x", "f:1", Credentials, "", false},
		{"docker", `{"auths":{"r":{"auth":"` + b64("me:"+value) + `"}}}`, "f:1", Credentials, "auth", false},
		{"docker in a secret", "kind: Secret\ndata:\n  .dockerconfigjson: " + b64(`{"auths":{"r":{"auth":"`+b64("me:"+value)+`"}}}`), "f:3", Credentials, "auth", true},
		{"windows", "a: b\r\npassword: " + value + "\r\n", "f:2", Password, "password", false},
	} {
		got := Find("f", []byte(c.text))
		if len(got) == 0 {
			t.Errorf("%s: nothing is found", c.name)
			continue
		}
		g := got[0]
		if string(g.Source) != c.line || g.Kind != c.kind || g.Object != c.object || g.Encoded != c.encoded {
			t.Errorf("%s: found %+v", c.name, g)
		}
		for _, g := range got {
			if s := g.String(); strings.Contains(s, value) || strings.Contains(s, b64(value)) || strings.Contains(s, "MIIB") {
				t.Errorf("%s: it tells the secret: %s", c.name, s)
			}
		}
	}
}

// A warning that is wrong teaches people to read none.
func TestPlaceholdersAreNoSecrets(t *testing.T) {
	for _, text := range []string{
		"password: {{ .Values.password }}", `password: "{{ .Values.auth.password | quote }}"`, "password: ${DB_PASSWORD}", "password: $DB_PASSWORD", "password=$(cat f)",
		"password:", `password: ""`, "password: null", "password: changeme", "password: CHANGEME", "password: <your password>", "password: xxxxxx", "passwd: '***'",
		"passwordSecretRef: db", "existingSecret: db-credentials", "passwordKey: pw", "secretName: tls", "kind: Secret", "password: /run/secrets/db", "secret: {}", "tokens: 4000",
		"password: &pw", "password: true", "# the password: what you say", "if password == nil {", "postgres://app:$PW@db/x", "postgres://app:{{ .Values.pw }}@db/x", "postgres://db:5432/x",
		"-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----", "digest: sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"automountServiceAccountToken: false", "kind: Secret\ndata:\n  password: " + b64("{{ .Values.x }}"), "tokenExpiry: 24h", "token: \"\"", "password: required \"say one\"",
	} {
		if got := Find("f", []byte(text)); len(got) > 0 {
			t.Errorf("%q: found %v", text, got)
		}
	}
}

func TestBoundsOfFinding(t *testing.T) {
	if got := Find("f", []byte("\x7fELF\x00\x00password: Tr0ub4dor-3")); got != nil {
		t.Errorf("a program has %v", got)
	}
	if got := Find("f", make([]byte, MaxFile+1)); got != nil {
		t.Error("a large file was read")
	}
	many := strings.Repeat("password: Tr0ub4dor-3\n", 5000)
	if n := len(Find("f", []byte(many))); n != maxFindings {
		t.Errorf("%d findings", n)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte("passwd: Tr0ub4dor-3\n" + pem))
	f.Add([]byte("kind: Secret\ndata:\n  password: " + b64("Tr0ub4dor-3")))
	f.Add([]byte("x: " + b64("y: "+b64(pem))))
	f.Add([]byte(`{"auths":{"r":{"auth":"` + b64("me:pw") + `"}}}`))
	f.Add([]byte("url: postgres://app:pw@db\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list := Find("f", data)
		if len(list) > maxFindings {
			t.Fatalf("%d findings", len(list))
		}
		for _, g := range list {
			if g.Kind == "" || !strings.HasPrefix(string(g.Source), "f:") {
				t.Fatalf("found %+v", g)
			}
		}
	})
}
