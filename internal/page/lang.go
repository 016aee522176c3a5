package page

import (
	"fmt"
	"strconv"
	"strings"
)

// Lang is a language that pages are written in.
type Lang string

// The languages. English is the default.
const (
	English Lang = "en"
	Chinese Lang = "zh"
)

// Langs are all of them.
var Langs = []Lang{English, Chinese}

// ParseLang reads what a user typed.
func ParseLang(s string) (Lang, error) {
	for _, l := range Langs {
		if s == string(l) {
			return l, nil
		}
	}
	return "", fmt.Errorf("%q is not a language of the pages: zh or en", s)
}

// LocaleLang reads the variables of the environment in the order that POSIX
// gives them.
func LocaleLang(getenv func(string) string) Lang {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := getenv(name); v != "" {
			return tagLang(v)
		}
	}
	return English
}

// AcceptLang picks from the header Accept-Language of a browser.
func AcceptLang(header string) Lang {
	const maxHeader = 4 << 10
	best, lang := 0.0, English
	for part := range strings.SplitSeq(header[:min(len(header), maxHeader)], ",") {
		tag, params, _ := strings.Cut(part, ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				continue
			}
			q = n
		}
		tag = strings.ToLower(strings.TrimSpace(tag))
		if !strings.HasPrefix(tag, "en") && !strings.HasPrefix(tag, "zh") {
			continue
		}
		if q > best {
			best, lang = q, tagLang(tag)
		}
	}
	return lang
}

func tagLang(tag string) Lang {
	if strings.HasPrefix(strings.ToLower(tag), "zh") {
		return Chinese
	}
	return English
}

// Tag is the language as HTML names it.
func (l Lang) Tag() string {
	if l == Chinese {
		return "zh-CN"
	}
	return "en"
}
