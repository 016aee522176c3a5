// Package step turns the shell lines of a Kubefile into typed steps, so that
// an install can check before it acts, run again without harm and say why
// something failed.
//
// A line becomes typed only if every word of it is understood. A flag that is
// not listed here, an expansion whose value is known only on the host, a
// redirection into a file: each makes the whole line an exec step, which is
// run by bash as it stands. Nothing is half understood.
//
// # Kinds and their arguments
//
// The arguments of a step are the JSON form of one of the action types of this
// package; [Decode] reads them back. All paths are relative to the folder in
// the argument dir, which itself is relative to the root file system; without
// dir they are relative to the root file system. An absolute path is one of
// the host that the step runs on. Arguments that are empty or false are left
// out.
//
//	helm.release       release chart namespace version values[] set[] setString[]
//	                   createNamespace wait atomic mode("upgrade") dir   [HelmRelease]
//	helm.uninstall     release namespace                                 [HelmUninstall]
//	kubectl.apply      files[] namespace recursive serverSide dir        [Apply]
//	kubectl.create     files[] namespace recursive dir                   [Create]
//	kubectl.delete     files[] resource names[] namespace dir            [Delete]
//	kubectl.namespace  name                                              [Namespace]
//	kubectl.scale      resource name namespace replicas                  [Scale]
//	kubectl.taint      target names[] selector key value effect remove overwrite [Taint]
//	kubectl.label      resource target names[] selector namespace set{} remove[] overwrite [Label]
//	kubectl.annotate   as kubectl.label                                  [Annotate]
//	kubectl.patch      resource name namespace type patch                [Patch]
//	wait.crd           crd intervalSeconds                               [WaitCRD]
//	wait.rollout       resource name namespace                           [WaitRollout]
//	exec               dir                                               [Exec]
//
// Entries of files may hold the wildcards of a shell; each match is applied,
// in order, where kubectl itself would refuse a second one. target says which
// nodes are meant: [TargetMaster0], [TargetAll], [TargetNames] or
// [TargetSelector].
//
// Typed steps say what shall be, not what to do: helm.release installs or
// upgrades, kubectl.namespace and kubectl.create leave alone what is there,
// helm.uninstall, kubectl.delete and a taint's removal are content where there
// is nothing to remove. So they may be run again after they succeeded.
//
// The package never runs anything and knows no cluster.
package step
