package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"bundle/install/host"
	"bundle/manifest/cluster"
	"bundle/manifest/kubeadm"
)

// ticket is a token to join with, for as long as it is good.
type ticket struct {
	kubeadm.Ticket
	until time.Time
}

// issueScript makes the token and the key of a configuration valid. Both
// commands print them, which nobody must see.
const issueScript = `
trap 'rm -f "$CONFIG.issue"' EXIT
kubeadm token create --config "$CONFIG.issue" --kubeconfig "$ROOT/etc/kubernetes/admin.conf" </dev/null >/dev/null
if [ -n "$CONTROL" ]; then
	kubeadm init phase upload-certs --upload-certs --config "$CONFIG.issue" </dev/null >/dev/null
fi
`

// ticketFor gives a ticket, a fresh one if there is none that lasts.
func (n *Nodes) ticketFor(ctx context.Context, master0 host.Host, control bool) (kubeadm.Ticket, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.tickets[control]; t != nil && time.Now().Before(t.until) {
		return t.Ticket, nil
	}
	hash, err := n.caHash(ctx, master0)
	if err != nil {
		return kubeadm.Ticket{}, err
	}
	t := kubeadm.Ticket{CAHash: hash, Token: randomToken()}
	if control {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		t.CertKey = cluster.Secret(hex.EncodeToString(key))
	}
	if n.o.Redactor != nil {
		n.o.Redactor.Add(t.Token, t.CertKey)
	}
	f, err := n.facts(ctx, master0)
	if err != nil {
		return kubeadm.Ticket{}, err
	}
	c, err := kubeadm.Issue(n.o.Input, f.Host, t, n.o.TicketTTL.String())
	if err != nil {
		return kubeadm.Ticket{}, fail(master0, nil, err, "", "%v", err)
	}
	if err := master0.WriteFile(ctx, n.at(configPath)+".issue", 0o600, c.Text); err != nil {
		return kubeadm.Ticket{}, err
	}
	flag := ""
	if control {
		flag = "yes"
	}
	out, err := n.run(ctx, master0, "make a token to join", issueScript, n.env("CONTROL", flag), nil)
	if ctx.Err() != nil {
		return kubeadm.Ticket{}, context.Cause(ctx)
	}
	if err != nil {
		return kubeadm.Ticket{}, n.explain(ctx, master0, "making a token to join", out, err)
	}
	// A join takes minutes at most.
	n.tickets[control] = &ticket{t, time.Now().Add(n.o.TicketTTL / 2)}
	return t, nil
}

// caHash is the digest by which those who join know the cluster.
func (n *Nodes) caHash(ctx context.Context, master0 host.Host) (string, error) {
	raw, err := master0.ReadFile(ctx, n.at(caCert), 1<<20)
	if err != nil {
		return "", err
	}
	hash, err := hashOfCA(raw)
	if err != nil {
		return "", fail(master0, ErrKubeadm, err, "", "%s cannot be used: %v", n.at(caCert), err)
	}
	return hash, nil
}

func hashOfCA(raw []byte) (string, error) {
	block, _ := pem.Decode(raw)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", errors.New("it holds no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", errors.New("its certificate is malformed")
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(cert.RawSubjectPublicKeyInfo)), nil
}

// randomToken is a bootstrap token: [a-z0-9]{6}.[a-z0-9]{16}.
func randomToken() cluster.Secret {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	out := make([]byte, 0, 23)
	for len(out) < 23 {
		if len(out) == 6 {
			out = append(out, '.')
			continue
		}
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails
		if int(b[0]) < 256/len(letters)*len(letters) {
			out = append(out, letters[int(b[0])%len(letters)])
		}
	}
	return cluster.Secret(out)
}
