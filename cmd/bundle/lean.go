package main

import (
	"bundle/cmd/bundle/internal/lean"
	_ "bundle/cmd/bundle/internal/lean/afterchart" // keep the start small
	_ "bundle/cmd/bundle/internal/lean/afterplan"
	_ "bundle/cmd/bundle/internal/lean/aftersite"
	_ "bundle/cmd/bundle/internal/lean/afterstorage"
)

// leanReader is for commands that only read a bundle, one after another.
func leanReader() { lean.Reader() }
