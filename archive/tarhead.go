package archive

import (
	"bytes"
	"fmt"
	"strconv"
)

const (
	tarBlock = 512
	// maxUstarSize is what eleven octal digits hold: 8 GiB less one byte.
	maxUstarSize = 1<<33 - 1
)

// headLen is the length in bytes of the tar headers before content of the
// given size: one block, or three where the size needs a pax header.
func headLen(size int64) int64 {
	if size > maxUstarSize {
		return 3 * tarBlock
	}
	return tarBlock
}

// padLen is the length of the zeros that fill content up to a whole block.
func padLen(size int64) int64 {
	return -size & (tarBlock - 1)
}

// tarHead gives the one and only header of a member (docs/format.md, "Tar
// headers"). name must be at most 100 bytes, which all our names are.
func tarHead(name string, size int64) []byte {
	if size <= maxUstarSize {
		return ustarBlock(name, size, '0')
	}
	record := paxRecord("size", strconv.FormatInt(size, 10))
	head := ustarBlock(paxName(name), int64(len(record)), 'x')
	head = append(head, record...)
	head = append(head, make([]byte, padLen(int64(len(record))))...)
	// As GNU tar does: the ustar field holds zero, pax overrides it.
	return append(head, ustarBlock(name, 0, '0')...)
}

func ustarBlock(name string, size int64, typeflag byte) []byte {
	b := make([]byte, tarBlock)
	copy(b[0:100], name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	copy(b[136:], "00000000000\x00")
	b[156] = typeflag
	copy(b[257:], "ustar\x0000")
	copy(b[329:], "0000000\x00")
	copy(b[337:], "0000000\x00")
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// paxName puts the folder PaxHeaders.0 before the last element of name.
func paxName(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return name[:i] + "/PaxHeaders.0" + name[i:]
		}
	}
	return "PaxHeaders.0/" + name
}

// paxRecord gives "LEN key=value\n", where LEN counts itself.
func paxRecord(key, value string) string {
	rest := " " + key + "=" + value + "\n"
	n := len(rest)
	for {
		s := strconv.Itoa(n) + rest
		if len(s) == n {
			return s
		}
		n = len(s)
	}
}

// parseTarHead reads name and size from one header block and accepts it only
// if it is exactly the block that tarHead gives for them. It is for members
// whose size is not known from elsewhere; all of them are below 8 GiB.
func parseTarHead(b []byte) (name string, size int64, ok bool) {
	if len(b) != tarBlock {
		return "", 0, false
	}
	raw := b[0:100]
	if i := bytes.IndexByte(raw, 0); i >= 0 {
		raw = raw[:i]
	}
	for _, c := range b[124:135] {
		if c < '0' || c > '7' {
			return "", 0, false
		}
		size = size<<3 | int64(c-'0')
	}
	name = string(raw)
	if name == "" || !bytes.Equal(b, tarHead(name, size)) {
		return "", 0, false
	}
	return name, size, true
}
