{{- define "claviger.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "claviger.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "claviger.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "claviger.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "claviger.selectorLabels" -}}
app.kubernetes.io/name: {{ include "claviger.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{- define "claviger.labels" -}}
{{ include "claviger.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "claviger.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "claviger.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "claviger.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* The files of the Secret; a list of variable and key. */}}
{{- define "claviger.secretEnv" -}}
{{- range $variable, $key := . }}
{{- if $key }}
- name: {{ $variable }}_FILE
  value: /etc/claviger/secrets/{{ $key }}
{{- end }}
{{- end }}
{{- end }}

{{- define "claviger.probe" -}}
{{- if .root.Values.tls.existingSecret }}
tcpSocket:
  port: api
{{- else }}
grpc:
  port: 4640
  service: {{ .service | quote }}
{{- end }}
{{- end }}
