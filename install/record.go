package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"bundle/install/check"
	"bundle/install/plan"
	"bundle/manifest"
)

// RecordName is the file in the operator's folder for a cluster that keeps
// what check and clean need when the bundle is not at hand.
const RecordName = "install.json"

const (
	recordSchema = 1
	maxRecord    = 64 << 20
)

// ErrNoRecord says that nothing is known of an install on this machine.
var ErrNoRecord = errors.New("no install is recorded here")

// Record is what an install leaves for later commands.
type Record struct {
	// Schema is 1.
	Schema   int             `json:"schema"`
	Bundle   check.Bundle    `json:"bundle"`
	Releases []check.Release `json:"releases"`
	// Images are all digests that the bundle's images go by.
	Images map[digest.Digest]string `json:"images"`
	// Sample is what registries are asked for.
	Sample manifest.Image `json:"sample"`
	// Env are the variables that the bundle sets.
	Env []manifest.EnvVar `json:"env,omitempty"`
	// Steps say what the journal has only the IDs of.
	Steps []RecordStep `json:"steps,omitempty"`
	// Clean is the way back.
	Clean *savedPlan `json:"clean"`
}

// RecordStep is what a report says of one step of the install.
type RecordStep struct {
	ID      string          `json:"id"`
	Kind    string          `json:"kind"`
	Summary string          `json:"summary"`
	Source  manifest.Source `json:"source,omitempty"`
}

// savedPlan is a plan with the texts that its JSON form leaves out.
type savedPlan struct {
	Plan    *plan.Plan    `json:"plan"`
	Scripts []savedScript `json:"scripts"`
}

type savedScript struct {
	Text string `json:"text,omitempty"`
	Dir  string `json:"dir,omitempty"`
}

// plan puts the texts back.
func (s *savedPlan) plan() (*plan.Plan, error) {
	if s == nil || s.Plan == nil || len(s.Scripts) != len(s.Plan.Steps) {
		return nil, errors.New("it holds no plan to clean by")
	}
	for i := range s.Plan.Steps {
		s.Plan.Steps[i].Script, s.Plan.Steps[i].Dir = s.Scripts[i].Text, s.Scripts[i].Dir
	}
	return s.Plan, nil
}

// WriteRecord keeps the record of a job in dir.
func (j *Job) WriteRecord(dir string, signers []string) error {
	rec, err := j.record(signers)
	if err != nil {
		return err
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, RecordName), data)
}

// ReadRecord reads the record in dir. It errs with [ErrNoRecord].
func ReadRecord(dir string) (*Record, error) {
	p := filepath.Join(dir, RecordName)
	info, err := os.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s does not exist", ErrNoRecord, p)
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxRecord {
		return nil, fmt.Errorf("%w: %s is larger than a record can be", ErrNoRecord, p)
	}
	data, err := os.ReadFile(p)
	if err != nil {
		return nil, err
	}
	var rec Record
	if err := json.Unmarshal(data, &rec); err != nil || rec.Schema != recordSchema {
		return nil, fmt.Errorf("%w: %s is not a record that this version reads", ErrNoRecord, p)
	}
	return &rec, nil
}

// writeFile replaces a file in one step; its content may hold what only the
// operator should read.
func writeFile(p string, data []byte) error {
	dir := filepath.Dir(p)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(p)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), p); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Recorded gives the job of an install that was made earlier, without its
// bundle: it can be checked and cleaned. It errs with [ErrNoRecord].
func Recorded(dir string, o LoadOptions) (*Job, error) {
	c, err := ReadCluster(o)
	if err != nil {
		return nil, err
	}
	dir, err = StateDir(dir, c.Name)
	if err != nil {
		return nil, err
	}
	rec, err := ReadRecord(dir)
	if err != nil {
		return nil, err
	}
	j := &Job{Cluster: c, Warnings: c.Warnings, known: rec}
	if j.Clean, err = rec.Clean.plan(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoRecord, filepath.Join(dir, RecordName), err)
	}
	return j, nil
}
