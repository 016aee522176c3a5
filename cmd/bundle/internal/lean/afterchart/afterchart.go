// Package afterchart gives pages back at its moment of the start.
package afterchart

import (
	"bundle/cmd/bundle/internal/lean"
	_ "bundle/manifest/chart" // set up before
)

func init() { lean.GiveBack() }
