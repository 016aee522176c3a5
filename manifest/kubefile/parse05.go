package kubefile

import (
	"encoding/json"
	"regexp"
	"strings"

	"bundle/manifest"
)

// parse05 reads the dialect of sealer 0.5 and 0.6.
func parse05(f *File, lines []string, rep *report) {
	stmts := lex05(lines)
	if len(stmts) == 0 {
		rep.bad(manifest.Source(f.Name), "begin with FROM", "the file has no instruction")
		return
	}
	for i, s := range stmts {
		src := rep.at(s.line)
		pos := Pos{Source: src, Raw: s.raw}
		switch {
		case i == 0 && s.keyword != "FROM":
			rep.bad(src, "write FROM and a base, or FROM scratch", "the first instruction is %.20q, not FROM", s.keyword)
		case i > 0 && s.keyword == "FROM":
			rep.bad(src, "a cluster image has one base", "FROM is used twice")
			continue
		}
		if !known05(s, src, rep) {
			continue
		}
		if strings.HasSuffix(s.rest, `\`) {
			rep.bad(src, "write the instruction on one line", "sealer 0.5 has no line continuation")
			continue
		}
		switch s.keyword {
		case "FROM":
			from05(f, s, pos, rep)
		case "COPY":
			copy05(f, s, pos, rep)
		case "RUN":
			f.Instructions = append(f.Instructions, Run{pos, s.rest})
		case "CMD":
			if in, ok := cmd(s, pos, rep); ok {
				f.Instructions = append(f.Instructions, in)
			}
		}
	}
}

// known05 refuses what is no instruction of sealer 0.5 and says why.
func known05(s statement, src manifest.Source, rep *report) bool {
	upper := strings.ToUpper(s.keyword)
	in05 := upper == "FROM" || upper == "COPY" || upper == "RUN" || upper == "CMD"
	switch {
	case in05 && s.keyword != upper:
		rep.bad(src, "write "+upper, "sealer 0.5 knows instructions in upper case only, not %q", s.keyword)
	case in05 && s.rest == "":
		rep.bad(src, "", "%s has no value", upper)
	case in05 && s.tab:
		rep.bad(src, "put a plain blank after "+upper, "sealer 0.5 takes no tab after an instruction")
	case in05:
		return true
	case only09[upper]:
		rep.bad(src, "use --dialect 0.9 if the file is for sealer 0.9 or later", "%s is not an instruction of sealer 0.5", upper)
	case upper == "ARG":
		rep.bad(src, "write the value where it is used", "ARG is not an instruction of sealer 0.5")
	default:
		rep.bad(src, "sealer 0.5 has FROM, COPY, RUN and CMD", "%.40q is not an instruction", s.keyword)
	}
	return false
}

func from05(f *File, s statement, pos Pos, rep *report) {
	w := strings.Fields(s.rest)
	if len(w) > 1 {
		hint := ""
		if strings.HasPrefix(w[1], "#") {
			hint = "sealer 0.5 makes a comment here part of the name: put it on a line of its own"
		}
		rep.bad(pos.Source, hint, "FROM takes one name, and %q follows it", strings.Join(w[1:], " "))
		return
	}
	setBase(f, w[0], "", pos, rep)
}

// setBase records FROM. A base that holds variables is checked by Resolve.
func setBase(f *File, image, platform string, pos Pos, rep *report) {
	if image != Scratch && !strings.Contains(image, "$") {
		if _, err := manifest.ParseReference(image); err != nil {
			rep.bad(pos.Source, "", "FROM: %v", err)
			return
		}
	}
	f.Base, f.BaseSource, f.BasePlatform = image, pos.Source, platform
	f.Instructions = append(f.Instructions, From{pos, image, platform})
}

func copy05(f *File, s statement, pos Pos, rep *report) {
	w := strings.Fields(s.rest)
	switch {
	case len(w) < 2:
		rep.bad(pos.Source, "write COPY source destination", "COPY has no destination")
		return
	case len(w) > 2 && strings.HasPrefix(w[2], "#"):
		rep.warn(pos.Source, "%q is taken for a comment, as sealer 0.5 ignores it", strings.Join(w[2:], " "))
	case len(w) > 2:
		rep.bad(pos.Source, "write one COPY for each source", "COPY takes one source and one destination; sealer 0.5 would silently ignore %q", strings.Join(w[2:], " "))
		return
	}
	if strings.HasPrefix(w[0], "--") {
		rep.bad(pos.Source, "", "sealer 0.5 has no flags for COPY, and %q is one", w[0])
		return
	}
	if strings.ContainsAny(w[0]+w[1], "\"'") {
		rep.bad(pos.Source, "rename the file so that it needs no quotes", "sealer 0.5 makes the quotes of COPY part of the name")
		return
	}
	if baseOf(w[0]) == ".." {
		rep.bad(pos.Source, "name the folder", "the source %q ends in .., so its copy would land outside the destination", w[0])
		return
	}
	if !goodDst(w[1], pos, rep) {
		return
	}
	f.Instructions = append(f.Instructions, Copy{pos, w[0], w[1]})
}

// goodDst refuses a destination outside the root file system.
func goodDst(dst string, pos Pos, rep *report) bool {
	if hasParent(dst) {
		rep.bad(pos.Source, "write the destination without ..", "the destination %q may lie outside the root file system", dst)
		return false
	}
	return true
}

// commaCommand finds a comma that begins a new command, as sealer 0.7 and 0.8
// took every comma in CMD to do.
var commaCommand = regexp.MustCompile(`,\s*(helm|kubectl|bash|sh|cd|echo|sleep|docker|crictl|\./\S+)\s+\S`)

// heredoc finds the beginning of a here-document.
var heredoc = regexp.MustCompile(`(^|[^<])<<-?\s*(["'\\]?[A-Za-z_]\w*)`)

// cmd reads CMD, which is the same in both dialects: the rest of the line is a
// line of shell, unless it is a JSON list.
func cmd(s statement, pos Pos, rep *report) (Cmd, bool) {
	if s.rest == "" {
		rep.bad(pos.Source, "", "CMD has no value")
		return Cmd{}, false
	}
	var items []string
	if strings.HasPrefix(s.rest, "[") && json.Unmarshal([]byte(s.rest), &items) == nil {
		if len(items) == 0 {
			rep.bad(pos.Source, "", "CMD has an empty list")
			return Cmd{}, false
		}
		for _, item := range items {
			if len(items) > 1 && !strings.ContainsAny(strings.TrimSpace(item), " \t") {
				rep.bad(pos.Source, "write one CMD for each line", "it cannot be told whether this list has one shell line each or the words of a single command")
				return Cmd{}, false
			}
		}
		rep.warn(pos.Source, "the JSON list is taken for %s, one after the other; sealer itself would run the brackets as shell", plural(len(items), "shell line"))
	} else {
		items = []string{s.rest}
	}
	for i, item := range items {
		items[i] = strings.TrimSpace(item)
		if !goodCommand(items[i], "CMD", pos, rep) {
			return Cmd{}, false
		}
	}
	return Cmd{pos, items}, true
}

// goodCommand refuses shell lines that the dialects read differently.
func goodCommand(line, instr string, pos Pos, rep *report) bool {
	switch {
	case line == "":
		rep.bad(pos.Source, "", "%s has an empty command", instr)
		return false
	case heredoc.MatchString(line):
		rep.bad(pos.Source, "put the text into a file and COPY it", "a here-document needs lines of its own, which %s does not have", instr)
		return false
	case instr == "CMD" && commaCommand.MatchString(line):
		rep.bad(pos.Source, "write one CMD for each command, or quote the comma", "sealer 0.7 and 0.8 split this at the comma into several commands, 0.5 and 0.9 do not")
		return false
	}
	return true
}
