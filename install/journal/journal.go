package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Options say how a journal is kept.
type Options struct {
	// User and Host name who works on it, for the lock.
	User, Host string
	// Redact takes secrets out of every free text; nil leaves them as they
	// are.
	Redact func(string) string
	// MirrorFailed is told once for each time that the mirror falls behind.
	MirrorFailed func(error)
	// Now is the clock; nil is the system's.
	Now func() time.Time

	disk disk
}

// Journal is an open journal. Its methods may be called at once.
type Journal struct {
	path string
	opts Options
	lock *os.File

	mu      sync.Mutex
	f       file
	data    []byte // what is on disk
	records []Record
	sum     string
	broken  error // why nothing more can be written
	wrote   bool  // by this process
	closed  bool

	mirror *follower
}

// Open opens the journal in the folder dir, making both where they are
// missing, and locks it. ErrBusy is wrapped where another process has it.
func Open(dir string, o Options) (*Journal, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.disk == nil {
		o.disk = osDisk{}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l, err := lock(dir, holder{PID: os.Getpid(), User: o.User, Host: o.Host, Time: o.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return nil, err
	}
	j := &Journal{path: filepath.Join(dir, FileName), opts: o, lock: l}
	if err := j.load(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return j, nil
}

// load reads what is there, cuts off a torn last line and opens the file.
func (j *Journal) load() error {
	d := j.opts.disk
	data, err := d.read(j.path, maxSize)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fresh := err != nil
	c, err := scan(j.path, data)
	if err != nil {
		return err
	}
	if j.f, err = d.open(j.path); err != nil {
		return err
	}
	if rest := data[c.good:]; len(rest) > 0 {
		err = j.cutOff(rest, c.good)
	}
	if fresh || err == nil && len(data) > c.good {
		dir := filepath.Dir(j.path)
		err = errors.Join(err, j.f.Sync(), d.syncDir(dir), d.syncDir(filepath.Dir(dir)))
	}
	if err != nil {
		return errors.Join(err, j.f.Close())
	}
	j.data, j.records, j.sum = slices.Clip(data[:c.good]), c.records, c.sum
	return nil
}

// cutOff keeps a torn last line aside and takes it out of the journal.
func (j *Journal) cutOff(rest []byte, good int) error {
	aside := fmt.Sprintf("%s.torn-%d-%s", j.path, good, sumOf(rest)[:12])
	if err := j.opts.disk.keep(aside, rest); err != nil {
		return err
	}
	return j.f.Truncate(int64(good))
}

// Append writes one record and returns when it is on disk. Where that fails
// the journal takes no more records, because nobody knows what a disk keeps
// of a failed write; the next Open finds out.
func (j *Journal) Append(r Record) error {
	_, err := j.Add(r)
	return err
}

// Add is [Journal.Append] that gives the record as it was written.
func (j *Journal) Add(r Record) (Record, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return r, err
	}
	r.Seq, r.Prev = int64(len(j.records)+1), j.sum
	if r.Time.IsZero() {
		r.Time = j.opts.Now()
	}
	r = r.clean(j.opts.Redact)
	if err := r.check(); err != nil {
		return r, err
	}
	line, sum, err := encode(r)
	if err != nil {
		return r, err
	}
	if err := j.write(append(line, '\n')); err != nil {
		return r, err
	}
	// What was written is what is kept: times lose their clock reading.
	if r, _, err = decode(line); err != nil {
		return r, err
	}
	j.records, j.sum, j.wrote = append(j.records, r), sum, true
	j.mirror.wake()
	return r, nil
}

// write puts whole lines at the end, on disk.
func (j *Journal) write(lines []byte) error {
	if len(j.data)+len(lines) > maxSize {
		return fmt.Errorf("the journal %s is full; move it away when the cluster is installed", j.path)
	}
	n, err := j.f.Write(lines)
	if err == nil && n < len(lines) {
		err = errors.New("the disk took only a part")
	}
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		j.broken = &failure{
			text: fmt.Sprintf("the journal %s cannot be written: %v", j.path, err),
			hint: "make room or mend the disk and run the same command again",
			kind: err,
		}
		// If this fails as well, the next Open cuts the line off.
		if j.f.Truncate(int64(len(j.data))) == nil {
			_ = j.f.Sync()
		}
		return j.broken
	}
	j.data = append(j.data, lines...)
	return nil
}

func (j *Journal) usable() error {
	if j.closed {
		return fs.ErrClosed
	}
	return j.broken
}

// Records gives all records, in order. The slice is the caller's, what its
// elements point to is not.
func (j *Journal) Records() []Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.records)
}

// State folds all records.
func (j *Journal) State() *State { return Fold(j.Records()) }

// Path is where the file lies.
func (j *Journal) Path() string { return j.path }

// Close gives the mirror a last chance until ctx ends and lets go of the
// lock.
func (j *Journal) Close(ctx context.Context) error {
	err := j.Flush(ctx)
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	f := j.mirror
	j.mu.Unlock()
	f.stop() // it may be about to look at the journal
	j.mu.Lock()
	defer j.mu.Unlock()
	return errors.Join(err, j.f.Close(), j.lock.Close())
}

// Read gives the records of the journal in dir without locking it. A last
// line that is being written is left out. fs.ErrNotExist is wrapped where
// there is no journal.
func Read(dir string) ([]Record, error) {
	path := filepath.Join(dir, FileName)
	data, err := osDisk{}.read(path, maxSize)
	if err != nil {
		return nil, err
	}
	c, err := scan(path, data)
	return c.records, err
}

// Parse reads the records of a journal that lies elsewhere, such as on the
// first master. name is what messages call it.
func Parse(name string, data []byte) ([]Record, error) {
	c, err := scan(name, data)
	return c.records, err
}

// snapshot gives what is on disk from an offset on, and the sum of what is
// before it.
func (j *Journal) snapshot(from int) (before string, rest []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return sumOf(j.data[:from]), bytes.Clone(j.data[from:])
}
