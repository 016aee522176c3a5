package archive

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
)

var (
	errCrash  = errors.New("the machine is down")
	errInject = fmt.Errorf("injected: %w", syscall.EIO)
)

// memFS is a file system that forgets like a real one: what was not synced
// may be lost, in any order, when the power goes. It can fail any one
// operation, or go down at it.
type memFS struct {
	mu      sync.Mutex
	names   map[string]*memInode // as the running system sees them
	durable map[string]*memInode // as they are on disk
	pending []func(map[string]*memInode)

	ops    int
	failAt int // the operation that fails once, counted from 1; 0 is none
	downAt int // the operation at which the machine goes down; 0 is none
	down   bool
	log    []string
	space  int64 // what free says; 0 means plenty
}

type memInode struct {
	data    []byte
	durable []byte
	pending []func([]byte) []byte
	locked  bool
}

func newMemFS() *memFS {
	return &memFS{names: map[string]*memInode{}, durable: map[string]*memInode{}}
}

// op counts one operation; a non-nil error is what it must return.
func (m *memFS) op(name string) error {
	if m.down {
		return errCrash
	}
	m.ops++
	m.log = append(m.log, name)
	switch m.ops {
	case m.downAt:
		m.down = true
		return errCrash
	case m.failAt:
		return errInject
	}
	return nil
}

// reboot brings the machine up again with what reached the disk: everything
// that was synced, and of the rest what rnd picks.
func (m *memFS) reboot(rnd *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Changes of names reach the disk in order, up to some point.
	for _, f := range m.pending[:rnd.IntN(len(m.pending)+1)] {
		f(m.durable)
	}
	m.pending = nil
	m.names = map[string]*memInode{}
	for name, n := range m.durable {
		for _, f := range n.pending {
			if rnd.IntN(2) == 0 {
				n.durable = f(n.durable)
			}
		}
		n.pending = nil
		n.data = slices.Clone(n.durable)
		n.locked = false
		m.names[name] = n
	}
	m.ops, m.failAt, m.downAt, m.down, m.log = 0, 0, 0, false, nil
}

// restart ends the process but not the machine: nothing is lost.
func (m *memFS) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.names {
		n.locked = false
	}
	m.ops, m.failAt, m.downAt, m.down, m.log = 0, 0, 0, false, nil
}

func (m *memFS) content(name string) ([]byte, bool) {
	n, ok := m.names[name]
	if !ok {
		return nil, false
	}
	return n.data, true
}

// put makes a file that is safely on disk.
func (m *memFS) put(name string, data []byte) {
	n := &memInode{data: slices.Clone(data), durable: slices.Clone(data)}
	m.names[name], m.durable[name] = n, n
}

func (m *memFS) change(f func(map[string]*memInode)) {
	f(m.names)
	m.pending = append(m.pending, f)
}

func (m *memFS) open(name string, create bool) (file, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("open " + name); err != nil {
		return nil, err
	}
	n, ok := m.names[name]
	if !ok {
		if !create {
			return nil, os.ErrNotExist
		}
		n = &memInode{}
		m.change(func(names map[string]*memInode) { names[name] = n })
	}
	return &memFile{fs: m, n: n, name: name}, nil
}

func (m *memFS) same(f file, name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.names[name] == f.(*memFile).n
}

func (m *memFS) rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("rename " + from); err != nil {
		return err
	}
	if _, ok := m.names[from]; !ok {
		return os.ErrNotExist
	}
	m.change(func(names map[string]*memInode) {
		names[to] = names[from]
		delete(names, from)
	})
	return nil
}

func (m *memFS) remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("remove " + name); err != nil {
		return err
	}
	m.change(func(names map[string]*memInode) { delete(names, name) })
	return nil
}

func (m *memFS) syncDir(string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("syncdir"); err != nil {
		return err
	}
	for _, f := range m.pending {
		f(m.durable)
	}
	m.pending = nil
	return nil
}

func (m *memFS) free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.op("free"); err != nil {
		return 0, err
	}
	if m.space > 0 {
		return m.space, nil
	}
	return 1 << 40, nil
}

type memFile struct {
	fs   *memFS
	n    *memInode
	name string
	has  bool // the lock
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op("read " + f.name); err != nil {
		return 0, err
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

const sector = 512

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.fs.op("write " + f.name)
	if err != nil {
		// What fails, or is cut short, has written a part.
		p = p[:len(p)/2]
	}
	for at := 0; at < len(p); {
		n := min(len(p)-at, sector-int(off+int64(at))%sector)
		piece, pos := slices.Clone(p[at:at+n]), off+int64(at)
		f.change(func(d []byte) []byte {
			if need := int(pos) + len(piece); need > len(d) {
				d = append(d, make([]byte, need-len(d))...)
			}
			copy(d[pos:], piece)
			return d
		})
		at += n
	}
	return len(p), err
}

func (f *memFile) change(c func([]byte) []byte) {
	f.n.data = c(f.n.data)
	f.n.pending = append(f.n.pending, c)
}

func (f *memFile) truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op("truncate " + f.name); err != nil {
		return err
	}
	f.change(func(d []byte) []byte {
		if int(size) <= len(d) {
			return d[:size:size]
		}
		return append(d, make([]byte, int(size)-len(d))...)
	})
	return nil
}

func (f *memFile) allocate(int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.fs.op("allocate " + f.name)
}

func (f *memFile) sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op("sync " + f.name); err != nil {
		return err
	}
	f.n.durable = slices.Clone(f.n.data)
	f.n.pending = nil
	return nil
}

func (f *memFile) datasync() error { return f.sync() }

func (f *memFile) size() (int64, int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op("stat " + f.name); err != nil {
		return 0, 0, err
	}
	return int64(len(f.n.data)), 0, nil
}

func (f *memFile) lock() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.fs.op("lock " + f.name); err != nil {
		return err
	}
	if f.n.locked {
		return ErrBusy
	}
	f.n.locked, f.has = true, true
	return nil
}

func (f *memFile) close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.has {
		f.n.locked, f.has = false, false
	}
	return nil
}

// The simulated disk keeps what was synced and nothing else for sure;
// without this the tests that lean on it would prove nothing.
func TestMemFSForgets(t *testing.T) {
	m := newMemFS()
	f, err := m.open("x", true)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteAt(make([]byte, 100), 0)
	_ = f.sync()
	_ = m.syncDir("x")
	lost, kept := 0, 0
	for seed := range uint64(20) {
		_, _ = f.WriteAt([]byte{byte(seed + 1)}, 0)
		before := slices.Clone(m.names["x"].durable)
		m.reboot(rand.New(rand.NewPCG(seed, 0)))
		if got, _ := m.content("x"); slices.Equal(got, before) {
			lost++
		} else {
			kept++
		}
		f, _ = m.open("x", false)
	}
	if lost == 0 || kept == 0 {
		t.Errorf("%d unsynced writes were lost and %d kept; both must happen", lost, kept)
	}
}
