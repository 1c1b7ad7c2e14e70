/**
 * Field names of the kinds we use, so that a misspelt one is found without a cluster: Kubernetes would reject or drop it.
 * A shape is an object of fields; `ANY` is a value or a map whose keys are free; an array is a list of that shape.
 */
export const ANY = Symbol('any');
export type Shape = typeof ANY | readonly [Shape] | { readonly [field: string]: Shape };

const fields = (names: string): Readonly<Record<string, Shape>> =>
  Object.fromEntries(names.split(' ').map((name) => [name, ANY]));

const metadata: Shape = { ...fields('name namespace'), labels: ANY, annotations: ANY };
const top = { ...fields('apiVersion kind'), metadata };
const selector: Shape = { matchLabels: ANY };
const probe: Shape = {
  ...fields('periodSeconds timeoutSeconds failureThreshold'),
  httpGet: fields('path port'),
};
const keyRef: Shape = fields('name key optional');
const container: Shape = {
  ...fields('name image command'),
  envFrom: [{ configMapRef: fields('name optional'), secretRef: fields('name optional') }],
  env: [{ ...fields('name value'), valueFrom: { secretKeyRef: keyRef, configMapKeyRef: keyRef } }],
  ports: [fields('name containerPort')],
  startupProbe: probe,
  livenessProbe: probe,
  readinessProbe: probe,
  resources: { requests: fields('cpu memory'), limits: fields('cpu memory') },
  securityContext: {
    ...fields('allowPrivilegeEscalation readOnlyRootFilesystem'),
    capabilities: { drop: ANY },
  },
  volumeMounts: [fields('name mountPath readOnly')],
};
const podTemplate: Shape = {
  metadata,
  spec: {
    ...fields('serviceAccountName automountServiceAccountToken enableServiceLinks restartPolicy'),
    ...fields('terminationGracePeriodSeconds'),
    securityContext: {
      ...fields('runAsNonRoot runAsUser runAsGroup fsGroup fsGroupChangePolicy'),
      seccompProfile: fields('type'),
    },
    topologySpreadConstraints: [
      { ...fields('maxSkew topologyKey whenUnsatisfiable'), labelSelector: selector },
    ],
    containers: [container],
    volumes: [{ name: ANY, emptyDir: fields('sizeLimit medium') }],
  },
};
const strategy: Shape = { rollingUpdate: fields('maxSurge maxUnavailable') };
const claimTemplate: Shape = {
  metadata,
  spec: { ...fields('accessModes storageClassName'), resources: { requests: fields('storage') } },
};
const scaling: Shape = {
  ...fields('stabilizationWindowSeconds selectPolicy'),
  policies: [fields('type value periodSeconds')],
};

export const SHAPES: Readonly<Record<string, Shape>> = {
  Namespace: top,
  ServiceAccount: { ...top, automountServiceAccountToken: ANY },
  ConfigMap: { ...top, data: ANY },
  Service: { ...top, spec: { ...fields('selector clusterIP'), ports: [fields('name port targetPort')] } },
  Deployment: { ...top, spec: { replicas: ANY, strategy, selector, template: podTemplate } },
  StatefulSet: {
    ...top,
    spec: {
      ...fields('replicas serviceName podManagementPolicy'),
      updateStrategy: fields('type'),
      persistentVolumeClaimRetentionPolicy: fields('whenDeleted whenScaled'),
      selector,
      template: podTemplate,
      volumeClaimTemplates: [claimTemplate],
    },
  },
  Job: { ...top, spec: { ...fields('backoffLimit ttlSecondsAfterFinished'), template: podTemplate } },
  PodDisruptionBudget: {
    ...top,
    spec: { ...fields('maxUnavailable minAvailable unhealthyPodEvictionPolicy'), selector },
  },
  ScaledObject: {
    ...top,
    spec: {
      ...fields('minReplicaCount maxReplicaCount pollingInterval cooldownPeriod'),
      scaleTargetRef: fields('name'),
      fallback: fields('failureThreshold replicas behavior'),
      advanced: { horizontalPodAutoscalerConfig: { behavior: { scaleUp: scaling, scaleDown: scaling } } },
      triggers: [
        {
          type: ANY,
          metadata: fields('url valueLocation targetValue activationTargetValue authMode'),
          authenticationRef: fields('name'),
        },
      ],
    },
  },
  TriggerAuthentication: { ...top, spec: { secretTargetRef: [fields('parameter name key')] } },
};

/** Paths of the fields that the shape does not know. */
export function unknownFields(value: unknown, shape: Shape, path = ''): string[] {
  if (shape === ANY) return [];
  if (Array.isArray(shape)) {
    const [item] = shape as readonly [Shape];
    if (!Array.isArray(value)) return [`${path}: not a list`];
    return value.flatMap((entry, index) => unknownFields(entry, item, `${path}[${index}]`));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path}: not an object`];
  const known = shape as Readonly<Record<string, Shape>>;
  return Object.entries(value).flatMap(([field, inner]) => {
    const inside = known[field];
    return inside === undefined ? [`${path}.${field}`] : unknownFields(inner, inside, `${path}.${field}`);
  });
}
