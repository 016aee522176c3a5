//go:build tools

// Package imgpkg pins the program of that name, which the benchmarks run beside
// ours. `go install carvel.dev/imgpkg/cmd/imgpkg@version` fails with proxies that
// refuse names which are no module.
package imgpkg

import _ "carvel.dev/imgpkg/cmd/imgpkg"
