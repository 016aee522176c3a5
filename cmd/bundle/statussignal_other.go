//go:build !unix

package main

// watchStatus does nothing: there is no signal to ask with.
func (a *app) watchStatus() (stop func()) { return func() {} }
