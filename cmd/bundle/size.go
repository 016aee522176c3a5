package main

import "fmt"

// formatSize prints bytes for a person, with powers of 1000.
func formatSize(n int64) string {
	const step = 1000
	if n < step {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n), ""
	for _, u := range []string{"kB", "MB", "GB", "TB", "PB"} {
		v, unit = v/step, u
		if v < step-0.5 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}
