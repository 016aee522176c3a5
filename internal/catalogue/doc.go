// Package catalogue is the page that a registry out of bundles shows to people
// who open its address in a browser: what can be pulled, by which commands,
// whose it is and whether all is well.
//
// It answers one page and decides nothing: who may see it, what is served and
// whether signatures were checked is said to it. The commands name the address
// at which the page was asked for.
package catalogue
