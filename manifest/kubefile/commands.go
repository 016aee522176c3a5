package kubefile

import "bundle/manifest/step"

// Command is one shell line of the install. See [step.Command].
type Command = step.Command

// Commands gives the shell lines that the install runs, in order, without
// those of the base (see [File.InheritsCommands]).
//
// An application that LAUNCH names and that has no APPCMDS gives a Command
// with App set and no Text: what launches it depends on its files, which
// [LaunchLine] turns into the text. The application may be one of the base.
func (f *File) Commands() []Command {
	launch := map[string]AppCmds{}
	var out []Command
	for _, in := range f.Instructions {
		switch in := in.(type) {
		case AppCmds:
			launch[in.App] = in
		case Cmd:
			for _, c := range in.Commands {
				out = append(out, Command{Text: c, Source: in.Source})
			}
		case Cmds:
			for _, c := range in.Commands {
				out = append(out, Command{Text: c, Source: in.Source})
			}
		case Launch:
			for _, app := range in.Apps {
				if own, ok := launch[app]; ok {
					out = append(out, Command{Text: own.Command, Source: own.Source, App: app, Dir: AppDir(app)})
				} else {
					out = append(out, Command{Source: in.Source, App: app})
				}
			}
		}
	}
	return out
}
