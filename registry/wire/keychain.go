package wire

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// FileKeychain finds credentials in a docker configuration file, including
// those its credential helpers keep. Keys may name a registry or, as podman
// writes them, a path below one; the longest that fits wins.
func FileKeychain(path string) (authn.Keychain, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the registry credentials: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, fmt.Errorf("cannot read the registry credentials: %w", err)
	} else if info.Size() > 1<<20 {
		return nil, fmt.Errorf("%s is too large for a docker configuration (%d bytes)", path, info.Size())
	}
	cf, err := config.LoadFromReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s is not a docker configuration: %w", path, err)
	}
	return &fileKeychain{path: path, config: cf}, nil
}

type fileKeychain struct {
	path string
	mu   sync.Mutex // the configuration file type is not safe for concurrent use
	// config is only read, its helpers are run.
	config *configfile.ConfigFile
}

func (k *fileKeychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := target.String(); ; {
		if key == name.DefaultRegistry {
			key = authn.DefaultAuthKey
		}
		cfg, err := k.config.GetAuthConfig(key)
		if err != nil {
			return nil, fmt.Errorf("%s: cannot get the credentials of %s: %w", k.path, key, err)
		}
		cfg.ServerAddress = ""
		if cfg != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{
				Username:      cfg.Username,
				Password:      cfg.Password,
				Auth:          cfg.Auth,
				IdentityToken: cfg.IdentityToken,
				RegistryToken: cfg.RegistryToken,
			}), nil
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 || key == authn.DefaultAuthKey {
			return authn.Anonymous, nil
		}
		key = key[:i]
	}
}
