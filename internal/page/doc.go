// Package page is the look of every page that bundle writes: one frame, one
// style sheet, two languages, and the drawings that are computed here.
//
// A page is one file that holds all it needs: it asks no network for anything,
// works in the dark, on a phone and on paper, and says its facts without a
// script. Its content security policy allows the style sheet and the script in
// it by their digest and nothing else. Everything that is put into a page goes
// through html/template.
//
// It knows nothing of bundles and clusters: what a page says belongs to the
// package whose facts it shows.
package page
