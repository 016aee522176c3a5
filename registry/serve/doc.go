// Package serve makes bundles their own registry: it answers the OCI
// distribution API straight from the files, without unpacking anything.
//
// It owns the way from an HTTP request to the bytes of a blob: the names under
// which the images, charts and attachments of one or several bundles answer,
// the storage driver that shows them to the distribution project's registry as
// if they lay on its disk, the optional writable overlay, the referrers API,
// TLS, basic authentication, metrics and health. Every blob is hashed on its
// way out; a blob whose bytes are wrong is never delivered whole.
//
// It never changes a bundle, never checks signatures (do that before handing a
// bundle to [New]), never copies a blob to disk, opens no outgoing connection,
// and prints nothing: what it has to say goes to [Options].Logger.
package serve
