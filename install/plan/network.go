package plan

import (
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// downloads finds what fetches from elsewhere in text that is no valid shell.
var downloads = regexp.MustCompile(`(?:^|[;&|(\s])(?:(?:yum|dnf|apt|apt-get|zypper|apk|pip3?)\s[^;&|]*\b(?:install|update|upgrade|add|makecache)\b|(?:curl|wget)\s|git\s+clone\b|(?:docker|nerdctl|crictl|podman)\s+pull\b|helm\s+(?:pull|fetch|repo\s+add)\b)`)

// installers fetch what their arguments name, for these words.
var installers = map[string][]string{
	"yum": {"install", "update", "upgrade", "makecache", "reinstall"},
	"dnf": {"install", "update", "upgrade", "makecache", "reinstall"},
	"apt": {"install", "update", "upgrade"}, "apt-get": {"install", "update", "upgrade"},
	"zypper": {"install", "in", "update", "up", "refresh"}, "apk": {"add", "update", "upgrade"},
	"pip": {"install", "download"}, "pip3": {"install", "download"},
	"git":    {"clone", "fetch", "pull"},
	"docker": {"pull"}, "nerdctl": {"pull"}, "podman": {"pull"}, "crictl": {"pull"}, "ctr": {"pull"},
	"helm": {"pull", "fetch", "repo"},
}

// found is a command that needs the network, and the line of the script, from
// 1, that it begins on.
type found struct {
	command string
	line    int
}

// needsNetwork finds the commands of a script that would fetch from outside
// the cluster. It may miss some, which then fail when they run.
func needsNetwork(script string, local map[string]bool) []found {
	f, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	if err != nil {
		return needsNetworkText(script)
	}
	var out []found
	syntax.Walk(f, func(n syntax.Node) bool {
		c, ok := n.(*syntax.CallExpr)
		if !ok {
			return true
		}
		words := make([]string, 0, len(c.Args))
		for _, a := range c.Args {
			words = append(words, wordText(a, script))
		}
		for len(words) > 0 && (words[0] == "sudo" || words[0] == "time" || words[0] == "nohup") {
			words = words[1:]
		}
		if len(words) > 0 && fetches(path.Base(words[0]), words[1:], local) {
			out = append(out, found{strings.Join(words, " "), int(c.Pos().Line())})
		}
		return true
	})
	return out
}

// wordText gives a word without quotes where it is a plain one, else as it
// stands.
func wordText(w *syntax.Word, script string) string {
	if s := w.Lit(); s != "" {
		return s
	}
	from, to := int(w.Pos().Offset()), int(w.End().Offset())
	if from < 0 || to > len(script) || from > to {
		return ""
	}
	return strings.Trim(script[from:to], `"'`)
}

func fetches(name string, args []string, local map[string]bool) bool {
	if name == "curl" || name == "wget" {
		return fetchesURL(args, local)
	}
	var rest []string
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			rest = append(rest, a)
		}
	}
	for i, a := range rest {
		if !contains(installers[name], a) {
			continue
		}
		// Packages that lie on the host need no network.
		files := rest[i+1:]
		for _, f := range files {
			if !strings.ContainsAny(f, "/*") || strings.Contains(f, "://") {
				return !pulledFrom(f, local)
			}
		}
		return len(files) == 0
	}
	return false
}

func fetchesURL(args []string, local map[string]bool) bool {
	urls := 0
	for _, a := range args {
		if strings.HasPrefix(a, "-") || !strings.ContainsAny(a, ".:/$") {
			continue
		}
		if !strings.Contains(a, "://") {
			a = "http://" + a
		}
		u, err := url.Parse(a)
		if err != nil || strings.ContainsAny(u.Host, "$`{") || u.Host == "" {
			continue // known only on the host; it may well be near
		}
		if !near(u.Hostname(), local) {
			urls++
		}
	}
	return urls > 0
}

// pulledFrom tells whether an image comes from a registry on site.
func pulledFrom(ref string, local map[string]bool) bool {
	host, _, ok := strings.Cut(ref, "/")
	if !ok {
		return false
	}
	host, _, _ = strings.Cut(host, ":")
	return near(host, local)
}

// near tells whether a host is part of the cluster.
func near(host string, local map[string]bool) bool {
	if host == "localhost" || local[host] || strings.HasSuffix(host, ".cluster.local") || strings.HasSuffix(host, ".svc") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(ip))
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func needsNetworkText(script string) []found {
	var out []found
	for i, line := range strings.Split(script, "\n") {
		if t := strings.TrimSpace(line); t != "" && t[0] != '#' && downloads.MatchString(t) {
			out = append(out, found{t, i + 1})
		}
	}
	return out
}
