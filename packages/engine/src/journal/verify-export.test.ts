import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { test } from 'node:test';
import {
  adminChainOf,
  type CheckpointLeaf,
  type CheckpointLine,
  type Entry,
  GENESIS,
} from '@signalbox/contracts';
import { appendDrafts, bodyOf, EMPTY_HEAD, hashOf } from './chain.ts';
import { keyIdOf, merkleRoot, signCheckpoint } from './checkpoint.ts';
import { type ExportVerdict, verifyExport } from './verify-export.ts';

const TENANT = 'acme';
const newKey = () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { privateKey, text: publicKey.export({ type: 'spki', format: 'der' }).toString('base64') };
};
const { privateKey, text: KEY } = newKey();
const minute = (n: number): string => new Date(Date.UTC(2026, 0, 1, 0, n)).toISOString();

interface Chain {
  readonly runId: string;
  readonly entries: readonly Entry[];
}

/** Of a run whose id is made of this digit, or that was made at this instant. */
const chainOf = (made: string | number, length: number): Chain => {
  const runId =
    typeof made === 'string'
      ? `run_${made.repeat(32)}`
      : `run_${made.toString(16).padStart(12, '0')}${'0'.repeat(20)}`;
  const data = { worker: 'w', wake_seq: 1, resumed: false };
  const drafts = Array.from({ length }, () => ({ type: 'run.claimed', data }) as const);
  const context = { runId, epoch: 1, ts: minute(0), actor: { type: 'system', id: 'w' } } as const;
  return { runId, entries: appendDrafts(EMPTY_HEAD, drafts, context).entries };
};

/** The head of a chain when it had so many events. */
const leafOf = ({ runId, entries }: Chain, seq: number): CheckpointLeaf => ({
  run_id: runId,
  seq,
  hash: hashOf(entries[seq - 1] ?? assert.fail()),
});

/** A checkpoint over each of these, chained. */
const signedOver = (...heads: readonly CheckpointLeaf[][]): string[] => signedBy(() => privateKey, heads);

/** `keyOf`: by which key, by its number. */
const signedBy = (keyOf: (n: number) => KeyObject, heads: readonly CheckpointLeaf[][]): string[] => {
  let prev = GENESIS;
  return heads.map((leaves, index) => {
    const n = index + 1;
    const unsigned = {
      tenant_id: TENANT,
      n,
      ts: minute(n),
      prev,
      root: merkleRoot(leaves),
      chains: leaves.length,
    };
    const line: CheckpointLine = { ...signCheckpoint(unsigned, keyOf(n)), leaves };
    prev = line.hash;
    return JSON.stringify(line);
  });
};

const eventsOf = ({ runId, entries }: Chain, length = entries.length): string[] =>
  entries
    .slice(0, length)
    .map((entry, i) =>
      JSON.stringify({ run_id: runId, seq: i + 1, hash: hashOf(entry), body: bodyOf(entry) }),
    );

interface End {
  readonly checkpoint?: unknown;
  readonly departedBefore?: Date | null;
  readonly keys?: readonly string[];
}

const verify = (
  events: readonly string[],
  checkpoints: readonly string[],
  { departedBefore = null, keys = [KEY], ...end }: End,
): Promise<ExportVerdict> =>
  verifyExport({
    exported: [...events, JSON.stringify({ end: true, lines: events.length, ...end })],
    checkpoints,
    publicKeys: new Map(keys.map((key) => [keyIdOf(key), key])),
    tenantId: TENANT,
    runId: null,
    departedBefore,
  });

test('what was signed while the export was made, or after it, is not missing from it, and is said not to be covered', async () => {
  const [a, late] = [chainOf('a', 4), chainOf('b', 2)];
  const checkpoints = signedOver([leafOf(a, 3)], [leafOf(a, 4), leafOf(late, 2)], [leafOf(late, 1)]);
  const honest = await verify(eventsOf(a, 3), checkpoints, { checkpoint: 1 });
  assert.deepEqual(honest, {
    ok: true,
    checked: 3,
    quarantined: 0,
    checkpoints: 1,
    later_checkpoints: 2,
    absent_checkpoints: 0,
    signed_until: minute(1),
    missing: { count: 0, run_ids: [] },
    departed: 0,
    first_bad: null,
  });
  const cut = await verify(eventsOf(a, 2), checkpoints, { checkpoint: 1 });
  assert.deepEqual([cut.first_bad?.run_id, cut.first_bad?.seq], [a.runId, 3]);
  assert.match(cut.first_bad?.why ?? '', /a checkpoint holds 3 events/);
  for (const checkpoint of [2, 9, undefined]) {
    const { first_bad } = await verify(eventsOf(a, 3), checkpoints, { checkpoint });
    assert.deepEqual([first_bad?.run_id, first_bad?.seq], [a.runId, 4], String(checkpoint));
  }
});

test('a file of checkpoints that was cut says so: the export knows how many there were', async () => {
  const a = chainOf('a', 4);
  const checkpoints = signedOver([leafOf(a, 2)], [leafOf(a, 3)], [leafOf(a, 4)]);
  const absentIn = async (given: number, checkpoint: number | undefined): Promise<unknown[]> => {
    const found = await verify(eventsOf(a), checkpoints.slice(0, given), { checkpoint });
    return [found.checkpoints, found.absent_checkpoints, found.signed_until];
  };
  assert.deepEqual(await absentIn(3, 3), [3, 0, minute(3)]);
  assert.deepEqual(await absentIn(1, 3), [1, 2, minute(1)]);
  assert.deepEqual(await absentIn(0, 3), [0, 3, null]);
  assert.deepEqual(await absentIn(1, undefined), [1, 0, minute(1)], 'of an export that does not tell');
});

test('a signing key is replaced: what each signed is verified with its own, also an export from before', async () => {
  const [a, next] = [chainOf('a', 4), newKey()];
  const checkpoints = signedBy(
    (n) => (n === 1 ? privateKey : next.privateKey),
    [[leafOf(a, 3)], [leafOf(a, 4)]],
  );
  const both = { keys: [next.text, KEY] };
  assert.equal((await verify(eventsOf(a), checkpoints, { ...both, checkpoint: 2 })).ok, true);
  assert.equal((await verify(eventsOf(a, 3), checkpoints, { ...both, checkpoint: 1 })).ok, true);
  for (const [key, seq] of [[KEY, 2] as const, [next.text, 1] as const]) {
    const { first_bad } = await verify(eventsOf(a), checkpoints, { keys: [key], checkpoint: 2 });
    assert.deepEqual([first_bad?.run_id, first_bad?.seq], ['checkpoints', seq]);
    assert.match(first_bad?.why ?? '', /which is not among the given ones/);
  }
});

test('all chains that are missing are counted, the first named; those of a month that left are not among them', async () => {
  const at = (month: number, day: number): Chain => chainOf(Date.UTC(2025, month - 1, day), 2);
  const [old, older, deleted, neighbour, here] = [at(1, 9), at(1, 2), at(2, 9), at(2, 10), at(6, 1)];
  const recent = at(6, 2);
  const checkpoints = signedOver(
    [old, older, deleted, neighbour, recent, here].map((chain) => leafOf(chain, 2)),
  );
  const events = [...eventsOf(neighbour), ...eventsOf(here)];
  const none = await verify(events, checkpoints, {});
  assert.equal(none.ok, false);
  assert.deepEqual(
    [none.departed, none.missing],
    [0, { count: 4, run_ids: [older, old, deleted, recent].map(({ runId }) => runId) }],
  );
  assert.equal(none.first_bad?.run_id, older.runId);
  // February has a run that is there, so it has not left, whoever says so.
  const march = { departedBefore: new Date('2025-03-01') };
  const some = await verify(events, checkpoints, march);
  assert.deepEqual(
    [some.ok, some.departed, some.missing],
    [false, 2, { count: 2, run_ids: [deleted.runId, recent.runId] }],
  );
  assert.deepEqual([some.first_bad?.run_id, some.first_bad?.seq], [deleted.runId, 1]);
  const all = [...eventsOf(deleted), ...events, ...eventsOf(recent)];
  const whole = await verify(all, checkpoints, march);
  assert.deepEqual([whole.ok, whole.departed, whole.missing], [true, 2, { count: 0, run_ids: [] }]);
  const cut = await verify(eventsOf(here, 1), checkpoints, march);
  assert.deepEqual([cut.first_bad?.run_id, cut.first_bad?.seq, cut.missing?.count], [here.runId, 2, 1]);
});

test('of many that are missing some are named', async () => {
  const chains = Array.from({ length: 130 }, (_, n) => chainOf(1_000 + n, 1));
  const { missing } = await verify([], signedOver(chains.map((chain) => leafOf(chain, 1))), {});
  assert.deepEqual([missing?.count, missing?.run_ids.length], [130, 100]);
});

test('a place that a later checkpoint holds with another hash is bad all the same', async () => {
  const a = chainOf('a', 3);
  const checkpoints = signedOver([leafOf(a, 1)], [{ ...leafOf(a, 2), hash: leafOf(a, 3).hash }]);
  const { first_bad } = await verify(eventsOf(a), checkpoints, { checkpoint: 1 });
  assert.deepEqual([first_bad?.run_id, first_bad?.seq], [a.runId, 2]);
});

test('the last line is the last, and names a checkpoint by its number', async () => {
  const a = chainOf('a', 1);
  for (const checkpoint of [-1, 1.5, '1', null]) {
    assert.equal((await verify(eventsOf(a), [], { checkpoint })).ok, false, String(checkpoint));
  }
  const [event = ''] = eventsOf(a);
  const end = '{"end":true,"lines":1,"checkpoint":0}';
  const two = { exported: [event, end, event], checkpoints: [], publicKeys: new Map<string, string>() };
  assert.equal(
    (await verifyExport({ ...two, tenantId: TENANT, runId: null, departedBefore: null })).ok,
    false,
  );
});

test('a chain may have more signed places than a call takes arguments', async () => {
  const count = 200_000;
  const leaves: CheckpointLeaf[] = Array.from({ length: count }, (_, index) => ({
    run_id: adminChainOf(TENANT),
    seq: index + 1,
    hash: GENESIS,
  }));
  const unsigned = { tenant_id: TENANT, n: 1, ts: '2026-01-01T00:00:00.000Z', prev: GENESIS };
  const signed = signCheckpoint({ ...unsigned, root: merkleRoot(leaves), chains: count }, privateKey);
  const verdict = await verifyExport({
    exported: ['{"end":true,"lines":0}'],
    checkpoints: [JSON.stringify({ ...signed, leaves })],
    publicKeys: new Map([[keyIdOf(KEY), KEY]]),
    tenantId: TENANT,
    runId: null,
    departedBefore: null,
  });
  assert.deepEqual(verdict.first_bad, {
    run_id: adminChainOf(TENANT),
    seq: 1,
    why: `the whole chain is missing; a checkpoint holds ${count} events`,
  });
});
