// Package discover finds the container images that Kubernetes objects ask for
// and says whether a bundle holds them.
//
// [Objects] walks YAML; [Lines] scans text that is not YAML yet, such as a
// template; [File] chooses between the two. What they find has one of two
// classes:
//
//   - [Required]: a kubelet would pull it. These are the images of pods in the
//     kinds of Kubernetes itself, and of pod templates (a mapping with
//     spec.containers under a key called template, or ending in Template or
//     TemplateSpec) in objects of any kind, since an operator makes pods of
//     those as they are.
//   - [Candidate]: a string that reads like an image where only the
//     application knows whether it is one: fields called image in custom
//     resources, repository and tag pairs, arguments, environment,
//     annotations, ConfigMaps and Secrets, also in documents inside strings
//     and in base64.
//
// A definition of a custom resource never asks for an image; defaults in its
// schema are candidates.
//
// [Resolve] compares what was found with what is listed. The package reads no
// files, renders no charts and pulls nothing.
package discover
