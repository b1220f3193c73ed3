{{- define "ictc.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}

{{- define "ictc.selector" -}}
app.kubernetes.io/name: ictc
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ictc.labels" -}}
{{ include "ictc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "ictc.image" -}}
{{- if .Values.image.digest -}}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}{{ .Values.image.repository }}:{{ .Values.image.tag }}{{- end -}}
{{- end }}

{{- /* What the schema cannot say, because it takes two values. */ -}}
{{- define "ictc.check" -}}
{{- $many := or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled -}}
{{- if and $many (ne .Values.settings.store.kind "redis") -}}
{{- fail "more than one replica needs settings.store.kind: redis, for the surveys do not key alerts by object" -}}
{{- end -}}
{{- if and .Values.persistence.enabled $many -}}
{{- fail "persistence belongs to the embedded store of a single replica: set replicas: 1 and autoscaling.enabled: false" -}}
{{- end -}}
{{- if and (eq .Values.settings.store.kind "redis") (not (hasKey .Values.secrets "ICTC_STORE__URL")) -}}
{{- fail "settings.store.kind: redis needs secrets.ICTC_STORE__URL: {secret: NAME, key: KEY}" -}}
{{- end -}}
{{- $drain := default 30 (dig "life" "drain_s" 30 .Values.settings) -}}
{{- if le (float64 .Values.terminationGracePeriodSeconds) (float64 $drain) -}}
{{- fail (printf "terminationGracePeriodSeconds (%v) must exceed settings.life.drain_s (%v)" .Values.terminationGracePeriodSeconds $drain) -}}
{{- end -}}
{{- end }}
