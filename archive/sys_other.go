//go:build !linux && !darwin && !windows

package archive

import "os"

func datasync(f *os.File) error        { return f.Sync() }
func allocate(*os.File, int64) error   { return nil }
func lockFile(*os.File) error          { return nil }
func freeBytes(string) (int64, error)  { return -1, nil }
func allocatedBytes(os.FileInfo) int64 { return 0 }
func syncDir(string) error             { return nil }
func noSpace(error) bool               { return false }

const renameOpen = true
