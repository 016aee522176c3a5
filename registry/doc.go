// Package registry is the home of everything that speaks the OCI
// distribution protocol, in both directions.
//
//   - wire is one HTTP client for registries: credentials, TLS, retries,
//     stalls. It knows nothing about images.
//   - pull resolves references and opens their blobs, from registries and
//     from local files that hold images.
//   - push copies what a bundle holds into another registry.
//   - serve answers as a registry, straight out of a bundle.
//
// Nothing here decides what belongs into a bundle (that is manifest and
// pack), and nothing here trusts a signature (that is verify).
package registry
