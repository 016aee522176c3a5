package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
)

// An upload asks what is there, is told from where it goes on, and appends.
// The end of the part is compared, for a host that lost its power may have
// the length of a file without its last bytes.
const (
	uploadScript = writeStart + `t=$F.part
trap : EXIT
if [ -L "$t" ] || { [ -e "$t" ] && [ ! -f "$t" ]; }; then rm -rf -- "$t"; fi
: >>"$t"
echo "$(stat -c %s -- "$t") $(tail -c "$T" -- "$t" | sha256sum)"
read -r from
truncate -s "$from" -- "$t"
cat >>"$t"
[ "$(stat -c %s -- "$t")" = "$N" ] || exit 46
` + writeEnd

	uploadTail = 1 << 20
)

// Upload implements [Host]. It goes on by itself where the connection breaks,
// as long as each try brings something over.
func (m *machine) Upload(ctx context.Context, file string, mode fs.FileMode, content io.ReaderAt, size int64, sent func(n int64)) error {
	if err := m.checkPath(file, size); err != nil {
		return err
	}
	if sent == nil {
		sent = func(int64) {}
	}
	var told int64
	progress := func(there int64) {
		if there > told {
			sent(there - told)
			told = there
		}
	}
	for {
		before := told
		err := m.upload(ctx, file, mode, content, size, progress)
		if !errors.Is(err, ErrConnection) || ctx.Err() != nil || told == before {
			return err
		}
		m.log.note("going on with the upload of %s", file)
	}
}

func (m *machine) upload(ctx context.Context, file string, mode fs.FileMode, content io.ReaderAt, size int64, there func(int64)) error {
	env := writeEnv(file, mode, size)
	env["T"] = fmt.Sprint(uploadTail)
	in := &uploadInput{content: content, size: size, there: there, told: make(chan struct{})}
	err := m.run(ctx, job{
		Command: Command{
			Label: "uploading " + file, Script: uploadScript, Env: env,
			Stdin: in, Stdout: &uploadState{in: in},
		},
		private: true,
	})
	if exitCode(err) == exitShort {
		return m.fileError("got only a part of "+file, nil)
	}
	if err != nil {
		return m.failed("cannot take "+file, err)
	}
	return nil
}

// uploadInput is what an upload sends: from where it goes on, once the host
// told what it has, and the bytes from there.
type uploadInput struct {
	content io.ReaderAt
	size    int64
	there   func(int64)

	once sync.Once
	told chan struct{} // closed once rest and offset, or err, are set
	err  error

	rest   io.Reader
	offset int64 // how far the host has it when the next read comes
	head   int64 // bytes of the first line that are still to be read
}

// Read implements [io.Reader]. That it is called again means that what it
// gave before is on its way.
func (u *uploadInput) Read(p []byte) (int, error) {
	<-u.told
	if u.err != nil {
		return 0, u.err
	}
	if u.head == 0 {
		u.there(u.offset)
	}
	n, err := u.rest.Read(p)
	line := min(int64(n), u.head)
	u.head -= line
	u.offset += int64(n) - line
	if err == io.EOF && u.offset != u.size {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// abandon ends a read that waits for a host that is gone.
func (u *uploadInput) abandon() { u.begin(0, errAbandoned) }

func (u *uploadInput) begin(from int64, err error) {
	u.once.Do(func() {
		line := fmt.Sprintf("%d\n", from)
		u.rest = io.MultiReader(strings.NewReader(line), io.NewSectionReader(u.content, from, u.size-from))
		u.head, u.offset, u.err = int64(len(line)), from, err
		close(u.told)
	})
}

// uploadState reads the one line in which the host says what it has.
type uploadState struct {
	in  *uploadInput
	buf bytes.Buffer
}

func (s *uploadState) Write(p []byte) (int, error) {
	if s.buf.Len() < 1<<10 {
		s.buf.Write(p)
	}
	if line, _, ok := strings.Cut(s.buf.String(), "\n"); ok {
		s.in.begin(s.in.resume(line))
	}
	return len(p), nil
}

// resume says from where to go on: behind the part if it is one of the
// content, else from the start.
func (u *uploadInput) resume(line string) (int64, error) {
	var have int64
	var sum string
	if n, err := fmt.Sscanf(line, "%d %64s", &have, &sum); n != 2 || err != nil {
		return 0, fmt.Errorf("the host says about its part of the file: %.100q", line)
	}
	if have <= 0 || have > u.size {
		return 0, nil
	}
	from := max(0, have-uploadTail)
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(u.content, from, have-from)); err != nil {
		return 0, err
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return 0, nil
	}
	return have, nil
}
