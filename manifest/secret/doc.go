// Package secret finds what should not be given away with a bundle: private keys
// and passwords in the files and charts that are packed, also behind base64.
//
// It reads text line by line and knows no language, so that it finds them in a
// Clusterfile as in a shell script. It gives the place and the kind, and never
// the value. What is found is a suspicion: who packs the file decides. What is
// said here to be none (templates, variables, empty values, placeholders) is in
// docs/security.md.
//
// It is pure: no file, no network, no output.
package secret
