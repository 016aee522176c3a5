//go:build !unix

package site

import "os"

func linkable(os.FileInfo) bool { return false }
