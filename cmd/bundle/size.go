package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"bundle/internal/page"
)

// formatSize prints bytes as pages do.
func formatSize(n int64) string { return page.Size(n) }

// sizeUnits are what sizes may be given in.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1}, {"", 1},
}

// parseSize reads 4GiB, 700MB, 1.5GB, or 4GiB-1, which is a byte less.
func parseSize(s string) (int64, error) {
	text, less, minus := strings.Cut(strings.TrimSpace(s), "-")
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || math.IsNaN(v) || v <= 0 || v*float64(u.bytes) >= 1<<62 {
			break
		}
		n := int64(v * float64(u.bytes))
		if minus {
			k, err := strconv.ParseInt(less, 10, 64)
			if err != nil || k < 0 || k >= n {
				break
			}
			n -= k
		}
		return n, nil
	}
	return 0, fmt.Errorf("%q is no size: give one like 700MB, 4GiB or 4GiB-1", s)
}
