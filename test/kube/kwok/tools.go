//go:build tools

// Package kwok pins kwok apart from Kubernetes: its libraries are those of an
// older release.
package kwok

import _ "sigs.k8s.io/kwok/cmd/kwok"
