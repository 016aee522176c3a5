// Package kube does the typed steps of an install at the API server, waits for
// what they set going, and says why it did not come to be.
//
// A [Cluster] is one connection, made of a kubeconfig and a way to dial. Its
// [Cluster.Run] does any step of package manifest/step but exec. Every step
// says what shall be: run a second time it changes nothing and says so. Every
// step is bounded by its own time; a step that fails tells in one sentence
// which object is at fault and why, found in the pods, events and conditions
// of the cluster ([Finding]). [Cluster.Observe] gives what an acceptance test
// judges.
//
// # What steps read
//
// Charts, values files and manifests come from [Options.Files], the root file
// system as the install would write it. A path of a host that lies below
// [Options.Rootfs] means the same tree. Nothing is downloaded: there is no
// chart repository, no DNS look-up in templates, no schema from elsewhere.
// Kubeconfigs that run a program, name files or ask for a proxy are refused,
// since they come from hosts.
//
// # Ownership of fields
//
// Manifests are applied on the server, as field manager "bundle", and take
// over fields that others own: what the bundle says holds. Fields that
// `kubectl apply` left behind are taken over too, so that leaving one out of a
// manifest removes it. Where the server cannot apply a manifest that kubectl
// would take (two list entries of one key), the three-way merge of kubectl is
// done instead. Releases that do not exist yet are made the way Helm 3 did,
// not by server-side apply, because the charts in bundles were written for it;
// releases that exist keep the way they were made.
//
// # Aborted releases
//
// A revision that is pending when a step begins was left by a run that was
// killed: one install runs at a time, and it is us. A release that never was
// deployed is cleared away and installed anew; claims, volumes, secrets,
// namespaces and custom resource definitions of it stay and are taken over.
// One that was deployed before is upgraded from where the aborted try left it;
// what only that try had put in is taken out, and data stays. There is no
// rollback: it would run an old version against what the new one made of its
// data. A failed upgrade deletes nothing, unless the step says atomic.
//
// # Outages
//
// Requests that find no API server are sent again, with growing pauses, as
// long as the step has time. Where the server answers that it is overloaded,
// that etcd has no leader or that a webhook does not answer yet, they are sent
// again for half a minute. A request that may have been carried out before its
// answer was lost is sent again only where that is known to do no harm.
//
// The package prints nothing. It silences klog and the error handlers of
// apimachinery for the whole program when the first connection is made; what
// the Helm SDK says through package log/slog and log is the program's to
// filter.
package kube
