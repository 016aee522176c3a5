package host

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"time"

	"bundle/manifest/cluster"
)

// Defaults of [Options].
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultKeepAlive      = 10 * time.Second
	DefaultRetries        = 2
	DefaultGrace          = 2 * time.Second
	DefaultLinger         = 5 * time.Second
)

// Options says how hosts are reached. The zero value is usable.
type Options struct {
	// KnownHosts is the file of pinned host keys, in the format of OpenSSH.
	// Empty is bundle/known_hosts in the user's configuration folder.
	KnownHosts string
	// Strict refuses hosts whose key is not in KnownHosts. Otherwise the key
	// that a host shows first is pinned.
	Strict bool
	// OnNewHostKey is told of every key that was pinned. It may be called
	// from several goroutines at once.
	OnNewHostKey func(NewHostKey)
	// LogDir gets one NAME.log for each host; empty writes no logs.
	LogDir string
	// Redactor replaces secrets in logs and errors; nil starts an empty one.
	// The secrets of the hosts are added to it.
	Redactor *Redactor
	// ConnectTimeout bounds one try to connect and log in; 0 is
	// [DefaultConnectTimeout].
	ConnectTimeout time.Duration
	// KeepAlive is how often a silent connection is asked for a sign of life;
	// one that owes three answers is given up. 0 is [DefaultKeepAlive], less
	// than 0 never.
	KeepAlive time.Duration
	// Retries is how often a failed connect is repeated; 0 is
	// [DefaultRetries], less than 0 never. Refused logins and wrong host keys
	// are not repeated, scripts never.
	Retries int
	// Backoff gives the wait before retry number attempt, counted from 0; nil
	// doubles from one second.
	Backoff func(attempt int) time.Duration
	// OnRetry is told of every connect that will be repeated.
	OnRetry func(host string, attempt int, reason error)
	// Grace is how long a stopped script has between the signals TERM and
	// KILL; 0 is [DefaultGrace].
	Grace time.Duration
	// Linger is how long a script that ended is listened to in silence, if
	// something that it left in the background still holds its output; 0 is
	// [DefaultLinger].
	Linger time.Duration
	// Agent is the socket of the SSH agent; empty is SSH_AUTH_SOCK.
	Agent string
	// Home is the user's home, which default keys and ~ start from; empty is
	// that of the user who runs us.
	Home string
	// Remote makes [Set] go over SSH even to this machine.
	Remote bool
	// Dialer connects to hosts; nil is a [net.Dialer].
	Dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}
}

func (o Options) withDefaults() Options {
	if o.Home == "" {
		o.Home, _ = os.UserHomeDir()
	}
	if o.KnownHosts == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			dir = filepath.Join(o.Home, ".config")
		}
		o.KnownHosts = filepath.Join(dir, "bundle", "known_hosts")
	}
	if o.OnNewHostKey == nil {
		o.OnNewHostKey = func(NewHostKey) {}
	}
	if o.OnRetry == nil {
		o.OnRetry = func(string, int, error) {}
	}
	if o.Redactor == nil {
		o.Redactor = NewRedactor()
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.KeepAlive == 0 {
		o.KeepAlive = DefaultKeepAlive
	}
	if o.Retries == 0 {
		o.Retries = DefaultRetries
	}
	if o.Backoff == nil {
		o.Backoff = func(attempt int) time.Duration { return time.Second << min(attempt, 5) }
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Linger == 0 {
		o.Linger = DefaultLinger
	}
	if o.Agent == "" {
		o.Agent = os.Getenv("SSH_AUTH_SOCK")
	}
	if o.Dialer == nil {
		o.Dialer = &net.Dialer{}
	}
	return o
}

// Target is where a host is and who logs in.
type Target struct {
	// Name is what messages call the host; empty is Address.
	Name string
	// Address is an IP address or a name, without a port.
	Address string
	// Port is 22 if it is 0.
	Port int
	// User is root if it is empty. Another one becomes root by sudo.
	User string
	// Password logs in, and is sudo's too unless SudoPassword is set.
	Password cluster.Secret
	// KeyFile is a private key; KeyPassword opens it. Without Password and
	// KeyFile the SSH agent and the user's default keys are tried.
	KeyFile     string
	KeyPassword cluster.Secret
	// SudoPassword is what sudo asks for.
	SudoPassword cluster.Secret
}

func (t Target) withDefaults() Target {
	if t.Name == "" {
		t.Name = t.Address
	}
	if t.Port == 0 {
		t.Port = cluster.DefaultSSHPort
	}
	if t.User == "" {
		t.User = cluster.DefaultUser
	}
	if t.SudoPassword == "" {
		t.SudoPassword = t.Password
	}
	return t
}

// TargetOf is the target that a Clusterfile asks for.
func TargetOf(h cluster.Host) Target {
	return Target{
		Address:     h.Address,
		Port:        h.SSH.Port,
		User:        h.SSH.User,
		Password:    h.SSH.Password,
		KeyFile:     h.SSH.KeyFile,
		KeyPassword: h.SSH.KeyPassword,
	}
}
