// Command mkvectors writes the hostile corpus of testdata/vectors anew:
//
//	go run ./test/hostile/mkvectors testdata/vectors
package main

import (
	"fmt"
	"os"

	"bundle/test/hostile/forge"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: mkvectors FOLDER")
		os.Exit(2)
	}
	if err := forge.Write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
