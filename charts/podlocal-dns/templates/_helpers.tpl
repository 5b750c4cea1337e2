{{- /* The reference of an image with its digest, its tag, or the chart's appVersion. */}}
{{- define "podlocal-dns.image" -}}
{{- $image := .image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Defaults of injected pods, as `--settings` reads them. */}}
{{- define "podlocal-dns.settings" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: podlocal-dns-settings
  namespace: {{ .Release.Namespace }}
data:
  settings.yaml: |
    {{- range $name, $value := .Values.settings }}
    {{ $name }}: {{ $value | toString | quote }}
    {{- end }}
{{- end }}

{{- /* Changes a Deployment in place; prints nothing. */}}
{{- define "podlocal-dns.deployment" -}}
{{- $values := .root.Values -}}
{{- $pod := .object.spec.template.spec -}}
{{- $container := first $pod.containers -}}
{{- $webhook := include "podlocal-dns.image" (dict "image" $values.webhook.image "root" .root) -}}
{{- $sidecar := include "podlocal-dns.image" (dict "image" $values.sidecar.image "root" .root) -}}
{{- $resources := dict -}}
{{- if eq $container.name "shared-tier" -}}
  {{- $_ := set $container "image" $sidecar -}}
  {{- $resources = $values.sharedTier.resources -}}
  {{- if $values.sharedTier.autoscaling -}}
    {{- /* As manifests/components/shared-autoscaling changes it. */ -}}
    {{- $_ := unset .object.spec "replicas" -}}
    {{- $_ := set $container.resources.requests "cpu" "250m" -}}
  {{- else -}}
    {{- $_ := set .object.spec "replicas" (int $values.sharedTier.replicas) -}}
  {{- end -}}
{{- else -}}
  {{- $_ := set $container "image" $webhook -}}
{{- end -}}
{{- if eq $container.name "webhook" -}}
  {{- $_ := set .object.spec "replicas" (int $values.webhook.replicas) -}}
  {{- $resources = $values.webhook.resources -}}
  {{- $arguments := list -}}
  {{- range $container.args -}}
    {{- $arguments = append $arguments (ternary (printf "--sidecar-image=%s" $sidecar) . (hasPrefix "--sidecar-image=" .)) -}}
  {{- end -}}
  {{- if $values.settings -}}
    {{- $arguments = append $arguments "--settings=/settings/settings.yaml" -}}
    {{- $volume := dict "name" "settings" "configMap" (dict "name" "podlocal-dns-settings") -}}
    {{- $_ := set $pod "volumes" (append ($pod.volumes | default list) $volume) -}}
    {{- $mount := dict "name" "settings" "mountPath" "/settings" "readOnly" true -}}
    {{- $_ := set $container "volumeMounts" (append ($container.volumeMounts | default list) $mount) -}}
    {{- /* The program reads the file at startup, so new settings need a new pod. */ -}}
    {{- $sum := include "podlocal-dns.settings" .root | sha256sum -}}
    {{- $_ := set .object.spec.template.metadata "annotations" (dict "podlocal-dns.io/settings" $sum) -}}
  {{- end -}}
  {{- $_ := set $container "args" (concat $arguments $values.webhook.extraArgs) -}}
{{- end -}}
{{- with $resources -}}{{- $_ := set $container "resources" . -}}{{- end -}}
{{- with $values.imagePullSecrets -}}{{- $_ := set $pod "imagePullSecrets" . -}}{{- end -}}
{{- with $values.nodeSelector -}}{{- $_ := set $pod "nodeSelector" (merge (dict) . ($pod.nodeSelector | default dict)) -}}{{- end -}}
{{- with $values.tolerations -}}{{- $_ := set $pod "tolerations" . -}}{{- end -}}
{{- end }}
