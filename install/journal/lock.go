package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// holder is what the lock file says of the process that has it.
type holder struct {
	PID  int       `json:"pid"`
	User string    `json:"user,omitempty"`
	Host string    `json:"host,omitempty"`
	Time time.Time `json:"time"`
}

// lock takes the lock of a journal's folder. The system lets go of it when
// the process ends, however it ends.
func lock(dir string, h holder) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	ok, err := flock(f)
	if err == nil && !ok {
		err = busy(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	data, err := json.Marshal(h)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(data, '\n'), 0)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func busy(f *os.File) error {
	e := &failure{
		text: "another run works on this cluster",
		hint: "wait until it is done, or end that process",
		kind: ErrBusy,
	}
	var h holder
	data, _ := io.ReadAll(io.NewSectionReader(f, 0, 4096))
	if json.Unmarshal(data, &h) == nil && h.PID > 0 {
		e.text = fmt.Sprintf("process %d works on this cluster since %s", h.PID, h.Time.Local().Format(time.DateTime))
		if h.User != "" {
			e.text += ", started by " + h.User
		}
	}
	return e
}

// Busy tells whether a process works on the journal in dir.
func Busy(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	ok, err := flock(f)
	return err == nil && !ok
}
