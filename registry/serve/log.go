package serve

import (
	"context"
	"io"
	"log/slog"
	"reflect"
	"strings"

	"github.com/sirupsen/logrus"
)

// distributionContext is the import path of the package whose loggerKey the
// distribution project looks its logger up with.
const distributionContext = "github.com/distribution/distribution/v3/internal/dcontext"

// logContext gives the distribution project our logger. Its own way of setting
// one is either internal or for the whole process; answering the look-up in
// the context leaves the process's logger alone.
type logContext struct {
	context.Context
	entry *logrus.Entry
}

// Value answers for the logger and passes everything else on.
func (c logContext) Value(key any) any {
	if t := reflect.TypeOf(key); t != nil && t.Name() == "loggerKey" && t.PkgPath() == distributionContext {
		return c.entry
	}
	return c.Context.Value(key)
}

// newLogEntry makes a logrus logger that writes nothing and hands what it is
// told to l.
func newLogEntry(l *slog.Logger) *logrus.Entry {
	lr := logrus.New()
	lr.Out = io.Discard
	lr.Formatter = noFormat{}
	lr.ExitFunc = func(int) {}
	lr.Level = logrus.WarnLevel
	if l.Enabled(context.Background(), slog.LevelDebug) {
		lr.Level = logrus.DebugLevel
	}
	lr.AddHook(logHook{l})
	return logrus.NewEntry(lr)
}

type noFormat struct{}

func (noFormat) Format(*logrus.Entry) ([]byte, error) { return nil, nil }

type logHook struct{ l *slog.Logger }

func (logHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire passes an entry on. What the distribution project says of single
// requests is for debugging: the server's own line per request has it. So is
// its warning about sparse indexes, which we ask for.
func (h logHook) Fire(e *logrus.Entry) error {
	level := slog.LevelDebug
	switch {
	case strings.HasPrefix(e.Message, "response completed"), strings.HasPrefix(e.Message, "error authorizing"),
		strings.HasPrefix(e.Message, "Image index completeness"):
	case e.Level <= logrus.ErrorLevel:
		level = slog.LevelError
	case e.Level == logrus.WarnLevel:
		level = slog.LevelWarn
	}
	if !h.l.Enabled(context.Background(), level) {
		return nil
	}
	attrs := make([]slog.Attr, 0, len(e.Data)+1)
	attrs = append(attrs, slog.String("component", "distribution"))
	for k, v := range e.Data {
		attrs = append(attrs, slog.Any(k, v))
	}
	h.l.LogAttrs(context.Background(), level, e.Message, attrs...)
	return nil
}
