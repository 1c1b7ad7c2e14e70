/** A key that all tenants share and that holds another type than it should stops nobody for long (R10). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { readTrust, reindexRuns, releaseRuns, requestAbort } from '@signalbox/run-state';
import {
  assertNoTraces,
  eventTypes,
  keyOf,
  money,
  record,
} from '../../../../packages/run-state/test/inspect.ts';
import { claim } from '../../../../packages/run-state/test/support.ts';
import {
  answer,
  everyState,
  finish,
  LATER,
  own,
  untrusted,
  type Loss,
  openLoss,
  statusOf,
  store,
  submitRun,
  TENANT,
  TODAY,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { startLoop, tickBench } from '../../test/support.ts';
import { createReindexCounter } from '../metrics.ts';
import { keepIndexes } from './reindex.ts';

const KEYS = `admitted queued:0 queued:1 queued:2 running parked asleep loading timers aborting pressured promised turns
  leases slots scopes capped_users capped_tenants unrestored trust pressure audit leader:scheduler leader:audit-writer`;

/** Those of the runs below that ask anew, or get another worker: whom nobody knows to be alive is taken for dead. */
const WOKEN: Readonly<Record<string, readonly number[]>> = { leases: [0, 1, 3], timers: [2, 5] };

const spoil = async ({ partition }: Loss, name: string): Promise<void> => {
  const key = keyOf(partition, name);
  await partition.redis.del(key);
  if (name.startsWith('leader:')) await partition.redis.hset(key, 'a', 'hash');
  else await partition.redis.set(key, 'a text');
};

/** A whole scheduler, until run state is trusted again. */
const mended = async (loss: Loss): Promise<void> => {
  const { partition } = loss;
  const before = (await readTrust(partition).catch(() => null))?.incarnation ?? 0;
  const stopping = new AbortController();
  const bench = await tickBench(partition);
  const reindexed = createReindexCounter(bench.registry);
  const indexes = keepIndexes({ ...bench, reindexed, isLeader: () => false }, stopping.signal);
  const loop = await startLoop(partition, () => loss.verify());
  await until('run state to be verified anew', async () => {
    const trust = await readTrust(partition).catch(() => null);
    return trust !== null && trust.incarnation > before;
  });
  stopping.abort();
  await indexes;
  await loop.stop();
};

const told = ({ log }: Loss): unknown =>
  log.find(({ msg }) => String(msg).startsWith('keys of run state held another type'))?.['keys'];

for (const name of KEYS.split(/\s+/)) {
  test(`${name} of another type is set aside and told of, and no run is lost, doubled or paid for again`, async () => {
    const loss = await openLoss();
    const { partition } = loss;
    const { running, between, ...ids } = await everyState(loss);
    const runIds = [
      running.run.runId,
      between.run.runId,
      ids.timer,
      ids.capacity,
      ids.queued,
      ids.delayed,
      ids.nobodys,
    ];
    const statuses = () => Promise.all(runIds.map((runId) => statusOf(loss, runId)));
    const before = await statuses();
    await spoil(loss, name);
    await mended(loss);
    assert.deepEqual(told(loss), [name]);
    assert.deepEqual(
      await statuses(),
      before.map((status, i) => (WOKEN[name]?.includes(i) ? 'queued' : status)),
    );
    assert.equal((await reindexRuns(partition, runIds)).putBack, 0);
    assert.deepEqual(
      await money(partition, `spend:tenant:${TENANT}:${TODAY}`),
      name === 'leases' ? { spent: 600, held: 0 } : { spent: 100, held: 500 },
    );
    const reply = await answer(running, 1, 300);
    assert.equal(reply.code, name === 'leases' ? 'FENCED' : 'OK');
    await submitRun(loss);
    await store(loss);
    for (const { id, last_seq: seq } of await loss.db.selectFrom('runs').select(['id', 'last_seq']).execute())
      assert.equal(
        String(seq),
        (await record(partition, id))['seq'],
        `${id} has events that are nowhere else`,
      );
    assert.equal((await loss.db.selectFrom('runs').select('id').execute()).length, 9);
    await assertSound(loss);
    const aside = (await partition.redis.keys(keyOf(partition, 'strange:*'))).map((key) =>
      key.split(':').slice(3, -1).join(':'),
    );
    assert.deepEqual(aside, [name], 'what was there can be looked at');
  });
}

for (const name of ['running', 'admitted', 'audit']) {
  test(`an end that was half written when ${name} was of another type is made whole, and is not told twice`, async () => {
    const loss = await openLoss();
    const { partition } = loss;
    const owner = await own(loss, await submitRun(loss));
    const { runId } = owner.run;
    await spoil(loss, name);
    await assert.rejects(finish(owner, 0), untrusted);
    assert.equal(await statusOf(loss, runId), 'running');
    await mended(loss);
    // Its owner is answered that all is written, and works on it no more: it is let go (worker.ts).
    await releaseRuns(partition, owner.run.leaseId, [runId]);
    assert.equal(await statusOf(loss, runId), 'queued');
    const flag = { requested_at: LATER, by: 'key_1', reason: null };
    await requestAbort(partition, { runId, tenantId: TENANT, flag });
    await assert.rejects(claim(partition, runId), /TERMINAL/);
    assert.equal(await statusOf(loss, runId), 'succeeded');
    assert.deepEqual(await eventTypes(partition, runId), ['run.submitted', 'run.claimed', 'run.succeeded']);
    await store(loss);
    const stored = await loss.db.selectFrom('runs').select(['status', 'last_seq']).execute();
    assert.deepEqual(stored, [{ status: 'succeeded', last_seq: 3 }]);
    await assertNoTraces(partition, runId);
  });
}
