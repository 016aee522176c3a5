// Package chart reads Helm charts, renders them the way `helm template` does,
// and packs them so that equal input gives equal bytes.
//
// It owns three things: the checks between a chart that came from anywhere and
// the Helm SDK ([Load], [LoadBytes]); the rendering without a cluster or a
// network ([Chart.Render]); and the two deterministic forms of a chart, a .tgz
// ([Chart.Package]) and Helm's OCI artifact ([Chart.OCI]). [ApplyConfig] does
// to a values file what a sealer Config document does.
//
// It never downloads a chart or a dependency, never asks a cluster, never
// looks for images (package discover does) and never writes a file. The Helm
// SDK reports oddities of a chart, such as a value that overwrites a table,
// through the default loggers of packages log and log/slog; a program that
// wants silence or another format sets those.
package chart
