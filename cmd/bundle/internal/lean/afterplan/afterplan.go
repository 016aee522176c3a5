// Package afterplan gives pages back at its moment of the start.
package afterplan

import (
	"bundle/cmd/bundle/internal/lean"
	_ "bundle/install/plan" // set up before
)

func init() { lean.GiveBack() }
