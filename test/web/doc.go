// Package web opens the pages that bundle writes in a real Chromium: whether
// they load without a word on the console and without any request, on a phone,
// in the dark, without scripts and on paper. What it saw is kept as pictures
// in the folder that BUNDLE_WEB_SHOTS names.
//
// It drives the Chromium that is installed and never downloads one.
package web
