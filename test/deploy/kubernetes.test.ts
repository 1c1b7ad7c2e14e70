import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ATTEMPT_LIMIT_MS } from '@signalbox/providers';
import {
  COMMANDS,
  FORBIDDEN,
  isContractVariable,
  PORTS,
  PROCESSES,
  type ProcessName,
  REQUIRED,
} from './contract-environment.ts';
import { isInstalled, list, parseYaml, readText, readYaml, run } from './files.ts';
import { SHAPES, unknownFields } from './kubernetes-shapes.ts';

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
  readonly periodSeconds: number;
  readonly failureThreshold: number;
}
interface Container {
  readonly image: string;
  readonly command: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
  readonly envFrom: readonly {
    readonly configMapRef?: { name: string };
    readonly secretRef?: { name: string };
  }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly resources: { readonly requests: object; readonly limits: object };
  readonly securityContext: object;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}
interface PodSpec {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken: boolean;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: { readonly fsGroup?: number; readonly fsGroupChangePolicy?: string };
  readonly containers: readonly Container[];
}
interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec: {
    readonly replicas?: number;
    readonly strategy?: { readonly rollingUpdate: { readonly maxUnavailable: number } };
    readonly updateStrategy?: { readonly type: string };
    readonly serviceName?: string;
    readonly clusterIP?: string;
    readonly persistentVolumeClaimRetentionPolicy?: object;
    readonly volumeClaimTemplates?: readonly { readonly metadata: { readonly name: string } }[];
    readonly selector?: { readonly matchLabels?: object };
    readonly unhealthyPodEvictionPolicy?: string;
    readonly template: { readonly metadata: { readonly labels: object }; readonly spec: PodSpec };
    readonly scaleTargetRef?: { readonly name: string };
    readonly fallback?: object;
    readonly triggers?: readonly {
      type: string;
      metadata: Record<string, unknown>;
      authenticationRef: { name: string };
    }[];
    readonly secretTargetRef?: readonly { readonly parameter: string }[];
  };
}
interface Kustomization {
  readonly resources: readonly string[];
  readonly images: readonly { readonly name: string; readonly newTag: string }[];
  readonly configMapGenerator: readonly { readonly name: string; readonly literals: readonly string[] }[];
}

const DIRECTORY = 'deploy/kubernetes';
const kustomization = readYaml(`${DIRECTORY}/kustomization.yaml`) as Kustomization;
const manifests = kustomization.resources.flatMap((file) =>
  parseYaml<Manifest>(readText(`${DIRECTORY}/${file}`)),
);
const SERVICES = PROCESSES.filter((name): name is keyof typeof PORTS => name !== 'migrate');

const find = (kind: string, name: string): Manifest =>
  manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name) ??
  assert.fail(`no ${kind} ${name}`);
const KINDS: Partial<Record<ProcessName, string>> = { migrate: 'Job', scheduler: 'StatefulSet' };
const workload = (name: ProcessName): Manifest => find(KINDS[name] ?? 'Deployment', name);
const podOf = (name: ProcessName): PodSpec => workload(name).spec.template.spec;
function containerOf(name: ProcessName): Container {
  const [container, ...others] = podOf(name).containers;
  assert.ok(container !== undefined && others.length === 0, `${name} has one container`);
  return container;
}
const configured = (kustomization.configMapGenerator[0]?.literals ?? []).map(
  (literal) => literal.split('=', 1)[0] ?? '',
);
const valueOf = (name: ProcessName, variable: string): string | undefined =>
  containerOf(name).env.find((entry) => entry.name === variable)?.value;

describe('the shapes', () => {
  test('catch a misspelt field at any depth', () => {
    const deployment = structuredClone(workload('api')) as unknown as {
      spec: { template: { spec: { containers: object[] } } };
    };
    Object.assign(deployment.spec.template.spec.containers[0] ?? {}, { livenesProbe: {} });
    Object.assign(deployment.spec, { replica: 2 });
    assert.deepEqual(unknownFields(deployment, SHAPES['Deployment'] ?? assert.fail()), [
      '.spec.template.spec.containers[0].livenesProbe',
      '.spec.replica',
    ]);
  });
});

describe('the Kubernetes manifests', () => {
  test('are all listed, and have only fields that Kubernetes and KEDA know', () => {
    const files = list(`${DIRECTORY}/*.yaml`).map((path) => path.slice(DIRECTORY.length + 1));
    assert.deepEqual([...kustomization.resources, 'kustomization.yaml'].toSorted(), files);
    for (const manifest of manifests) {
      const shape = SHAPES[manifest.kind] ?? assert.fail(`unknown kind ${manifest.kind}`);
      assert.deepEqual(unknownFields(manifest, shape), [], `${manifest.kind} ${manifest.metadata.name}`);
    }
  });

  for (const name of PROCESSES) {
    test(`${name} gets the environment of the contract and no more`, () => {
      const named = containerOf(name).env.map((entry) => entry.name);
      for (const variable of REQUIRED[name]) assert.ok(named.includes(variable), `${variable} is missing`);
      for (const variable of FORBIDDEN[name])
        assert.ok(!named.includes(variable), `${variable} is not its business`);
      assert.deepEqual(
        [...named, ...configured].filter((variable) => !isContractVariable(variable)),
        [],
      );
      const secrets = containerOf(name).envFrom.flatMap(({ secretRef }) => secretRef?.name ?? []);
      assert.deepEqual(secrets, name === 'api' || name === 'worker' ? ['signalbox-providers'] : []);
      for (const { name: variable, value } of containerOf(name).env) {
        if (/URL$|KEY/.test(variable)) assert.equal(value, undefined, `${variable} comes from a Secret`);
      }
    });

    test(`${name} runs its own main from the one image, without rights`, () => {
      const container = containerOf(name);
      const pod = podOf(name);
      assert.deepEqual(container.command, ['node', ...COMMANDS[name]]);
      assert.equal(container.image, kustomization.images[0]?.name);
      assert.deepEqual(container.securityContext, {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      const { fsGroup: _group, fsGroupChangePolicy: _policy, ...account } = pod.securityContext;
      assert.deepEqual(account, {
        runAsNonRoot: true,
        runAsUser: 1000,
        runAsGroup: 1000,
        seccompProfile: { type: 'RuntimeDefault' },
      });
      assert.equal(pod.automountServiceAccountToken, false);
      assert.ok(find('ServiceAccount', pod.serviceAccountName));
      assert.ok('memory' in container.resources.requests && 'memory' in container.resources.limits);
    });
  }

  for (const name of SERVICES) {
    test(`${name} is probed at its port, and survives a drained node`, () => {
      const container = containerOf(name);
      const port = container.ports?.[0];
      assert.equal(port?.containerPort, PORTS[name]);
      if (name !== 'api') assert.equal(valueOf(name, 'METRICS_PORT'), String(PORTS[name]));
      assert.deepEqual(container.startupProbe?.httpGet, { path: '/healthz', port: port.name });
      assert.deepEqual(container.livenessProbe?.httpGet, { path: '/healthz', port: port.name });
      assert.deepEqual(container.readinessProbe?.httpGet, { path: '/readyz', port: port.name });
      const labels = workload(name).spec.selector?.matchLabels;
      assert.deepEqual(labels, workload(name).spec.template.metadata.labels);
      const { spec: budget } = find('PodDisruptionBudget', name);
      assert.deepEqual(budget.selector?.matchLabels, labels);
      // Else a node whose pods are not ready, because a store is away, could not be drained.
      assert.equal(budget.unhealthyPodEvictionPolicy, 'AlwaysAllow');
      assert.equal(workload(name).spec.replicas, name === 'worker' ? undefined : 2);
    });
  }

  test('the api may serve until nobody sends requests any more, and finish those, before it is killed', () => {
    const delay = Number(valueOf('api', 'SHUTDOWN_DELAY_SECONDS'));
    const { readinessProbe: probe } = containerOf('api');
    assert.ok(delay >= (probe?.periodSeconds ?? Infinity) * (probe?.failureThreshold ?? Infinity));
    assert.ok(podOf('api').terminationGracePeriodSeconds >= delay + 30);
  });

  test('a rollout never takes away what serves', () => {
    for (const name of SERVICES) {
      const { strategy, updateStrategy, replicas } = workload(name).spec;
      // One after the other, and the other one leads meanwhile.
      if (name === 'scheduler') assert.deepEqual([updateStrategy?.type, replicas], ['RollingUpdate', 2]);
      else assert.equal(strategy?.rollingUpdate.maxUnavailable, 0, name);
    }
  });

  test('checkpoints outlive their pod, apart from Postgres, and the key that signs them is a Secret of its own', () => {
    const { spec } = workload('scheduler');
    const mounts = containerOf('scheduler').volumeMounts ?? [];
    const mount = mounts.find(({ mountPath }) =>
      valueOf('scheduler', 'CHECKPOINT_FILE')?.startsWith(`${mountPath}/`),
    );
    assert.deepEqual(
      spec.volumeClaimTemplates?.map(({ metadata }) => metadata.name),
      [mount?.name],
    );
    assert.deepEqual(spec.persistentVolumeClaimRetentionPolicy, {
      whenDeleted: 'Retain',
      whenScaled: 'Retain',
    });
    assert.equal(podOf('scheduler').securityContext.fsGroup, 1000);
    const { spec: service } = find('Service', spec.serviceName ?? '');
    assert.deepEqual([service.clusterIP, service.selector], ['None', spec.selector?.matchLabels]);
    const key = containerOf('scheduler').env.find(({ name }) => name === 'AUDIT_SIGNING_KEY');
    assert.deepEqual(key?.valueFrom, {
      secretKeyRef: { name: 'signalbox-signing', key: 'AUDIT_SIGNING_KEY', optional: true },
    });
  });

  test('the worker may finish its step before it is killed', () => {
    const drain = Number(valueOf('worker', 'DRAIN_SECONDS'));
    assert.ok(drain >= ATTEMPT_LIMIT_MS / 1000 + 30);
    assert.ok(podOf('worker').terminationGracePeriodSeconds >= drain + 30);
  });

  test('KEDA scales the worker on runnable demand at 0.8 of its slots, in strings, with an API key', () => {
    const { spec } = find('ScaledObject', 'worker');
    assert.equal(spec.scaleTargetRef?.name, workload('worker').metadata.name);
    assert.deepEqual(spec.fallback, {
      failureThreshold: 3,
      replicas: 5,
      behavior: 'currentReplicasIfHigher',
    });
    const [trigger, ...others] = spec.triggers ?? [];
    assert.ok(trigger !== undefined && others.length === 0);
    assert.equal(trigger.type, 'metrics-api');
    for (const [key, value] of Object.entries(trigger.metadata)) assert.equal(typeof value, 'string', key);
    assert.deepEqual(trigger.metadata, {
      url: `http://api.signalbox.svc:${PORTS.api}/v1/autoscale`,
      valueLocation: 'runnable',
      targetValue: String(0.8 * Number(valueOf('worker', 'WORKER_CONCURRENCY'))),
      activationTargetValue: '0',
      authMode: 'bearer',
    });
    const { secretTargetRef } = find('TriggerAuthentication', trigger.authenticationRef.name).spec;
    assert.deepEqual(
      secretTargetRef?.map(({ parameter }) => parameter),
      ['token'],
    );
  });

  test('kubectl renders them, every image with its tag, every reference to the generated ConfigMap', (t) => {
    if (!isInstalled('kubectl')) return t.skip('no kubectl on the PATH');
    const rendered = parseYaml<Manifest>(run('kubectl', ['kustomize', DIRECTORY]));
    assert.equal(rendered.length, manifests.length + 1);
    const config = rendered.find(({ kind }) => kind === 'ConfigMap');
    const pods = rendered
      .filter(({ kind }) => ['Deployment', 'StatefulSet', 'Job'].includes(kind))
      .map(({ spec }) => spec.template.spec);
    assert.equal(pods.length, PROCESSES.length);
    for (const container of pods.flatMap((pod) => pod.containers)) {
      assert.equal(container.image, `signalbox:${kustomization.images[0]?.newTag}`);
      assert.equal(container.envFrom[0]?.configMapRef?.name, config?.metadata.name);
    }
  });
});
