{{- /* A Config may replace the whole of values.yaml, so nothing may be taken for granted here. */ -}}
{{- define "aecp.image" -}}
sea.hub:5000/ecp_builder/{{ .name }}:{{ .root.Values.installVersion | default "v1.5.3.0" }}
{{- end -}}
{{- define "aecp.replicas" -}}
{{- if (.Values.component | default dict).enabledHA }}3{{ else }}1{{ end -}}
{{- end -}}
