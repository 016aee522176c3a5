// Package aftersite gives pages back at its moment of the start.
package aftersite

import (
	"bundle/cmd/bundle/internal/lean"
	_ "bundle/install/site" // set up before
)

func init() { lean.GiveBack() }
