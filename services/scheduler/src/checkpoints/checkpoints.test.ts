import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createPool, type Db, listCheckpoints, MAX_CHECKPOINT_CHAINS } from '@signalbox/audit-store';
import { CheckpointLine } from '@signalbox/contracts';
import { checkpointFault, keyIdOf } from '@signalbox/engine';
import { temporaryDir } from '@signalbox/local';
import { createMetrics, ManualClock } from '@signalbox/runtime';
import { freshPartition } from '../../../../packages/run-state/test/support.ts';
import {
  atEnd,
  freshDatabase,
  recordingLogger,
  sampleOf,
  storeRunAt,
  storeRunsAt,
} from '../../test/support.ts';
import { openCheckpointFile } from './checkpoint-file.ts';
import { type CheckpointDeps, keepCheckpoints, writeCheckpoints } from './checkpoints.ts';
import { createCheckpointGauge } from '../metrics.ts';
import { publicKeyOf, signingKeyFrom } from './signing-key.ts';

const TENANT = 'acme';
const SEED = randomBytes(32).toString('base64');
const KEY = signingKeyFrom(SEED) ?? assert.fail('no key');

const bench = async () => {
  const db: Db = createPool({ databaseUrl: await freshDatabase(), role: 'scheduler' });
  atEnd(() => db.destroy());
  const path = join(await temporaryDir(), 'checkpoints.ndjson');
  const registry = createMetrics({ prefix: 'signalbox_' });
  const clock = new ManualClock(Date.UTC(2026, 10, 21));
  const deps: CheckpointDeps = {
    db,
    clock,
    ...recordingLogger(),
    partition: await freshPartition(),
    isLeader: () => true,
    ageSeconds: createCheckpointGauge(registry),
    signingKey: KEY,
    sink: openCheckpointFile(path),
  };
  const lines = async (): Promise<CheckpointLine[]> =>
    (await readFile(path, 'utf8')).split('\n').flatMap((line) => {
      try {
        return [CheckpointLine.parse(JSON.parse(line))];
      } catch {
        return [];
      }
    });
  return { db, deps, path, registry, clock, lines };
};

test('each minute and at the end, while it leads: signed, chained, stored and kept outside', async () => {
  const { db, deps, registry, clock, lines } = await bench();
  let leads = false;
  const stopping = new AbortController();
  const running = keepCheckpoints({ ...deps, isLeader: () => leads }, stopping.signal);
  await storeRunAt(db, '2026-11-21T09:00:00Z');
  await clock.whenSleeping();
  await clock.advance(60_000);
  await clock.whenSleeping();
  assert.deepEqual(await listCheckpoints(db, TENANT, { after: 0, limit: 9 }), []);
  assert.ok((await sampleOf(registry, 'checkpoint_age_seconds')) > 0);
  leads = true;
  await clock.advance(60_000);
  await clock.whenSleeping();
  assert.equal(await sampleOf(registry, 'checkpoint_age_seconds'), 0);
  await storeRunAt(db, '2026-11-21T09:01:00Z');
  stopping.abort();
  await running;
  const kept = await lines();
  assert.deepEqual(kept, await listCheckpoints(db, TENANT, { after: 0, limit: 9 }));
  const publicKey = publicKeyOf(KEY);
  const publicKeys = new Map([[keyIdOf(publicKey), publicKey]]);
  assert.deepEqual(
    kept.map(({ n, leaves, ...line }) => [
      n,
      leaves.length,
      checkpointFault({ n, ...line }, { leaves, publicKeys }),
    ]),
    [
      [1, 1, null],
      [2, 1, null],
    ],
  );
  assert.equal(kept[1]?.prev, kept[0]?.hash);
  const entries = await deps.partition.redis.xrange(`${deps.partition.root}:audit`, '-', '+');
  assert.equal(JSON.stringify(entries).split('checkpoint.written').length - 1, 2);
});

test('the file gets what it lacks: after a torn line, and when it was away', async () => {
  const { db, deps, path, lines } = await bench();
  await storeRunAt(db, '2026-11-21T09:00:00Z');
  await writeCheckpoints(deps);
  const [first] = await lines();
  await appendFile(path, JSON.stringify(first).slice(0, 40));
  await storeRunAt(db, '2026-11-21T09:01:00Z');
  await writeCheckpoints({ ...deps, sink: null });
  await writeCheckpoints(deps);
  assert.deepEqual(
    (await lines()).map(({ n }) => n),
    [1, 2],
  );
  const size = (await readFile(path)).length;
  await writeCheckpoints({ ...deps, sink: openCheckpointFile(path) });
  assert.equal((await readFile(path)).length, size);
});

test('a place outside that is away shows in the age, until it is there again', async () => {
  const { db, deps, registry, clock, lines } = await bench();
  const { sink } = deps;
  let full = true;
  const stopping = new AbortController();
  const failing = {
    heads: () => sink?.heads() ?? assert.fail(),
    append: async (added: readonly CheckpointLine[]) => {
      if (full) throw new Error('no space left on the volume');
      await sink?.append(added);
    },
  };
  const running = keepCheckpoints({ ...deps, sink: failing }, stopping.signal);
  const minute = async (): Promise<number> => {
    await clock.whenSleeping();
    await clock.advance(60_000);
    await clock.whenSleeping();
    return sampleOf(registry, 'checkpoint_age_seconds');
  };
  await storeRunAt(db, '2026-11-21T09:00:00Z');
  assert.deepEqual([await minute(), await minute()], [60, 120]);
  assert.deepEqual(await lines(), []);
  full = false;
  assert.equal(await minute(), 0);
  assert.equal((await lines()).length, 1);
  stopping.abort();
  await running;
});

test('a tenant with more chains than one checkpoint takes gets several in a round', async () => {
  const { db, deps } = await bench();
  for (let left = MAX_CHECKPOINT_CHAINS + 3; left > 0; left -= 1000) {
    await storeRunsAt(db, '2026-11-21T09:00:00Z', Math.min(left, 1000));
  }
  await writeCheckpoints(deps);
  const taken = await listCheckpoints(db, TENANT, { after: 0, limit: 9 });
  assert.deepEqual(
    taken.map(({ chains }) => chains),
    [MAX_CHECKPOINT_CHAINS, 3],
  );
});

test('without a key none are written; with one all that waited is', async () => {
  const { db, deps } = await bench();
  await storeRunAt(db, '2026-11-21T09:00:00Z');
  await writeCheckpoints({ ...deps, signingKey: null });
  await storeRunAt(db, '2026-11-21T09:02:00Z');
  await writeCheckpoints({ ...deps, signingKey: null });
  assert.deepEqual(await listCheckpoints(db, TENANT, { after: 0, limit: 9 }), []);
  await writeCheckpoints(deps);
  const [first] = await listCheckpoints(db, TENANT, { after: 0, limit: 9 });
  assert.equal(first?.chains, 2);
});

test('a signing key is PEM or the seed, and Ed25519', () => {
  const pem = (type: 'ed25519' | 'ed448'): string =>
    type === 'ed25519'
      ? generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
      : generateKeyPairSync('ed448').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  assert.equal(signingKeyFrom(pem('ed25519'))?.asymmetricKeyType, 'ed25519');
  for (const bad of [pem('ed448'), '', 'x', randomBytes(31).toString('base64')]) {
    assert.equal(signingKeyFrom(bad), undefined);
  }
  assert.equal(publicKeyOf(KEY), publicKeyOf(signingKeyFrom(SEED) ?? KEY));
});
