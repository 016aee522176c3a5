// Package hostile is where the bundle program meets a world that means it no
// good: the corpus of testdata/vectors, a process that is killed at random, and
// a registry under load. It holds tests only, which run the program as a user
// does; package forge makes the corpus, and `make hostile` and `make soak` run
// the tests at full length.
package hostile
