/**
 * A key of one tenant, user, lease or scope that holds another type than it should stops nobody for long, and what it
 * led to goes on (R10).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor, until } from '@signalbox/local';
import { getTenantCaps, readTrust, reindexRuns } from '@signalbox/run-state';
import { keyOf, money } from '../../../../packages/run-state/test/inspect.ts';
import { claim, expireLease, lease } from '../../../../packages/run-state/test/support.ts';
import {
  answer,
  call,
  everyState,
  finish,
  finishOff,
  isTrusted,
  LATER,
  openLoss,
  OTHER,
  own,
  statusOf,
  store,
  submitRun,
  TENANT,
  TODAY,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { hasty, startLoop, tickBench } from '../../test/support.ts';
import { createReindexCounter } from '../metrics.ts';
import { keepIndexes } from './reindex.ts';

const DAY = `spend:tenant:${TENANT}:${TODAY}`;
const MONTH = TODAY.slice(0, 7);

/** More than the slots take. */
const BACKLOG = 12;
const INBOX = 'run:<of the one that waits for room>:inbox';
const LEASE = 'lease:<of the running one>';

const NAMES = [
  `busy:${TENANT}`,
  `ready:${TENANT}`,
  `busy_user:${TENANT}:u1`,
  `ready_user:${TENANT}:u1`,
  `held_back:${TENANT}:u1`,
  `caps:${TENANT}`,
  LEASE,
  `${LEASE}:aborts`,
  INBOX,
  `waiters:${DAY}`,
  DAY,
  `spend:tenant_month:${TENANT}:${MONTH}`,
  `spend:user:${TENANT}:${TODAY}:u1`,
  `spend:user_month:${TENANT}:${MONTH}:u1`,
];

/** As whoever is refused tries again. */
const insist = <T>(what: string, act: () => Promise<T>): Promise<T> => {
  return waitFor(() => act().catch(() => undefined), { what, timeoutMs: 60_000 });
};

for (const one of NAMES) {
  test(`${one} of another type stops nobody else, and is made anew`, async () => {
    const loss = await openLoss();
    const { partition } = loss;
    const { running, ...ids } = await everyState(loss);
    const waiting = [ids.timer, ids.delayed, ids.queued, ids.nobodys];
    for (let i = 0; i < BACKLOG; i += 1) waiting.push(await submitRun(loss));
    const due = await submitRun(loss, { tenantId: OTHER, runAt: LATER });
    const before = await Promise.all(waiting.map((runId) => statusOf(loss, runId)));
    const name = one
      .replace('<of the running one>', running.run.leaseId)
      .replace('<of the one that waits for room>', ids.capacity);
    await partition.redis.del(keyOf(partition, name));
    await partition.redis.set(keyOf(partition, name), 'a text');
    await partition.redis.zadd(keyOf(partition, 'timers'), 1, due);
    const isLost = one === LEASE;
    if (isLost) await expireLease(partition, running.run.leaseId);
    const loop = await startLoop(partition, () => loss.verify());

    await insist('the timer of another', async () => (await statusOf(loss, due)) === 'queued' || undefined);
    await insist('a worker to begin', () => lease(partition, 5));
    const admittedAt = () => partition.redis.zscore(keyOf(partition, 'admitted'), due);
    await insist('the run of another to be admitted', async () => (await admittedAt()) ?? undefined);
    for (const tenantId of [OTHER, TENANT]) {
      const runId = await insist(`a submit of ${tenantId}`, () => submitRun(loss, { tenantId }));
      const owner = await insist(`a claim of ${tenantId}`, () => own(loss, runId));
      assert.equal((await insist(`a call of ${tenantId}`, () => call(owner, 1, 100))).code, 'OK');
      assert.equal((await insist(`an answer of ${tenantId}`, () => answer(owner, 1, 50))).code, 'OK');
      assert.equal((await insist(`an end of ${tenantId}`, () => finish(owner, 1))).code, 'OK');
    }
    if (isLost) await insist('its charge', () => finishOff(loss, running.run.runId, [[1, 500]]));
    else {
      assert.equal((await insist('an answer of what ran', () => answer(running, 1, 300))).code, 'OK');
      await insist('its end', () => finish(running, 1));
    }
    await insist('trust', async () => (await readTrust(partition)) ?? undefined);
    await loop.stop();
    // An end that was half written is made whole.
    await assert.rejects(claim(partition, running.run.runId), /TERMINAL/);
    const told = loss.log.find(({ msg }) => String(msg).startsWith('keys of run state held another type'));
    assert.deepEqual(told?.['keys'], [name]);
    assert.equal(await statusOf(loss, running.run.runId), 'succeeded');
    assert.deepEqual(await Promise.all(waiting.map((runId) => statusOf(loss, runId))), before);
    assert.equal((await reindexRuns(partition, waiting)).putBack, 0);
    assert.deepEqual(await money(partition, DAY), { spent: isLost ? 650 : 450, held: 0 });
    await store(loss);
    await assertSound(loss);
  });
}

test('a key that no script meets is found as the scheduler looks through all', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const stopping = new AbortController();
  const bench = await tickBench(partition);
  const reindexed = createReindexCounter(bench.registry);
  await partition.redis.del(keyOf(partition, `caps:${TENANT}`));
  await partition.redis.set(keyOf(partition, `caps:${TENANT}`), 'a text');
  const indexes = keepIndexes({ ...bench, clock: hasty, reindexed, isLeader: () => true }, stopping.signal);
  await until('trust to be withdrawn', async () => !(await isTrusted(loss)));
  stopping.abort();
  await indexes;
  await loss.verify();
  assert.equal((await getTenantCaps(partition, TENANT)).runNano, 1_000_000);
});
