import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { ATTEMPT_LIMIT_MS } from '@signalbox/providers';
import {
  COMMANDS,
  FORBIDDEN,
  isContractVariable,
  PORTS,
  PROCESSES,
  REQUIRED,
} from './contract-environment.ts';
import { isInstalled, readText, readYaml, run } from './files.ts';

interface Service {
  readonly image: string;
  readonly build?: { readonly dockerfile: string };
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, unknown>>;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly deploy?: { readonly replicas: number };
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean };
  readonly stop_grace_period?: string;
  readonly init?: boolean;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

const { services, volumes } = readYaml('docker-compose.yaml') as Compose;
const serviceOf = (name: string): Service =>
  services[name] ?? assert.fail(`docker-compose.yaml has no service ${name}`);

const SECRETS = { ENCRYPTION_KEYS: 'k1:AA==', BOOTSTRAP_API_KEY: 'sb_test', POSTGRES_PASSWORD: 'secret' };
const COMPOSE = [
  ['docker-compose', []],
  ['docker', ['compose']],
] as const;
const composeTools = COMPOSE.filter(([tool, args]) => {
  if (!isInstalled(tool)) return false;
  try {
    return run(tool, [...args, 'version']) !== '';
  } catch {
    return false;
  }
});

describe('docker-compose.yaml', () => {
  test('has every process, Redis and Postgres, and nothing else', () => {
    assert.deepEqual(Object.keys(services).toSorted(), [...PROCESSES, 'redis', 'postgres'].toSorted());
    assert.equal(serviceOf('worker').deploy?.replicas, 2);
  });

  for (const name of PROCESSES) {
    test(`${name} gets the environment of the contract and no more`, () => {
      const given = Object.keys(serviceOf(name).environment ?? {});
      for (const variable of REQUIRED[name]) assert.ok(given.includes(variable), `${variable} is missing`);
      for (const variable of FORBIDDEN[name])
        assert.ok(!given.includes(variable), `${variable} is not its business`);
      assert.deepEqual(
        given.filter((variable) => !isContractVariable(variable)),
        [],
      );
      if (name !== 'api' && name !== 'migrate')
        assert.equal(serviceOf(name).environment?.['METRICS_PORT'], PORTS[name]);
    });

    test(`${name} runs its own main from the one image, without rights, after what it needs`, () => {
      const service = serviceOf(name);
      assert.deepEqual(service.command, ['node', ...COMMANDS[name]]);
      assert.equal(service.image, serviceOf('migrate').image);
      assert.equal(service.build?.dockerfile, name === 'migrate' ? 'deploy/Dockerfile' : undefined);
      assert.deepEqual([service.init, service.read_only, service.cap_drop], [true, true, ['ALL']]);
      const expected =
        name === 'migrate'
          ? { postgres: { condition: 'service_healthy' } }
          : {
              redis: { condition: 'service_healthy' },
              migrate: { condition: 'service_completed_successfully' },
            };
      assert.deepEqual(service.depends_on, expected);
    });
  }

  test('whoever calls providers gets every variable of theirs', () => {
    const source = readText('packages/providers/src/keys/provider-environment.ts');
    const read = [...source.matchAll(/^ {2}([A-Z][A-Z_]+):/gm)].map(([, variable = '']) => variable);
    assert.ok(read.length > 15);
    for (const name of ['api', 'worker']) {
      const { environment = {} } = serviceOf(name);
      assert.deepEqual(
        read.filter((variable) => !(variable in environment)),
        [],
        name,
      );
    }
  });

  test('secrets have no default: without them compose refuses', () => {
    const text = readText('docker-compose.yaml');
    for (const name of Object.keys(SECRETS)) {
      const uses = [...text.matchAll(new RegExp(`\\$\\{${name}[^}]*\\}`, 'g'))].map(([use]) => use);
      assert.ok(uses.length > 0, name);
      for (const use of uses) assert.ok(use.startsWith(`\${${name}:?`), use);
    }
  });

  test('Redis persists and never evicts; both stores keep their data in volumes and are reached from inside only', () => {
    const { command = [] } = serviceOf('redis');
    assert.equal(command[command.indexOf('--appendonly') + 1], 'yes');
    assert.equal(command[command.indexOf('--maxmemory-policy') + 1], 'noeviction');
    // Without one only the count of commits holds work back (R9).
    assert.match(command[command.indexOf('--maxmemory') + 1] ?? '', /^\d+[mg]b$/);
    for (const name of ['redis', 'postgres']) {
      const service = serviceOf(name);
      assert.ok(
        service.healthcheck?.test !== undefined &&
          service.volumes?.length === 1 &&
          service.ports === undefined,
      );
      assert.ok(name in volumes);
    }
    assert.match(serviceOf('api').ports?.join() ?? '', /^127\.0\.0\.1:/);
  });

  test('checkpoints lie in a volume of their own, which their scheduler may write', () => {
    const { environment = {}, volumes: mounts = [] } = serviceOf('scheduler');
    assert.ok('AUDIT_SIGNING_KEY' in environment);
    const [volume, path] = mounts[0]?.split(':') ?? [];
    assert.ok(volume !== undefined && volume in volumes && mounts.length === 1);
    assert.equal(environment['CHECKPOINT_FILE'], `${path}/checkpoints.ndjson`);
    const users = Object.values(services).filter((service) => JSON.stringify(service).includes(`${volume}:`));
    assert.equal(users.length, 1);
    // A new volume takes its owner from the image.
    assert.match(readText('deploy/Dockerfile'), new RegExp(`^RUN install -d -o 1000 -g 1000 ${path}$`, 'm'));
  });

  test('the worker may finish its step before it is killed', () => {
    const worker = serviceOf('worker');
    const drain = Number(worker.environment?.['DRAIN_SECONDS']);
    assert.ok(drain >= ATTEMPT_LIMIT_MS / 1000 + 30);
    assert.ok(Number.parseInt(worker.stop_grace_period ?? '', 10) >= drain + 30);
  });

  test('compose accepts it with the secrets, and refuses it without', (t) => {
    if (composeTools.length === 0) return t.skip('no docker-compose on the PATH');
    // Not the developer's own .env.
    const directory = mkdtempSync(join(tmpdir(), 'signalbox-compose-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const empty = join(directory, 'empty.env');
    writeFileSync(empty, '');
    for (const [tool, args] of composeTools) {
      const config = [...args, '--env-file', empty, '-f', 'docker-compose.yaml', 'config'];
      assert.match(run(tool, config, SECRETS), /signalbox:secret@postgres/);
      for (const name of Object.keys(SECRETS)) {
        assert.throws(
          () => run(tool, config, { ...SECRETS, [name]: '' }),
          /write \.env first/,
          `${tool}: ${name}`,
        );
      }
    }
  });
});
