package step

import (
	"path"
	"regexp"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// dangerText finds what removes data in text that is not parsed: arguments of
// ssh, bash -c and the like, and lines that are no valid shell.
var dangerText = regexp.MustCompile(`(?:^|[^\w.-])(?:` + strings.Join([]string{
	`rm\s+(?:-\S+\s+)*(?:-\w*[rR]|--recursive)`,
	`(?:vg|lv|pv)remove\b`,
	`mkfs(?:\.\w+)?\b`, `mke2fs\b`, `wipefs\b`, `shred\b`, `blkdiscard\b`,
	`dd\s[^|;&]*\bof=`,
	`kubeadm\s[^|;&]*\breset\b`, `kubeadm\s+reset\b`,
	`helm\s[^|;&]*\b(?:uninstall|delete|del|un)\b`,
	`kubectl\s[^|;&]*\bdelete\b`,
	`find\s[^|;&]*\s-delete\b`,
}, "|") + `)`)

// wrappers run what their arguments say.
var wrappers = map[string]bool{
	"bash": true, "chroot": true, "command": true, "crictl": true, "docker": true, "env": true, "eval": true,
	"exec": true, "flock": true, "nerdctl": true, "nice": true, "nohup": true, "nsenter": true, "parallel": true,
	"setsid": true, "sh": true, "ssh": true, "su": true, "sudo": true, "time": true, "timeout": true,
	"trap": true, "watch": true, "xargs": true,
}

// Dangerous tells whether a shell line removes data that a second run could
// not bring back: files by the tree, volumes, file systems, a cluster,
// releases or objects. It looks at every command in the line, and at the text
// of those that run other commands. It errs on the side of asking.
func Dangerous(line string) bool {
	f, err := parse(line)
	if err != nil {
		return dangerText.MatchString(line)
	}
	found := false
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CallExpr:
			found = found || dangerousCall(n, line)
		case *syntax.Redirect:
			// The body of a here-document may be a script.
			if n.Hdoc != nil {
				found = found || dangerText.MatchString(text(n.Hdoc, line))
			}
		}
		return !found
	})
	return found
}

// text gives what a node covers of the line.
func text(n syntax.Node, line string) string {
	from, to := int(n.Pos().Offset()), int(n.End().Offset())
	if from < 0 || to > len(line) || from > to {
		return line
	}
	return line[from:to]
}

func dangerousCall(c *syntax.CallExpr, line string) bool {
	if len(c.Args) == 0 {
		return false
	}
	var w []string
	for _, x := range c.Args {
		a, ok := literal(x)
		if !ok || a.host {
			w = append(w, text(x, line))
			continue
		}
		w = append(w, a.text)
	}
	name, args := path.Base(w[0]), w[1:]
	if wrappers[name] {
		return dangerText.MatchString(strings.Join(args, " "))
	}
	has := func(ok func(string) bool) bool {
		for _, a := range args {
			if ok(a) {
				return true
			}
		}
		return false
	}
	switch name {
	case "rm":
		return has(func(a string) bool {
			return a == "--recursive" || strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.ContainsAny(a, "rR")
		})
	case "vgremove", "lvremove", "pvremove", "mke2fs", "wipefs", "shred", "blkdiscard", "mkfs":
		return true
	case "dd":
		return has(func(a string) bool { return strings.HasPrefix(a, "of=") })
	case "kubeadm":
		return has(func(a string) bool { return a == "reset" })
	case "helm":
		return has(func(a string) bool { return a == "uninstall" || a == "delete" || a == "del" || a == "un" })
	case "kubectl":
		return has(func(a string) bool { return a == "delete" })
	case "find":
		return has(func(a string) bool { return a == "-delete" }) || dangerText.MatchString(strings.Join(args, " "))
	}
	return strings.HasPrefix(name, "mkfs.")
}

// Syntax tells whether a text is shell that bash can read. The error says
// what is wrong with it.
func Syntax(line string) error {
	_, err := parse(line)
	return err
}
