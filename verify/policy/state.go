package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"bundle/internal/safefile"
)

// StateName is the file that a target remembers in.
const StateName = "trust.json"

// hostDir is where root remembers. It is no part of /var/lib/bundle, which
// bundle clean removes.
const hostDir = "/var/lib/bundle-trust"

const (
	stateSchema = 1
	maxState    = 16 << 20
)

// DefaultState is the file of this machine: /var/lib/bundle-trust/trust.json
// for root, else $XDG_STATE_HOME/bundle-trust/trust.json, else below
// ~/.local/state.
func DefaultState() (string, error) {
	if isRoot() {
		return filepath.Join(hostDir, StateName), nil
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%w: there is no place for it: %w", ErrState, err)
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "bundle-trust", StateName), nil
}

// State is the memory of a target, kept in a file.
type State struct {
	path string
	file stateFile
}

type stateFile struct {
	Schema   int               `json:"schema"`
	Policies map[string]memory `json:"policies"`
}

// memory is what is remembered for the policies of one name.
type memory struct {
	// Serial and Policy are the successor that was taken over.
	Serial  int64               `json:"serial,omitempty"`
	Policy  string              `json:"policy,omitempty"`
	Bundles map[string]accepted `json:"bundles"`
	Revoked struct {
		Keys       []string        `json:"keys,omitempty"`
		Identities []string        `json:"identities,omitempty"`
		Indexes    []digest.Digest `json:"indexes,omitempty"`
	} `json:"revoked"`
}

// accepted is the newest bundle of a name that was accepted.
type accepted struct {
	Version string    `json:"version"`
	Time    time.Time `json:"time"`
}

// OpenState reads the memory in a file; one that does not exist is empty.
// Errors wrap [ErrState].
func OpenState(path string) (*State, error) {
	f, err := readState(path)
	if err != nil {
		return nil, err
	}
	return &State{path: path, file: *f}, nil
}

func readState(path string) (*stateFile, error) {
	empty := &stateFile{Schema: stateSchema, Policies: map[string]memory{}}
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, maxState+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	f, err := parseState(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w; without it nobody knows which versions were accepted here before", ErrState, path, err)
	}
	return f, nil
}

func parseState(data []byte) (*stateFile, error) {
	f := new(stateFile)
	switch {
	case len(data) > maxState:
		return nil, fmt.Errorf("has more than %d bytes", maxState)
	case json.Unmarshal(data, f) != nil:
		return nil, errors.New("is damaged")
	case f.Schema != stateSchema:
		return nil, fmt.Errorf("has schema %d, and this tool reads %d", f.Schema, stateSchema)
	}
	if f.Policies == nil {
		f.Policies = map[string]memory{}
	}
	return f, nil
}

func (s *State) of(policy string) memory { return s.file.Policies[policy] }

// successor gives the policy that was taken over; nil if there is none.
func (m memory) successor(path string) (*Policy, error) {
	if m.Policy == "" {
		return nil, nil
	}
	p, err := Parse(path, []byte(m.Policy), nil)
	if err != nil || p.Serial != m.Serial {
		return nil, fmt.Errorf("%w: %s holds a policy that cannot be read", ErrState, path)
	}
	return p, nil
}

func (m memory) revocations() *Revocations {
	r := (&Revocations{}).with(nil)
	for _, k := range m.Revoked.Keys {
		r.keys[k] = true
	}
	for _, i := range m.Revoked.Identities {
		r.identities[i] = true
	}
	for _, d := range m.Revoked.Indexes {
		r.indexes[d] = true
	}
	return r
}

// revoke adds what is revoked and tells whether that was news.
func (m *memory) revoke(r *Revocations) bool {
	all := m.revocations().with(r)
	keys, identities, indexes := sorted(all.keys), sorted(all.identities), sorted(all.indexes)
	old := &m.Revoked
	if len(keys) == len(old.Keys) && len(identities) == len(old.Identities) && len(indexes) == len(old.Indexes) {
		return false
	}
	old.Keys, old.Identities, old.Indexes = keys, identities, indexes
	return true
}

func sorted[K interface{ ~string }](set map[K]bool) []K { return slices.Sorted(maps.Keys(set)) }

// update changes the memory of a policy in the file, in one step that survives
// a crash. What another process has remembered meanwhile is kept.
func (s *State) update(policy string, change func(*memory) bool) (err error) {
	fail := func(err error) error {
		return fmt.Errorf("%w: what was accepted cannot be written to %s: %w", ErrState, s.path, err)
	}
	// Where there is nothing to write no folder is needed either.
	probe := clone(s.of(policy))
	if !change(&probe) {
		return nil
	}
	dir := filepath.Dir(s.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	unlock, err := lock(s.path + ".lock")
	if err != nil {
		return fail(err)
	}
	defer unlock()
	now, err := readState(s.path)
	if err != nil {
		return err
	}
	m := clone(now.Policies[policy])
	if !change(&m) {
		s.file = *now
		return nil
	}
	now.Policies[policy] = m
	data, err := json.MarshalIndent(now, "", "  ")
	if err != nil {
		return fail(err)
	}
	if len(data) > maxState {
		return fail(fmt.Errorf("it would have more than %d bytes", maxState))
	}
	if err := safefile.Replace(s.path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	s.file = *now
	return nil
}

func clone(m memory) memory {
	b := maps.Clone(m.Bundles)
	if b == nil {
		b = map[string]accepted{}
	}
	m.Bundles = b
	return m
}
