package agent

import "os"

// exchangeSlowly swaps two names where the file system cannot do it in one
// step. Between its steps b is not there.
func exchangeSlowly(a, b string) error {
	away := b + ".old"
	if err := os.Rename(b, away); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		_ = os.Rename(away, b)
		return err
	}
	return os.Rename(away, a)
}
