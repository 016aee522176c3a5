package main

import "testing"

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"700MB": 700_000_000, "4GiB": 4 << 30, "4GiB-1": 4<<30 - 1, "1.5kB": 1500, "123": 123, "10 MiB": 10 << 20, "5B": 5,
		"": 0, "-1": 0, "GiB": 0, "0": 0, "1e300": 0, "4GiB-": 0, "4GiB--1": 0, "1-1": 0, "nanB": 0, "4XB": 0,
	} {
		got, err := parseSize(s)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}
