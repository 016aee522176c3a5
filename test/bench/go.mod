module bundle/test/bench

go 1.26.0

require (
	github.com/klauspost/compress v1.20.3
	github.com/klauspost/pgzip v1.2.6
	golang.org/x/sync v0.24.0
)
