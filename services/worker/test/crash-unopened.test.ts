/** Runs that a worker cannot open or write: who ends them, when, and what they are charged (R6). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { requestAbort, runKey } from '@signalbox/run-state';
import { createKeyring } from '@signalbox/runtime';
import { requested } from '../../../packages/run-state/test/drafts.ts';
import { claim } from '../../../packages/run-state/test/support.ts';
import { fakeProvider, HAIKU } from './fake.ts';
import { openWorld, type RunSeen, TENANT, type World } from './harness.ts';
import type { TestWorker } from './test-worker.ts';
import { LeapClock } from './leap-clock.ts';
import { tenantDay, today } from './spend.ts';

const otherKeys = () => createKeyring([{ id: 'other', key: randomBytes(32) }]);

describe('a run that cannot be worked on', () => {
  test('a damaged content ends it as poison after three claims', async () => {
    const world = await openWorld();
    const runId = await world.submit({ input: 'x' });
    const { state } = await world.read(runId);
    await world.partition.redis.hset(runKey(world.partition, runId, 'contents'), state.specRef, 'AAAA');
    await world.settle(await world.worker());
    const run = await world.read(runId);
    assert.equal(run.state.error?.code, 'poison_step');
    assert.deepEqual(
      run.all('run.handed_over').map(({ reason }) => reason),
      ['error', 'error', 'error'],
    );
    assert.equal(run.broken, null);
  });

  test('a note that nobody of us left says only that something happened: the run goes on to its end', async () => {
    const world = await openWorld();
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    for (const note of ['no JSON', '{"type":"praise"}'])
      await world.partition.redis.rpush(runKey(world.partition, runId, 'inbox'), note);
    await world.settle(await world.worker());
    const run = await world.read(runId);
    assert.deepEqual([run.broken, run.state.status, run.all('run.claimed').length], [null, 'succeeded', 1]);
    assert.equal(run.all('run.woken').length, 2);
  });

  test('one whose record has no key any more is let go as one that cannot be opened', async () => {
    const world = await openWorld();
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    await world.partition.redis.hdel(runKey(world.partition, runId), 'key');
    const worker = await world.worker({ clock: new LeapClock() });
    for (const one of world.pending.splice(0)) await worker.work(one);
    assert.deepEqual(
      [await world.field(runId, 'owner'), await world.field(runId, 'status')],
      [null, 'queued'],
    );
    assert.notEqual(await world.field(runId, 'unopened'), null);
  });

  test('a write that the store cannot take ends it as poison, without a gap in its journal', async () => {
    const world = await openWorld();
    const provider = await fakeProvider();
    const runId = await world.submit({ spec: { model: HAIKU } });
    await world.partition.redis.set(runKey(world.partition, runId, 'holds'), 'no hash');
    await world.settle(await world.worker({ provider }));
    const run = await world.read(runId);
    assert.equal(run.broken, null);
    assert.deepEqual([run.state.status, run.state.error?.code], ['failed', 'poison_step']);
    assert.equal(run.all('run.claimed').length, 4);
    assert.equal(provider.ledger.length, 0);
  });

  test('a worker without its key lets it go, so that one with the key can have it', async () => {
    const world = await openWorld();
    const stranger = await world.worker({ keyring: otherKeys(), clock: new LeapClock() });
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    for (const one of world.pending.splice(0)) await stranger.work(one);
    assert.equal(await world.field(runId, 'owner'), null);
    await world.settle(await world.worker());
    assert.equal((await world.read(runId)).output, 'x');
  });

  test('and takes it as often as it likes: it is not let go at once, counts as one, and the run is done', async () => {
    const world = await openWorld();
    const clock = new LeapClock();
    const stranger = await world.worker({ keyring: otherKeys(), clock });
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    for (let claim = 1; claim <= 40; claim += 1) {
      for (const one of world.pending.splice(0)) await stranger.work(one);
    }
    assert.deepEqual(clock.slept.slice(0, 1), [1000]);
    assert.deepEqual(new Set(clock.slept.slice(-5)), new Set([25_000]));
    assert.ok(clock.slept.reduce((sum, ms) => sum + ms) > 10 * 60_000);
    await world.settle(await world.worker());
    const run = await world.read(runId);
    assert.equal(run.output, 'x');
    assert.equal(run.all('run.handed_over').length, 40);
    assert.equal(await world.field(runId, 'unopened'), null);
  });

  test('as two others could not: that ends it only after longer than a deploy takes', async () => {
    const world = await openWorld();
    const clock = new LeapClock();
    const strangers = await Promise.all([1, 2, 3].map(() => world.worker({ keyring: otherKeys(), clock })));
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    const tryAll = async (): Promise<void> => {
      for (const stranger of strangers) {
        for (const one of world.pending.splice(0)) await stranger.work(one);
      }
    };
    for (let round = 1; round <= 4; round += 1) await tryAll();
    assert.equal(await world.field(runId, 'status'), 'queued');
    clock.leap(10 * 60_000);
    await tryAll();
    const run = await world.read(runId);
    assert.equal(run.state.error?.code, 'poison_step');
    assert.match(
      run.state.error?.message ?? '',
      /^No worker could open the run, .* for 1\d minutes; 3 tried\.$/,
    );
    assert.equal(await world.field(runId, 'status'), 'failed');
    assert.equal(run.broken, null);
  });

  test('where nobody else is there to try, a day ends it', async () => {
    const world = await openWorld();
    const clock = new LeapClock();
    const alone = await world.worker({ keyring: otherKeys(), clock });
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    const tryOnce = async (): Promise<void> => {
      for (const one of world.pending.splice(0)) await alone.work(one);
    };
    await tryOnce();
    clock.leap(23 * 3_600_000);
    await tryOnce();
    assert.equal(await world.field(runId, 'status'), 'queued');
    clock.leap(3_600_000);
    await tryOnce();
    assert.equal((await world.read(runId)).state.error?.code, 'poison_step');
  });

  test('a stop that is asked for while it waits to let go ends it at once', async () => {
    const world = await openWorld();
    const stranger = await world.worker({ keyring: otherKeys() });
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    const [first] = world.pending.splice(0);
    await stranger.work(first ?? { runId: '', wakeSeq: 0 });
    // From here each wait is longer.
    await world.partition.redis.hset(
      runKey(world.partition, runId),
      'unopened',
      `${Date.now() - 600_000} lease`,
    );
    const working = world.settle(stranger);
    await until('it is claimed', () => stranger.runs.active === 1);
    const flag = { requested_at: new Date().toISOString(), by: 'key_1', reason: null };
    await requestAbort(world.partition, { runId, tenantId: TENANT, flag });
    const asked = performance.now();
    stranger.runs.abort(runId);
    await working;
    assert.ok(performance.now() - asked < 20_000);
    assert.equal((await world.read(runId)).state.status, 'aborted');
  });

  test('a worker that fails at several runs in a row knows, and knows when it can open one again', async () => {
    const world = await openWorld();
    const stranger = await world.worker({ keyring: otherKeys(), clock: new LeapClock() });
    await world.submit();
    for (let claim = 1; claim <= 10; claim += 1) {
      for (const one of world.pending.splice(0)) await stranger.work(one);
    }
    assert.equal(stranger.opens.isUnfit, false, 'a single run says nothing of the worker');
    for (let run = 1; run <= 4; run += 1) await world.submit();
    await Promise.all(world.pending.splice(0).map((one) => stranger.work(one)));
    assert.equal(stranger.opens.isUnfit, true);
    stranger.opens.opened();
    assert.equal(stranger.opens.isUnfit, false);
  });
});

describe('a run that cannot be opened, with a call left open', () => {
  /** Handed over by a worker that broke between the announcement of a call and its record. */
  const broken = async () => {
    const world = await openWorld();
    const runId = await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    world.pending.splice(0);
    const owner = await claim(world.partition, runId);
    const hold = { id: `${runId}:1:1`, amount_nano: 5000, day: today(), price_version: 'p1' };
    await owner.write({
      announce: [requested(1, hold)],
      hold: { id: hold.id, amount: hold.amount_nano, day: hold.day },
    });
    await owner.write({
      announce: [{ type: 'run.handed_over', data: { reason: 'error' } }],
      after: { type: 'hand_over', failed: true },
    });
    await world.repair();
    assert.deepEqual(await tenantDay(world), { spent: 0, held: 5000 });
    const stranger = await world.worker({ keyring: otherKeys(), clock: new LeapClock() });
    return { world, runId, stranger };
  };

  const assertCharged = async (world: World, runId: string): Promise<RunSeen> => {
    assert.deepEqual(await tenantDay(world), { spent: 5000, held: 0 });
    const run = await world.read(runId);
    assert.equal(run.broken, null);
    assert.equal(run.all('cost.expired').length, 1);
    assert.deepEqual([run.state.observedNano, run.state.heldNano], [5000, 0]);
    return run;
  };

  const assertCounted = async (
    { metrics: { registry } }: TestWorker,
    { status, code }: { status: string; code: string },
  ): Promise<string> => {
    const metrics = await registry.render();
    const labels = `agent="support",status="${status}",code="${code}"`;
    assert.match(metrics, new RegExp(`^signalbox_runs_finished_total\\{${labels}\\} 1$`, 'm'));
    assert.match(metrics, /^signalbox_cost_usd_total\{.*\} 0\.000005$/m);
    return metrics;
  };

  test('ends as poison with its hold charged', async () => {
    const { world, runId, stranger } = await broken();
    await world.partition.redis.hset(runKey(world.partition, runId), 'unopened', '1 lease_a lease_b');
    await world.settle(stranger);
    const run = await assertCharged(world, runId);
    assert.equal(run.state.error?.code, 'poison_step');
    await assertCounted(stranger, { status: 'failed', code: 'poison_step' });
  });

  test('ends as aborted with its hold charged, when that is asked for', async () => {
    const { world, runId, stranger } = await broken();
    const flag = { requested_at: new Date().toISOString(), by: 'key_1', reason: 'wrong customer' };
    await requestAbort(world.partition, { runId, tenantId: TENANT, flag });
    await world.settle(stranger);
    const run = await assertCharged(world, runId);
    assert.equal(run.state.status, 'aborted');
    assert.equal(run.all('run.aborted')[0]?.settled_nano, 5000);
    assert.deepEqual(run.all('run.abort_requested'), [flag], 'who asked stands in the journal');
    const metrics = await assertCounted(stranger, { status: 'aborted', code: '' });
    assert.match(metrics, /^signalbox_aborts_total\{state="between_steps"\} 1$/m);
    assert.match(metrics, /^signalbox_abort_latency_seconds_count 1$/m);
  });

  test('is charged once when it is asked to stop just as it ends as poison', async () => {
    const { world, runId, stranger } = await broken();
    await world.partition.redis.hset(runKey(world.partition, runId), 'unopened', '1 lease_a lease_b');
    const [activation] = world.pending.splice(0);
    const flag = { requested_at: new Date().toISOString(), by: 'key_1', reason: null };
    // Behind its claim, before its end.
    const { redis } = world.partition;
    await redis.hset(runKey(world.partition, runId), 'abort', JSON.stringify(flag));
    await redis.rpush(runKey(world.partition, runId, 'inbox'), JSON.stringify({ ...flag, type: 'abort' }));
    await stranger.work(activation ?? { runId: '', wakeSeq: 0 });
    const run = await assertCharged(world, runId);
    assert.deepEqual([run.state.status, run.all('run.abort_requested')], ['aborted', [flag]]);
    await assertCounted(stranger, { status: 'aborted', code: '' });
  });
});
