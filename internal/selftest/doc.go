// Package selftest lets a user see on site that the program holds: it makes a
// small bundle in a folder of its own, changes, cuts and extends it, serves and
// pulls it, kills builds and signatures, and wants every harm to be noticed and
// every interruption to end in the same bytes.
//
// It uses the packages and the program that are there for users, and nothing
// made for it. It opens no connection but to itself on loopback, writes only in
// the folder it is given, and prints nothing.
package selftest
