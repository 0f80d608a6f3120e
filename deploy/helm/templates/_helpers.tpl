{{- define "maru.labels" -}}
app.kubernetes.io/name: maru
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* Labels of one component: (list $ "web") */}}
{{- define "maru.selector" -}}
app.kubernetes.io/name: maru
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "maru.image" -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag }}
{{- end -}}
{{- end }}

{{- /* The settings without secrets, as a map. */}}
{{- define "maru.settings" -}}
MARU_PUBLIC_URL: {{ .Values.publicUrl | quote }}
MARU_TRUSTED_PROXIES: {{ .Values.trustedProxies | quote }}
MARU_METRICS_ALLOW: {{ .Values.metricsAllow | quote }}
MARU_LOG_FORMAT: json
MARU_HOST: 0.0.0.0
MARU_PORT: "8000"
MARU_METRICS_HOST: 0.0.0.0
MARU_METRICS_PORT: "9101"
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "maru.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "maru.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* What the pods have in common, before their containers. */}}
{{- define "maru.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
securityContext:
{{ include "maru.podSecurity" . | indent 2 }}
volumes:
  - name: tmp
    emptyDir: {}
{{- end }}
