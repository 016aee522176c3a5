// Package wire is the HTTP client that pull and push share.
//
// It owns what every request to a registry needs, whatever it asks for:
// which scheme an address may be spoken to with, whose certificate is
// believed, where credentials come from and which hosts see them, what is
// tried again and after how long, when a silent connection is given up, and
// how a failure reads ([Error]).
//
// Authentication is go-containerregistry's; a session is kept for each
// repository and action, because tokens are.
//
// It never looks inside manifests or blobs, never checks a digest, keeps
// nothing on disk and prints nothing.
package wire
