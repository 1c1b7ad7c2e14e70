import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  findLiveRuns,
  type LiveRunFilter,
  type Partition,
  requestAbort,
  withdrawTrust,
} from '../src/index.ts';
import { aborted, FLAG, parked } from './drafts.ts';
import { keyOf } from './inspect.ts';
import { parkedRun, sleepAll } from './steps.ts';
import { claim, code, freshPartition, openRedis, running, submit, TENANT } from './support.ts';

const find = (partition: Partition, filter: LiveRunFilter = {}, limit = 10_000) =>
  findLiveRuns(partition, TENANT, { filter, limit });

test('more runs than a batch, of two tenants: each once, oldest first, in every state', async () => {
  const partition = await freshPartition();
  const mine: string[] = [];
  for (let i = 0; i < 1100; i += 1) {
    const { runId } = await submit(partition, { tenantId: i % 2 === 0 ? TENANT : 'other' });
    if (i % 2 === 0) mine.push(runId);
  }
  const owner = await running(partition);
  const waiting = await running(partition);
  const after = { type: 'park', reason: 'timer', wakeSeq: 1, dueMs: null, capacity: null } as const;
  await waiting.write({ announce: [parked('timer')], after });
  const ended = await running(partition);
  await ended.write({ announce: [aborted()], after: { type: 'finish', status: 'aborted' } });
  mine.push(owner.run.runId, waiting.run.runId);

  assert.deepEqual(await find(partition), { runIds: mine, more: false });
  assert.deepEqual(await find(partition, {}, mine.length), { runIds: mine, more: false });
  const some = { runIds: [...mine.slice(0, 500), owner.run.runId], more: true };
  assert.deepEqual(
    await find(partition, {}, 501),
    some,
    'of more than the limit what is at work comes first',
  );
  assert.deepEqual((await find(partition, { status: 'running' })).runIds, [owner.run.runId]);
  assert.deepEqual((await find(partition, { status: 'waiting' })).runIds, [waiting.run.runId]);
});

test('no answer at all from a server whose data is not verified', async () => {
  const partition = await freshPartition();
  await submit(partition);
  await withdrawTrust(partition);
  await assert.rejects(find(partition), code('state_untrusted'));
});

/** The same partition through a connection of its own, on which something happens before an index is first looked at. */
const meanwhile = async (
  partition: Partition,
  index: string,
  act: () => Promise<unknown>,
): Promise<Partition> => {
  const redis = await openRedis();
  const send = redis.sendCommand.bind(redis);
  let acted = false;
  redis.sendCommand = (...sent) => {
    if (acted || !sent[0].args.some((arg) => arg === keyOf(partition, index))) return send(...sent);
    acted = true;
    return act().then(() => send(...sent));
  };
  return { ...partition, redis };
};

test('a run that changes its state while the indexes are read is found, wherever it goes', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const claimed = await meanwhile(partition, 'queued:0', () => claim(partition, runId));
  assert.deepEqual(await find(claimed), { runIds: [runId], more: false });

  const sleeper = await parkedRun(partition);
  const slept = await meanwhile(partition, 'parked', () => sleepAll(partition));
  assert.deepEqual((await find(slept, { status: 'waiting' })).runIds, [sleeper.run.runId]);
  const abort = { runId: sleeper.run.runId, tenantId: TENANT, flag: FLAG };
  const woken = await meanwhile(partition, 'asleep', () => requestAbort(partition, abort));
  assert.deepEqual((await find(woken, { status: 'waiting' })).runIds, [sleeper.run.runId]);
});

test('a search in which the server lost its data, or was verified again, answers nothing', async () => {
  const partition = await freshPartition();
  await submit(partition);
  const trust = keyOf(partition, 'trust');
  const verified = await meanwhile(partition, 'running', () => partition.redis.hset(trust, 'incarnation', 1));
  await assert.rejects(find(verified), code('state_untrusted'));
  assert.equal((await find(partition)).runIds.length, 1);
  const lost = await meanwhile(partition, 'running', () => withdrawTrust(partition));
  await assert.rejects(find(lost), code('state_untrusted'));
});

/** Runs of others, of which only the ids in the index are here. */
const addOthers = async (partition: Partition, ids: readonly string[], score: (i: number) => number) => {
  const rows = ids.flatMap((id, i) => [score(i), id]);
  await partition.redis.zadd(keyOf(partition, 'asleep'), ...rows);
};

const idsFrom = (first: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `run_${first}${String(i).padStart(8, '0')}`);

/** The same partition through a connection of its own, and how much the largest reply to one command held. */
const measured = async (partition: Partition): Promise<{ partition: Partition; largest: () => number }> => {
  const redis = await openRedis();
  const send = redis.sendCommand.bind(redis);
  let largest = 0;
  redis.sendCommand = (...sent) => {
    const note = (reply: unknown): void => {
      largest = Math.max(largest, [reply].flat(3).length);
    };
    sent[0].promise.then(note, () => undefined);
    return send(...sent);
  };
  return { partition: { ...partition, redis }, largest: () => largest };
};

const SOME_THOUSANDS = 4000;

test('among many sleepers of others no command reads more than some thousands, and none is passed over', async () => {
  const partition = await freshPartition();
  const mine = [await parkedRun(partition), await parkedRun(partition)].map(({ run }) => run.runId);
  await sleepAll(partition);
  const [first = ''] = mine;
  // More of one instant than a page holds, with the run behind them by its id.
  await partition.redis.zadd(keyOf(partition, 'asleep'), 5, first);
  await addOthers(partition, idsFrom('00', 1500), () => 5);
  await addOthers(partition, idsFrom('ff', 8500), (i) => 10 + i);

  const { partition: own, largest } = await measured(partition);
  assert.deepEqual(await find(own), { runIds: mine, more: false });
  assert.ok(largest() > 500 && largest() <= SOME_THOUSANDS, `${largest()} in one reply`);
});

test('of more than the limit those that were not asked to stop yet come first, so that a repeat gets on', async () => {
  const partition = await freshPartition();
  const sleepers = new Set<string>();
  for (let n = 0; n < 4; n += 1) sleepers.add((await parkedRun(partition)).run.runId);
  await sleepAll(partition);
  for (let n = 0; n < 2; n += 1) {
    const { runIds, more } = await find(partition, {}, 2);
    assert.deepEqual([runIds.length, more], [2, true]);
    for (const runId of runIds) {
      assert.ok(sleepers.delete(runId), `${runId} was found before`);
      await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
    }
  }
  assert.equal((await find(partition)).runIds.length, 4, 'they have not ended before they were loaded');
});
