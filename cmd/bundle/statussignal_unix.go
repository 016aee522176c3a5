//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// watchStatus prints a status on SIGUSR1, until stop is called.
func (a *app) watchStatus() (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-c:
				a.printStatus()
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(c)
		close(done)
	}
}
