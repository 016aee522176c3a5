// Package bundlefile reads bundle.yaml, the native description of a bundle for
// people who do not come from sealer: images, charts, files and typed steps.
//
// It owns the grammar, which docs/bundle-yaml.md explains and
// docs/bundle.schema.json gives to editors; a test holds the three together.
// Reading is strict: an unknown field, a field given twice or a value of the
// wrong type is an error with line and column, and all of them are reported
// together.
//
// It never opens another file: paths are only checked for leaving the folder
// they are relative to. Anchors, aliases and tags are refused, so what a
// reviewer sees is what is built.
package bundlefile
