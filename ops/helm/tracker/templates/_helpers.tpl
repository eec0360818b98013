{{- define "tracker.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "tracker.selector" -}}
app.kubernetes.io/name: tracker
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .stage }}
{{- end }}

{{- define "tracker.labels" -}}
{{ include "tracker.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "tracker.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tracker.secretName" -}}
{{ .Values.existingSecret | default (printf "%s-settings" (include "tracker.name" .)) }}
{{- end }}

{{- define "tracker.keysSecretName" -}}
{{ .Values.existingKeysSecret | default (printf "%s-keys" (include "tracker.name" .)) }}
{{- end }}

{{- define "tracker.hasKeys" -}}
{{ if or .Values.keys .Values.existingKeysSecret }}true{{ end }}
{{- end }}

{{- define "tracker.envFrom" -}}
- configMapRef:
    name: {{ include "tracker.name" . }}-settings
{{- if or .Values.secrets .Values.existingSecret }}
- secretRef:
    name: {{ include "tracker.secretName" . }}
{{- end }}
{{- end }}

{{- define "tracker.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tracker.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "tracker.podCommon" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{ include "tracker.podSecurity" .root | nindent 2 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "tracker.selector" . | nindent 8 }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "tracker.selector" . | nindent 8 }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Restarts only what is no longer alive; a stage that waits for Kafka or Tinybird is alive, and not ready. */}}
{{- define "tracker.probes" -}}
startupProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /healthz, port: {{ . }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: {{ . }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end }}

{{- define "tracker.env" -}}
{{- range $name, $value := . }}
- name: TRACKER_{{ upper $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
