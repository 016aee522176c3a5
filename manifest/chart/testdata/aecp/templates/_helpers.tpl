{{- define "aecp.image" -}}
{{ .Values.global.registry }}/{{ .Values.image.repository }}:{{ required "image.tag is required: set the version of the web image" .Values.image.tag }}
{{- end -}}
