// Package rootfs works out what a Clusterfile changes in the root file system
// that a bundle puts on every host: the files that its Config documents write,
// and the templates that its variables fill in.
//
// It follows sealer 0.9: Configs first, in order, then every *.tmpl below etc,
// charts and manifests, and of each application, rendered to the same name
// without .tmpl. The templates of kubeadm's configuration that sealer 0.5 knew
// (etc/kubeadm-*.yaml.tmpl) have another data model and are package kubeadm's.
//
// It is pure: it reads files through a [Source], gives back what is different,
// and never writes. Templates come from a bundle and are hostile: how long
// they run and how much they print is bounded.
package rootfs
