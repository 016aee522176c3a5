package archive

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// The journal beside a .part file is text, one record a line, each with a
// CRC-32C of the line before it:
//
//	bundle-part 1 sha256:<index.json> <size of the file> <crc>
//	prefix <blob> <chunks> <sha256 of the content so far> <crc>
//	done <blob> <crc>
//	reset <blob> <crc>
//
// Blobs are numbered in file order from 0. No record is believed: what it
// says is there is read back and hashed. So records need not wait for the
// data to be on disk, and a torn last line is harmless.
type journal struct {
	mu  sync.Mutex
	f   file
	off int64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// mark is a prefix of a raw blob that an earlier run wrote.
type mark struct {
	chunks int64
	sum    string // raw sha256 of the content in those chunks
}

// leftovers are what a journal says about an earlier run.
type leftovers struct {
	done  map[int]bool
	marks map[int][]mark // ascending
}

func sealLine(s string) string {
	return fmt.Sprintf("%s %08x\n", s, crc32.Checksum([]byte(s), castagnoli))
}

func unsealLine(line string) (string, bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", false
	}
	s := line[:i]
	return s, sealLine(s) == line+"\n"
}

func journalHead(index digest.Digest, size int64) string {
	return sealLine(fmt.Sprintf("bundle-part 1 %s %d", index, size))
}

// readJournal reads the records of a journal for the plan with that head and
// with so many blobs. It stops at the first line that is not whole, and gives
// the length of what is. known is false if the journal is for another plan.
func readJournal(r io.Reader, head string, blobs int) (l leftovers, length int64, known bool, err error) {
	l = leftovers{done: map[int]bool{}, marks: map[int][]mark{}}
	br := bufio.NewReaderSize(r, 4<<10)
	for {
		raw, err := br.ReadSlice('\n')
		if err == io.EOF || errors.Is(err, bufio.ErrBufferFull) {
			return l, length, known, nil
		}
		if err != nil {
			return l, length, known, err
		}
		line := string(raw)
		if length == 0 {
			if line != head {
				return l, 0, false, nil
			}
			known = true
		} else if !l.record(line[:len(line)-1], blobs) {
			return l, length, known, nil
		}
		length += int64(len(line))
	}
}

// record takes one line in and tells whether it is a record.
func (l *leftovers) record(line string, blobs int) bool {
	s, ok := unsealLine(line)
	if !ok {
		return false
	}
	f := strings.Split(s, " ")
	if len(f) < 2 {
		return false
	}
	n, err := strconv.Atoi(f[1])
	if err != nil || n < 0 || n >= blobs {
		return false
	}
	switch {
	case f[0] == "done" && len(f) == 2:
		l.done[n] = true
		delete(l.marks, n)
	case f[0] == "reset" && len(f) == 2:
		delete(l.done, n)
		delete(l.marks, n)
	case f[0] == "prefix" && len(f) == 4:
		chunks, err := strconv.ParseInt(f[2], 10, 64)
		sum, herr := hex.DecodeString(f[3])
		if err != nil || herr != nil || len(sum) != 32 || chunks < 1 {
			return false
		}
		m := l.marks[n]
		for len(m) > 0 && m[len(m)-1].chunks >= chunks {
			m = m[:len(m)-1]
		}
		l.marks[n] = append(m, mark{chunks, string(sum)})
	default:
		return false
	}
	return true
}

// append adds one record. If it fails, the next goes to the same place.
func (j *journal) append(format string, a ...any) error {
	line := sealLine(fmt.Sprintf(format, a...))
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.f.WriteAt([]byte(line), j.off); err != nil {
		return err
	}
	j.off += int64(len(line))
	return nil
}

// begin empties the journal and writes its head.
func (j *journal) begin(head string) error {
	if err := j.f.truncate(0); err != nil {
		return err
	}
	if _, err := j.f.WriteAt([]byte(head), 0); err != nil {
		return err
	}
	j.off = int64(len(head))
	return nil
}
