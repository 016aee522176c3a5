package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// ErrVolumeSize says that volumes of the size asked for cannot be.
var ErrVolumeSize = errors.New("volumes of this size cannot be made")

// volumePlan says how a bundle is cut into volumes.
type volumePlan struct {
	plan *Plan
	head []byte
	list []volumeShape // tail is not known yet
	most int64         // bytes of a volume
}

// planVolumes cuts the file of p into volumes of at most size bytes.
func planVolumes(p *Plan, size int64) (*volumePlan, error) {
	v := &volumePlan{plan: p, most: size}
	head := &growing{}
	if err := p.geo.writeHead(head, p.index, p.docker, p.layout, func(*member) {}); err != nil {
		return nil, err
	}
	v.head = head.p
	from, end := int64(len(v.head)), p.geo.end
	if end == from {
		return nil, fmt.Errorf("%w: the bundle holds no blob", ErrVolumeSize)
	}
	shape := volumeShape{head: from, tail: p.geo.tailLen(nil) + signatureRoom}
	shape.info = volumeInfo{number: MaxVolumes, count: MaxVolumes, end: end, from: from, index: p.indexDigest}
	// The greatest length of data that fits.
	room := int64(sort.Search(int(min(size, end-from)), func(n int) bool {
		shape.info.length = int64(n) + 1
		return shape.size() > size
	}))
	const least = 4 << 10
	if room < min(least, end-from) {
		shape.info.length = least
		return nil, fmt.Errorf("%w: each carries the bundle's lists of %d bytes, so that it needs at least %d bytes", ErrVolumeSize, from, shape.size())
	}
	count := (end - from + room - 1) / room
	if count > MaxVolumes {
		return nil, fmt.Errorf("%w: there would be %d of them, and at most %d can be numbered", ErrVolumeSize, count, MaxVolumes)
	}
	for n := int64(1); from < end; n++ {
		s := volumeShape{head: int64(len(v.head))}
		s.info = volumeInfo{number: n, count: count, from: from, length: min(room, end-from), end: end, index: p.indexDigest}
		v.list = append(v.list, s)
		from = s.info.to()
	}
	return v, nil
}

// CountVolumes says how many volumes of at most size bytes the file of a plan
// takes. It errs with [ErrVolumeSize].
func CountVolumes(p *Plan, size int64) (int, error) {
	v, err := planVolumes(p, size)
	if err != nil {
		return 0, err
	}
	return len(v.list), nil
}

// growing is a writer into memory.
type growing struct{ p []byte }

func (g *growing) Write(p []byte) (int, error) {
	g.p = append(g.p, p...)
	return len(p), nil
}

// put writes p at off.
func (g *growing) put(p []byte, off int64) {
	if n := off + int64(len(p)); int64(len(g.p)) < n {
		g.p = append(g.p, make([]byte, n-int64(len(g.p)))...)
	}
	copy(g.p[off:], p)
}

// volumeFS lets a Writer see the volumes of a bundle as the one file at path.
type volumeFS struct {
	fsys
	path string
	v    *volumePlan
}

func (f *volumeFS) part(i int) string { return VolumeName(f.path, i+1) + partSuffix }

func (f *volumeFS) open(name string, create bool) (file, error) {
	if name != f.path+partSuffix {
		return f.fsys.open(name, create)
	}
	vf := &volumeFile{v: f.v}
	for i := range f.v.list {
		if err := f.takeBack(i); err != nil {
			return nil, errors.Join(err, vf.close())
		}
		part, err := f.fsys.open(f.part(i), create)
		if err != nil {
			return nil, errors.Join(err, vf.close())
		}
		vf.files = append(vf.files, part)
		vf.data = append(vf.data, newData(part, f.v.list[i].members()[atData]))
	}
	return vf, nil
}

// takeBack undoes the naming of a volume that was named by a run which was
// stopped before it had named all.
func (f *volumeFS) takeBack(i int) error {
	if part, err := f.fsys.open(f.part(i), false); err == nil {
		return part.close()
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	name := VolumeName(f.path, i+1)
	old, err := f.fsys.open(name, false)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	// Only one of this very bundle is of use.
	m := f.v.list[i].members()[2]
	want := &growing{}
	if err := writeRaw(want, &m, f.v.list[i].info.encode()); err != nil {
		return errors.Join(err, old.close())
	}
	have := make([]byte, len(want.p))
	rerr := readFull(old, have, m.pos)
	if err := old.close(); err != nil {
		return err
	}
	if rerr != nil || differs(have, want.p) >= 0 {
		return nil
	}
	return f.fsys.rename(name, f.part(i))
}

func (f *volumeFS) same(x file, name string) bool {
	vf, ok := x.(*volumeFile)
	return ok && f.fsys.same(vf.files[0], f.part(0))
}

func (f *volumeFS) rename(_, to string) error {
	for i := range f.v.list {
		if err := f.fsys.rename(f.part(i), VolumeName(to, i+1)); err != nil {
			return err
		}
	}
	return nil
}

func (f *volumeFS) remove(name string) error {
	if name != f.path+partSuffix {
		return f.fsys.remove(name)
	}
	var errs []error
	for i := range f.v.list {
		errs = append(errs, f.fsys.remove(f.part(i)))
	}
	return errors.Join(errs...)
}

// volumeFile is the bundle's file as it lies in its volumes. What is not of
// blobs is kept in memory until the end is known, which goes into every
// volume.
type volumeFile struct {
	v     *volumePlan
	files []file
	data  []*BlobReader
	head  growing
	tail  growing
}

// bodyEnd is the length of volume i up to the end of its data.
func (f *volumeFile) bodyEnd(i int) int64 { return f.v.list[i].members()[atData].end() }

// find gives the volume that has a byte of the blobs.
func (f *volumeFile) find(at int64) int {
	return sort.Search(len(f.v.list), func(i int) bool { return f.v.list[i].info.to() > at })
}

func (f *volumeFile) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		i := f.find(at)
		if at < int64(len(f.v.head)) || i == len(f.files) {
			return done, io.EOF
		}
		info := f.v.list[i].info
		n, err := f.data[i].ReadAt(p[done:done+int(min(int64(len(p)-done), info.to()-at))], at-info.from)
		done += n
		if err != nil && err != io.EOF {
			return done, err
		}
	}
	return done, nil
}

func (f *volumeFile) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		at := off + int64(done)
		rest := p[done:]
		head, end := int64(len(f.v.head)), f.v.plan.geo.end
		switch {
		case at < head:
			rest = rest[:min(int64(len(rest)), head-at)]
			f.head.put(rest, at)
		case at >= end:
			f.tail.put(rest, at-end)
		default:
			i := f.find(at)
			s := &f.v.list[i]
			rest = rest[:min(int64(len(rest)), s.info.to()-at)]
			m := s.members()[atData]
			if err := writeContentAt(f.files[i], &m, rest, at-s.info.from); err != nil {
				return done, err
			}
		}
		done += len(rest)
	}
	return done, nil
}

func (f *volumeFile) truncate(size int64) error {
	for i, x := range f.files {
		n := int64(0)
		switch {
		case size > 0 && size < f.v.plan.Size():
			return fmt.Errorf("volumes cannot be cut to %d bytes", size)
		case size > 0:
			n = f.bodyEnd(i)
		}
		if err := x.truncate(n); err != nil {
			return err
		}
	}
	return nil
}

// finish writes all that is not of blobs into every volume.
func (f *volumeFile) finish() error {
	for i, x := range f.files {
		s := f.v.list[i]
		s.tail = int64(len(f.tail.p))
		if s.size() > f.v.most {
			return fmt.Errorf("%w: the signatures need more than the %d bytes that are kept free for them", ErrVolumeSize, signatureRoom)
		}
		list := s.members()
		if err := writeEnds(x, &list[atData]); err != nil {
			return err
		}
		e, err := f.v.plan.geo.edgesOf(context.Background(), &s.info, f.data[i])
		if err != nil {
			return err
		}
		w := &offsetWriter{f: x}
		for k, content := range [][]byte{[]byte(ociLayoutContent), []byte(volumeIndex), s.info.encode(), f.head.p, nil, e.encode(), f.tail.p} {
			if k == atData {
				w.off = list[k].end()
				continue
			}
			if err := writeRaw(w, &list[k], content); err != nil {
				return err
			}
		}
		if err := s.writeEnd(w, func(*member) {}); err != nil {
			return err
		}
		if err := x.truncate(w.off); err != nil {
			return err
		}
	}
	return nil
}

// writeEnds writes the tar header and the padding of a volume's data.
func writeEnds(w io.WriterAt, m *member) error {
	if err := writeContentAt(w, m, m.head(), -m.headLen()); err != nil {
		return err
	}
	if pad := m.padLen(); pad > 0 {
		return writeContentAt(w, m, make([]byte, pad), m.size)
	}
	return nil
}

// size is that of the bundle's file once all volumes have their length.
func (f *volumeFile) size() (size, allocated int64, err error) {
	size = f.v.plan.Size()
	for i, x := range f.files {
		n, has, err := x.size()
		if err != nil {
			return 0, 0, err
		}
		if n < f.bodyEnd(i) {
			size = 0
		}
		allocated += has
	}
	return size, allocated, nil
}

func (f *volumeFile) each(do func(i int, x file) error) error {
	for i, x := range f.files {
		if err := do(i, x); err != nil {
			return err
		}
	}
	return nil
}

func (f *volumeFile) allocate(int64) error {
	return f.each(func(i int, x file) error { return x.allocate(f.bodyEnd(i)) })
}

func (f *volumeFile) sync() error { return f.each(func(_ int, x file) error { return x.sync() }) }
func (f *volumeFile) datasync() error {
	return f.each(func(_ int, x file) error { return x.datasync() })
}
func (f *volumeFile) lock() error { return f.files[0].lock() }

func (f *volumeFile) close() error {
	var errs []error
	for _, x := range f.files {
		errs = append(errs, x.close())
	}
	return errors.Join(errs...)
}
