// Package afterstorage gives pages back at its moment of the start.
package afterstorage

import (
	"bundle/cmd/bundle/internal/lean"
	_ "github.com/distribution/distribution/v3/registry/storage" // set up before
)

func init() { lean.GiveBack() }
