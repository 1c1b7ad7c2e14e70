/** Workers that die, freeze or break in the middle of a run (R3, R4, R6). */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { requestAbort, runKey } from '@signalbox/run-state';
import { createKeyring } from '@signalbox/runtime';
import { requested } from '../../../packages/run-state/test/drafts.ts';
import { claim } from '../../../packages/run-state/test/support.ts';
import { fakeProvider, HAIKU, inTurn } from './fake.ts';
import { openWorld, type RunSeen, script, TENANT, until, type World } from './harness.ts';
import { LeapClock } from './leap-clock.ts';
import { gate, toolboxWith } from './tools.ts';

/** Short enough that what a dead worker still tries is over soon. */
const MORTAL = { leaseMs: 3000 };

const toolCall = (id: string) => ({
  toolCalls: [{ id, name: 'calculator', arguments: '{"expression":"1+1"}' }],
});
const today = () => new Date().toISOString().slice(0, 10);
const otherKeys = () => createKeyring([{ id: 'other', key: randomBytes(32) }]);
const tenantDay = (world: World) => world.money(`spend:tenant:${TENANT}:${today()}`);
const charged = (run: RunSeen) =>
  run.events.reduce(
    (sum, { data }) =>
      sum + ('settlement' in data && data.settlement !== null ? data.settlement.observed_nano : 0),
    0,
  );

describe('a worker dies during a model call', { concurrency: true }, () => {
  test('what was completed is not called again; what was open is charged whole and called again', async () => {
    const world = await openWorld();
    const never = gate();
    const turns = inTurn(
      toolCall('c1'),
      async () => {
        await never.opened;
        return { text: 'from the grave' };
      },
      { text: 'done', usage: { input_tokens: 50, output_tokens: 10 } },
    );
    const provider = await fakeProvider(turns.behave);
    const first = await world.worker({ ...MORTAL, provider });
    const runId = await world.submit({ spec: { model: HAIKU, tools: ['calculator'] } });
    const lost = world.settle(first);
    await until('the second call is open', () => turns.requests.length === 2);
    first.die();
    await world.expire(first.leaseId);

    const second = await world.worker({ provider });
    await world.settle(second);
    const run = await world.read(runId);
    assert.equal(run.state.status, 'succeeded');
    assert.equal(run.output, 'done');
    assert.equal(run.broken, null);
    assert.equal(turns.requests.length, 3, 'the first call was not made again');
    assert.deepEqual(turns.requests[2]?.messages, turns.requests[1]?.messages);
    const [, , again] = run.all('llm.requested');
    assert.deepEqual([again?.step, again?.attempt], [3, 2]);
    const [expired] = run.all('cost.expired');
    const uncertain = run.all('llm.requested')[1]?.hold;
    assert.deepEqual(expired?.settlement, {
      hold_id: uncertain?.id,
      observed_nano: uncertain?.amount_nano,
      estimated: true,
    });
    assert.deepEqual(
      run.all('run.claimed').map(({ resumed }) => resumed),
      [false, true],
    );
    assert.deepEqual(await tenantDay(world), { spent: charged(run), held: 0 });
    assert.deepEqual([run.state.observedNano, run.state.heldNano], [charged(run), 0]);
    never.open();
    await lost;
    assert.equal((await world.read(runId)).state.seq, run.state.seq);
  });

  test('three workers lost at the same step: the run is ended, and nothing stays held', async () => {
    const world = await openWorld();
    const never = gate();
    const turns = inTurn(async () => {
      await never.opened;
      return {};
    });
    const provider = await fakeProvider(turns.behave);
    const runId = await world.submit({ spec: { model: HAIKU } });
    const lost: Promise<void>[] = [];
    for (let n = 1; n <= 3; n += 1) {
      const worker = await world.worker({ ...MORTAL, provider });
      lost.push(world.settle(worker));
      await until(`call ${n} is open`, () => turns.requests.length === n);
      worker.die();
      await world.expire(worker.leaseId);
    }
    await world.settle(await world.worker({ provider }));
    const run = await world.read(runId);
    assert.deepEqual([run.state.status, run.state.error?.code], ['failed', 'poison_step']);
    assert.equal(turns.requests.length, 3);
    assert.equal(run.all('cost.expired').length, 3);
    assert.deepEqual(await tenantDay(world), { spent: charged(run), held: 0 });
    assert.ok(charged(run) > 0);
    assert.equal(run.broken, null);
    never.open();
    await Promise.all(lost);
  });

  test('a free call that was lost is made again as well', async () => {
    const world = await openWorld();
    const first = await world.worker(MORTAL);
    const runId = await world.submit({ input: script({ text: 'hi', delay_ms: 3_000 }) });
    const lost = world.settle(first);
    await until('the call is announced', async () =>
      (await world.read(runId)).types.includes('llm.requested'),
    );
    first.die();
    await world.expire(first.leaseId);
    await world.settle(await world.worker());
    const run = await world.read(runId);
    assert.deepEqual([run.state.status, run.output], ['succeeded', 'hi']);
    assert.equal(run.all('llm.failed')[0]?.code, 'worker_lost');
    await lost;
  });
});

describe('a worker dies while a tool runs', { concurrency: true }, () => {
  const play = async (repeatable: boolean) => {
    const world = await openWorld();
    const never = gate();
    const keys: string[] = [];
    const toolbox = toolboxWith(
      async (key, { idempotencyKey }) => {
        if (key === 'quick') return 'quick';
        keys.push(idempotencyKey);
        if (keys.length === 1) await never.opened;
        return 'slow';
      },
      { repeatable },
    );
    const first = await world.worker({ ...MORTAL, toolbox });
    const call = (key: string) => ({ id: key, name: 'http_request', arguments: { key } });
    const runId = await world.submit({
      input: script({ tool_calls: [call('slow'), call('quick')] }, { text: '{{tool_results}}' }),
      spec: { tools: ['http_request'] },
    });
    const lost = world.settle(first);
    await until('the quick one is done', async () =>
      (await world.read(runId)).types.includes('tool.completed'),
    );
    first.die();
    await world.expire(first.leaseId);
    await world.settle(await world.worker({ toolbox }));
    never.open();
    await lost;
    return { run: await world.read(runId), keys, runId };
  };

  test('safe to repeat: it is called again with the same key, and the other one is not', async () => {
    const { run, keys, runId } = await play(true);
    assert.equal(run.output, 'slow, quick');
    assert.deepEqual(keys, [`${runId}:2:slow`, `${runId}:2:slow`]);
    assert.equal(run.all('tool.requested').length, 3);
    assert.equal(run.all('llm.requested').length, 2);
    assert.equal(run.broken, null);
  });

  test('not safe to repeat: the run fails and says which tool', async () => {
    const { run, keys } = await play(false);
    assert.deepEqual([run.state.error?.code, run.state.error?.step], ['uncertain_effect', 2]);
    assert.match(run.state.error?.message ?? '', /http_request/);
    assert.equal(keys.length, 1);
  });
});

describe('a worker that was thought dead', () => {
  test('writes nothing any more, however far it got', async () => {
    const world = await openWorld();
    const thaw = gate();
    const turns = inTurn(
      async () => {
        await thaw.opened;
        return { text: 'zombie' };
      },
      { text: 'heir' },
    );
    const provider = await fakeProvider(turns.behave);
    const zombie = await world.worker({ provider });
    const runId = await world.submit({ spec: { model: HAIKU } });
    const frozen = world.settle(zombie);
    await until('its call is open', () => turns.requests.length === 1);
    await world.expire(zombie.leaseId);
    await world.settle(await world.worker({ provider }));
    const before = await world.read(runId);
    const books = await tenantDay(world);
    assert.equal(before.output, 'heir');

    thaw.open();
    await frozen;
    const after = await world.read(runId);
    assert.deepEqual(after.types, before.types);
    assert.equal(after.state.hash, before.state.hash);
    assert.deepEqual(await tenantDay(world), books);
    assert.equal(await world.field(runId, 'status'), 'succeeded');
    assert.match(await zombie.metrics.registry.render(), /signalbox_fenced_writes_total 1/);
  });
});

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

  test('a write that the store cannot take ends it as poison, without a gap in its journal', async () => {
    const world = await openWorld();
    await world.partition.redis.set(`${world.partition.root}:spend:tenant:${TENANT}:${today()}`, 'no hash');
    const provider = await fakeProvider();
    const runId = await world.submit({ spec: { model: HAIKU } });
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
    assert.match(run.state.error?.message ?? '', /^No worker could open the run for 1\d minutes; 3 tried\.$/);
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

  test('ends as poison with its hold charged', async () => {
    const { world, runId, stranger } = await broken();
    await world.partition.redis.hset(runKey(world.partition, runId), 'unopened', '1 lease_a lease_b');
    await world.settle(stranger);
    const run = await assertCharged(world, runId);
    assert.equal(run.state.error?.code, 'poison_step');
  });

  test('ends as aborted with its hold charged, when that is asked for', async () => {
    const { world, runId, stranger } = await broken();
    const flag = { requested_at: new Date().toISOString(), by: 'key_1', reason: null };
    await requestAbort(world.partition, { runId, tenantId: TENANT, flag });
    await world.settle(stranger);
    const run = await assertCharged(world, runId);
    assert.equal(run.state.status, 'aborted');
    assert.equal(run.all('run.aborted')[0]?.settled_nano, 5000);
  });
});

describe('drain', () => {
  test('hands the run over at its next step, and another worker finishes it', async () => {
    const world = await openWorld();
    const [started, go] = [gate(), gate()];
    const toolbox = toolboxWith(async () => {
      started.open();
      await go.opened;
      return 'kept';
    });
    const leaving = await world.worker({ toolbox });
    const runId = await world.submit({
      input: script(
        { tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['http_request'] },
    });
    const [activation] = world.pending.splice(0);
    const working = leaving.work(activation ?? { runId: '', wakeSeq: 0 });
    await started.opened;
    leaving.drain();
    go.open();
    await working;
    const handed = await world.read(runId);
    assert.deepEqual(handed.types.slice(-2), ['tool.completed', 'run.handed_over']);
    assert.equal(world.pending.length, 1);
    await world.settle(await world.worker({ toolbox }));
    const run = await world.read(runId);
    assert.equal(run.output, 'kept');
    assert.equal(run.all('tool.requested').length, 1);
    assert.equal(run.all('run.claimed').length, 2);
  });
});
