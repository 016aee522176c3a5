package archive

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The seek table of the zstd seekable format, version 0.1.0: a skippable
// frame with eight bytes for each data frame and a footer of nine.
const (
	skippableMagic   = 0x184D2A5E
	seekableMagic    = 0x8F92EAB1
	seekHeaderLen    = 8
	seekEntryLen     = 8
	seekFooterLen    = 9
	maxTableFrames   = 0x8000000
	seekTableLeast   = seekHeaderLen + seekEntryLen + seekFooterLen
	seekTableBufSize = 32 << 10
)

// seekTableLen is the length in bytes of the table of n frames.
func seekTableLen(n int64) int64 { return seekHeaderLen + n*seekEntryLen + seekFooterLen }

func seekHeader(n int64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, skippableMagic)
	return binary.LittleEndian.AppendUint32(b, uint32(seekTableLen(n)-seekHeaderLen))
}

func seekFooter(n int64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(n))
	b = append(b, 0)
	return binary.LittleEndian.AppendUint32(b, seekableMagic)
}

// writeSeekTable writes the table of n frames in constant memory.
func writeSeekTable(w io.Writer, n int64, frames func(yield func(encoded, decoded int64) bool)) error {
	b := make([]byte, 0, seekTableBufSize+seekEntryLen)
	b = append(b, seekHeader(n)...)
	var err error
	frames(func(encoded, decoded int64) bool {
		b = binary.LittleEndian.AppendUint32(b, uint32(encoded))
		b = binary.LittleEndian.AppendUint32(b, uint32(decoded))
		if len(b) >= seekTableBufSize {
			_, err = w.Write(b)
			b = b[:0]
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, seekFooter(n)...))
	return err
}

// tail is what the end of a file tells.
type tail struct {
	signatures [][]byte
	pos        int64 // where the signatures begin
	frames     int64 // before pos
	table      int64 // where the seek table begins
}

// readTail reads a file's tail and checks its framing: the ends of the seek
// table, the end of the archive, and the signatures. The entries of the table
// before them are left to VerifyFraming. Memory is bounded by the signatures.
func readTail(ra io.ReaderAt, size int64) (tail, error) {
	table := member{name: nameSeekTable}
	least := endShape.encodedLen() + seekTableLeast
	if size < least {
		return tail{}, table.damaged(0, size, "the file is cut off")
	}
	footer := make([]byte, seekFooterLen)
	if err := readFull(ra, footer, size-seekFooterLen); err != nil {
		return tail{}, err
	}
	n := int64(binary.LittleEndian.Uint32(footer))
	if string(footer) != string(seekFooter(n)) {
		return tail{}, table.damaged(size-seekFooterLen, seekFooterLen, "the file does not end as a bundle does: it is cut off, or something was added to it")
	}
	t := tail{table: size - seekTableLen(n), frames: n - 1}
	if n < 1 || n > maxTableFrames || t.table < endShape.encodedLen() {
		return tail{}, table.damaged(size-seekFooterLen, seekFooterLen, fmt.Sprintf("it cannot list %d frames in a file of %d bytes", n, size))
	}
	table.pos = t.table
	header := make([]byte, seekHeaderLen)
	if err := readFull(ra, header, t.table); err != nil {
		return tail{}, err
	}
	if string(header) != string(seekHeader(n)) {
		return tail{}, table.damaged(t.table, seekHeaderLen, "it does not begin as it must")
	}
	last := make([]byte, min(n, MaxSignatures+2)*seekEntryLen)
	lastPos := size - seekFooterLen - int64(len(last))
	if err := readFull(ra, last, lastPos); err != nil {
		return tail{}, err
	}
	// entry gives the i-th entry from the end.
	entry := func(i int64) (encoded, decoded, at int64) {
		p := last[int64(len(last))-(i+1)*seekEntryLen:]
		return int64(binary.LittleEndian.Uint32(p)), int64(binary.LittleEndian.Uint32(p[4:])), size - seekFooterLen - (i+1)*seekEntryLen
	}
	t.pos = t.table - endShape.encodedLen()
	if enc, dec, at := entry(0); enc != endShape.encodedLen() || dec != endContent {
		return tail{}, table.damaged(at, seekEntryLen, "its last entry is not the end of the archive")
	}
	end := endMember(t.pos)
	have := make([]byte, endShape.encodedLen())
	if err := readFull(ra, have, t.pos); err != nil {
		return tail{}, err
	}
	if i := differs(have, encodeRaw(make([]byte, endContent), true)); i >= 0 {
		return tail{}, end.damaged(t.pos+int64(i), 1, "it is not the zeros that it must be")
	}
	number := 0 // of the signature behind, 0 at first
	for i := int64(1); i < min(n, MaxSignatures+2) && number != 1; i++ {
		enc, dec, _ := entry(i)
		if enc > t.pos {
			return tail{}, table.damaged(t.table, seekTableLen(n), "it lists more bytes than the file holds")
		}
		content, got, err := readSignature(ra, t.pos-enc, enc, dec)
		if err != nil {
			return tail{}, err
		}
		if got == 0 {
			break
		}
		if (number == 0 && got > MaxSignatures) || (number > 0 && got != number-1) {
			m := member{name: signatureName(got)}
			return tail{}, m.damaged(t.pos-enc, enc, "signatures are not numbered in order from 1")
		}
		number = got
		t.pos -= enc
		t.frames--
		t.signatures = append(t.signatures, content)
	}
	if number > 1 {
		m := member{name: signatureName(number)}
		return tail{}, m.damaged(t.pos, 0, "signatures are not numbered in order from 1")
	}
	for i, j := 0, len(t.signatures)-1; i < j; i, j = i+1, j-1 {
		t.signatures[i], t.signatures[j] = t.signatures[j], t.signatures[i]
	}
	return t, nil
}

// readSignature reads a frame of enc bytes at pos as a signature and gives
// its content and number. The number is 0 if the frame is something else: a
// part of a blob. The two are told apart by the checksum, which frames of
// blobs never have.
func readSignature(ra io.ReaderAt, pos, enc, dec int64) ([]byte, int, error) {
	s := rawShape{n: dec, sum: true}
	if dec < 2*tarBlock || dec > tarBlock+MaxSignatureSize || dec%tarBlock != 0 || enc != s.encodedLen() {
		return nil, 0, nil
	}
	buf := make([]byte, enc)
	if err := readFull(ra, buf, pos); err != nil {
		return nil, 0, err
	}
	if buf[4]&singleBit != 0 {
		return nil, 0, nil
	}
	unknown := member{name: "signatures"}
	at := int64(frameHeader + blockHeader)
	name, size, ok := parseTarHead(buf[at : at+tarBlock])
	number := signatureNumber(name)
	if !ok || number == 0 || size < 1 || tarBlock+size+padLen(size) != dec {
		return nil, 0, unknown.damaged(pos, enc, "the tar header is not a signature's")
	}
	m := signatureMember(number, size, pos)
	content, bad := decodeSmall(&m, buf)
	if bad >= 0 {
		return nil, 0, m.damaged(pos+int64(bad), 1, "it is not as the format wants it")
	}
	return content, number, nil
}

// signatureNumber parses the name of a signature member; 0 if it is not one.
func signatureNumber(name string) int {
	for n := 1; n <= MaxSignatures; n++ {
		if name == signatureName(n) {
			return n
		}
	}
	return 0
}

// differs gives the first index at which a and b differ, or -1.
func differs(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	if len(a) != len(b) {
		return min(len(a), len(b))
	}
	return -1
}
