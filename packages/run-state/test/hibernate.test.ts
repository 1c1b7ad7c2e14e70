/** Which parked runs hibernate, and what is left of them here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import {
  awakenRun,
  expireWaits,
  findLiveRuns,
  hibernateRuns,
  listSleepy,
  markStored,
  type Partition,
  readDemand,
  readEntries,
  readLiveHeads,
  readRun,
  wakeRun,
} from '../src/index.ts';
import { DAY, parked } from './drafts.ts';
import { allKeys, journal, keyOf, record } from './inspect.ts';
import { ALL, firstEntry, park, parkedRun, SESSION, sleepAll, storedCopy } from './steps.ts';
import { claim, freshPartition, type Owner, running, submit, TENANT } from './support.ts';

const keysOf = async (partition: Partition, runId: string): Promise<string[]> =>
  (await allKeys(partition)).filter((key) => key.includes(runId)).toSorted();

test('of a run that hibernates one small record is left, and it is still found', async () => {
  const partition = await freshPartition();
  const { run } = await parkedRun(partition, { dueMs: Date.now() + 3_600_000 });
  const { runId } = run;
  assert.deepEqual(await sleepAll(partition), [runId]);

  assert.deepEqual(await keysOf(partition, runId), [keyOf(partition, `run:${runId}`)]);
  const here = await record(partition, runId);
  assert.deepEqual([here['status'], here['reason'], here['seq']], ['waiting', 'timer', '2']);
  assert.equal(here['key'], undefined, 'the key of its contents is nowhere but in Postgres');
  assert.equal(await partition.redis.object('ENCODING', keyOf(partition, `run:${runId}`)), 'listpack');
  assert.ok(Number(await partition.redis.memory('USAGE', keyOf(partition, `run:${runId}`))) < 700);

  assert.equal(await readRun(partition, { tenantId: TENANT, runId }, 'all'), null);
  assert.equal(await readEntries(partition, TENANT, { runId, after: 0, limit: 10 }), null);
  assert.deepEqual(await readEntries(partition, TENANT, { runId, after: 2, limit: 10 }), []);
  assert.equal(await readEntries(partition, 'other', { runId, after: 2, limit: 10 }), null);
  const { parked: waiting, delayed, runnable } = await readDemand(partition, Date.now());
  assert.deepEqual([waiting, delayed, runnable], [1, 1, 0]);
  assert.deepEqual([...(await readLiveHeads(partition))], [[runId, 2]]);
  for (const filter of [
    { status: 'waiting' as const, agent: 'support', user_id: 'u1' },
    { session_id: SESSION },
    { created_after: '2026-01-01T00:00:00.000Z', created_before: '2026-01-01T00:00:00.001Z' },
  ]) {
    assert.deepEqual((await findLiveRuns(partition, TENANT, { filter, limit: 10 })).runIds, [runId]);
  }
  const others = { session_id: 'other' };
  assert.deepEqual((await findLiveRuns(partition, TENANT, { filter: others, limit: 10 })).runIds, []);
});

test('it stays as it is while its events are not stored, it has an open hold, or it is not parked for long', async () => {
  const partition = await freshPartition();
  await parkedRun(partition, {}, false);
  assert.deepEqual(await listSleepy(partition, ALL), { seen: 1, runs: [] });

  const holding = await running(partition);
  await holding.write({ announce: [parked('timer')], hold: { id: 'h', amount: 5, day: DAY } });
  const last = await claimOf(holding);
  await park(last);
  await markStored(partition, [{ runId: holding.run.runId, seq: 3 }], 60);
  assert.equal((await listSleepy(partition, ALL)).runs.length, 1);
  assert.deepEqual(await sleepAll(partition), []);
  assert.ok((await journal(partition, holding.run.runId)).length > 0);

  const recent = await parkedRun(partition);
  assert.deepEqual((await listSleepy(partition, { ...ALL, parkedMs: 60_000 })).seen, 0);
  assert.deepEqual(await sleepAll(partition), [recent.run.runId]);
});

/** The same owner: its journal has grown. */
const claimOf = (owner: Owner): Promise<Owner> => Promise.resolve(owner);

test('a run that was woken or went on since Postgres was asked does not sleep', async () => {
  const partition = await freshPartition();
  const [woken, resumed, same] = [
    await parkedRun(partition),
    await parkedRun(partition),
    await parkedRun(partition),
  ];
  const { runs } = await listSleepy(partition, ALL);
  await wakeRun(partition, woken.run.runId, 'timer');
  await wakeRun(partition, resumed.run.runId, 'timer');
  const owner = await claim(partition, resumed.run.runId);
  await park(owner);
  assert.deepEqual(await hibernateRuns(partition, runs), [same.run.runId]);
  const [entry] = runs.filter(({ runId }) => runId === same.run.runId);
  assert.deepEqual(await hibernateRuns(partition, entry === undefined ? [] : [entry]), [], 'nor twice');
});

test('a long user id or session is no reason to be lost', async () => {
  const partition = await freshPartition();
  const { runId, entry } = firstEntry();
  await submit(partition, { runId, userId: 'u'.repeat(256), entries: [entry], dueMs: Date.now() + 60_000 });
  await markStored(partition, [{ runId, seq: 1 }], 60);
  assert.deepEqual(await sleepAll(partition), [runId]);
  assert.equal((await record(partition, runId))['user'], 'u'.repeat(256));
});

test('nothing sleeps, wakes or expires on a server that is not verified', async () => {
  const partition = await freshPartition();
  const { run } = await parkedRun(partition);
  const stored = await storedCopy(partition, run.runId);
  const { runs } = await listSleepy(partition, ALL);
  await partition.redis.del(keyOf(partition, 'trust'));
  const untrusted = (error: unknown): boolean =>
    error instanceof SignalboxError && error.code === 'state_untrusted';
  await assert.rejects(hibernateRuns(partition, runs), untrusted);
  await assert.rejects(awakenRun(partition, stored), untrusted);
  await assert.rejects(
    expireWaits(partition, { index: 'parked', longestMs: 0, skip: 0, limit: 10 }),
    untrusted,
  );
  assert.equal((await journal(partition, run.runId)).length, 2);
});
