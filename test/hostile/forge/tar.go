package forge

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

const ustarMax = 1<<33 - 1

// ustar is one header block.
func ustar(name string, size int64, kind byte) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644")
	copy(b[108:], "0000000")
	copy(b[116:], "0000000")
	copy(b[124:], fmt.Sprintf("%011o", size))
	copy(b[136:], "00000000000")
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	copy(b[329:], "0000000")
	copy(b[337:], "0000000")
	return resum(b)
}

// resum puts the right checksum into a header block.
func resum(b []byte) []byte {
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// header is what stands before a member's content.
func header(name string, size int64) []byte {
	if size <= ustarMax {
		return ustar(name, size, '0')
	}
	return append(pax(name, "size="+strconv.FormatInt(size, 10)), ustar(name, 0, '0')...)
}

// pax is a pax header with one record.
func pax(name, field string) []byte {
	n := len(field) + 3
	for len(strconv.Itoa(n))+len(field)+2 != n {
		n++
	}
	record := strconv.Itoa(n) + " " + field + "\n"
	dir := "PaxHeaders.0/"
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir = name[:i+1] + dir
		name = name[i+1:]
	}
	b := ustar(dir+name, int64(len(record)), 'x')
	return append(b, pad([]byte(record))...)
}

// padding is the number of zeros behind size bytes.
func padding(size int64) int { return int(-size & 511) }

func pad(p []byte) []byte {
	return append(bytes.Clone(p), make([]byte, padding(int64(len(p))))...)
}
