package sign

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// maxKeyFile bounds a key file, in bytes; the longest RSA key takes 7 KiB.
const maxKeyFile = 64 << 10

// envScheme begins a reference to a key in an environment variable.
const envScheme = "env://"

// isService tells whether ref is the URI of a key management service.
func isService(ref string) bool {
	return strings.Contains(ref, "://") && !strings.HasPrefix(ref, envScheme)
}

// readKey gives the bytes of a key file or variable. warn, if not nil, is told
// when others may read the file.
func readKey(ref string, warn func(string)) ([]byte, error) {
	if name, ok := strings.CutPrefix(ref, envScheme); ok {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("environment variable %s is not set, and %s names it as the key", name, ref)}
		}
		if len(value) > maxKeyFile {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("environment variable %s is too long for a key", name)}
		}
		// CI systems often keep secrets on one line.
		return bytes.ReplaceAll([]byte(value), []byte(`\n`), []byte("\n")), nil
	}
	if ref == "" {
		return nil, &fault{class: ErrKey, text: "no key is named"}
	}
	f, err := os.Open(ref)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &fault{class: ErrKey, text: fmt.Sprintf("key file %s does not exist", ref), cause: err}
		}
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("key file %s cannot be opened: %v", ref, errors.Unwrap(err)), cause: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("key file %s cannot be read: %v", ref, err), cause: err}
	}
	if info.IsDir() {
		return nil, &fault{class: ErrKey, text: ref + " is a folder, not a key file"}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("key file %s cannot be read: %v", ref, err), cause: err}
	}
	if len(data) > maxKeyFile {
		return nil, &fault{class: ErrKey, text: ref + " is too long for a key file"}
	}
	if mode := info.Mode(); warn != nil && mode.IsRegular() && mode.Perm()&0o077 != 0 {
		warn(fmt.Sprintf("private key %s can be read by other users (mode %04o); run: chmod 600 %s", ref, mode.Perm(), ref))
	}
	return data, nil
}

// service opens a key of a key management service.
func service(ctx context.Context, ref string) (kms.SignerVerifier, error) {
	known := kms.SupportedProviders()
	slices.Sort(known)
	if !slices.ContainsFunc(known, func(p string) bool { return strings.HasPrefix(ref, p) }) {
		list := "none"
		if len(known) > 0 {
			list = strings.Join(known, ", ")
		}
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("no key service for %s is built in (there is: %s, besides files and env://VARIABLE)", ref, list)}
	}
	sv, err := kms.Get(ctx, ref, crypto.SHA256)
	if err != nil {
		return nil, &fault{class: ErrKey, text: fmt.Sprintf("key %s cannot be reached: %v", ref, err), cause: err}
	}
	return sv, nil
}

func withContext(ctx context.Context) interface {
	signature.SignOption
	signature.PublicKeyOption
} {
	return options.WithContext(ctx)
}
