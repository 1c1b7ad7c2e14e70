/** What is held for a call, and what it is charged (Money; R1, R2). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { fakeProvider, type FakeReply, HAIKU, inTurn, MINI, totalNano } from './fake.ts';
import { openWorld, type RunSeen, type World } from './harness.ts';
import { LeapClock } from './leap-clock.ts';
import { tenantDay, USD, userDay } from './spend.ts';
import { gate } from './tools.ts';

/** Nano-USD per token. */
const RATES = { [HAIKU]: { input: 1000, output: 5000 }, [MINI]: { input: 150, output: 600 } } as const;

const holdOf = (run: RunSeen, n = 0) => run.all('llm.requested')[n]?.hold;
const settledOf = (run: RunSeen, n = 0) => run.all('llm.completed')[n]?.settlement;

/** One paid call with this answer. */
const oneCall = async (
  answer: FakeReply,
  options: Parameters<World['submit']>[0] = {},
  providerTimeoutMs = 10_000,
) => {
  const world = await openWorld();
  const turns = inTurn(answer);
  const provider = await fakeProvider(turns.behave);
  const worker = await world.worker({ provider, providerTimeoutMs, clock: new LeapClock() });
  const run = await world.play(worker, { spec: { model: HAIKU }, userId: 'u1', ...options });
  return { world, run, provider, requests: turns.requests };
};

describe('a paid call', () => {
  for (const model of [HAIKU, MINI] as const) {
    test(`${model}: the worst case is held, the exact usage is charged, in every scope`, async () => {
      const world = await openWorld();
      const usage = { input_tokens: 1234, output_tokens: 77 };
      const go = gate();
      const turns = inTurn(async () => {
        await go.opened;
        return { text: 'ok', usage };
      });
      const provider = await fakeProvider(turns.behave);
      const worker = await world.worker({ provider });
      const runId = await world.submit({
        spec: { model },
        userId: 'u1',
        capNano: USD,
        limits: { max_output_tokens: 500 },
      });
      const settled = world.settle(worker);
      await until('the call is open', () => turns.requests.length === 1);

      const [request] = (await world.read(runId)).all('llm.requested');
      const rates = RATES[model];
      const worst = (request?.input_bound ?? 0) * rates.input + 500 * rates.output;
      // Cache writes of Claude cost a quarter more than plain input, and may be met.
      const highest = model === HAIKU ? (request?.input_bound ?? 0) * 1250 + 500 * 5000 : worst;
      assert.equal(request?.hold?.amount_nano, highest);
      const held = { spent: 0, held: highest };
      assert.deepEqual(await tenantDay(world), held);
      assert.deepEqual(await userDay(world, 'u1'), held);
      assert.deepEqual(await world.money(`run:${runId}`), held);
      assert.equal(turns.requests[0]?.maxTokens, 500);

      go.open();
      await settled;
      const run = await world.read(runId);
      const cost = 1234 * rates.input + 77 * rates.output;
      assert.deepEqual(settledOf(run), { hold_id: request?.hold?.id, observed_nano: cost, estimated: false });
      assert.equal(provider.ledger[0]?.costNano, cost);
      for (const scope of [
        await tenantDay(world),
        await userDay(world, 'u1'),
        await world.money(`run:${runId}`),
      ]) {
        assert.deepEqual(scope, { spent: cost, held: 0 });
      }
      assert.equal(run.state.estimated, false);
      assert.match(await worker.metrics.registry.render(), /signalbox_cost_usd_total\{[^}]*\} 0\.00/);
    });
  }

  test('cache reads and writes are charged at their own rates', async () => {
    const { run, provider } = await oneCall({
      text: 'ok',
      usage: { input_tokens: 10_000, output_tokens: 10, cache_read_tokens: 8000, cache_write_tokens: 1000 },
    });
    assert.equal(settledOf(run)?.observed_nano, 1000 * 1000 + 8000 * 100 + 1000 * 1250 + 10 * 5000);
    assert.equal(provider.ledger[0]?.costNano, settledOf(run)?.observed_nano);
  });

  test('a provider that tells no usage is charged the hold, and that is said', async () => {
    const { run, world } = await oneCall({ text: 'ok', omitUsage: true });
    const hold = holdOf(run)?.amount_nano ?? 0;
    assert.ok(hold > 0);
    assert.deepEqual(settledOf(run), { hold_id: holdOf(run)?.id, observed_nano: hold, estimated: true });
    assert.equal(run.state.estimated, true);
    assert.deepEqual(await tenantDay(world), { spent: hold, held: 0 });
  });

  test('a refused call costs nothing', async () => {
    const { run, world } = await oneCall({ status: 400, text: 'no' });
    assert.deepEqual([run.state.error?.code, run.state.observedNano], ['provider_error', 0]);
    assert.deepEqual(await tenantDay(world), { spent: 0, held: 0 });
  });

  test('a stream that breaks is charged for what came, never nothing, never more than was held', async () => {
    const usage = { input_tokens: 700, output_tokens: 400 };
    const { run, world, provider } = await oneCall({
      text: 'word '.repeat(300),
      usage,
      breakAfterBytes: 4000,
    });
    const ended = run.all('llm.failed');
    assert.equal(ended.length, 3);
    for (const [n, { settlement }] of ended.entries()) {
      const billed = provider.ledger[n]?.costNano ?? 0;
      assert.ok(settlement !== null && settlement.estimated);
      assert.ok(
        billed > 700_000 && settlement.observed_nano >= billed,
        `${settlement.observed_nano} >= ${billed}`,
      );
      assert.ok(settlement.observed_nano < (holdOf(run, n)?.amount_nano ?? 0));
    }
    const spent = ended.reduce((sum, { settlement }) => sum + (settlement?.observed_nano ?? 0), 0);
    assert.deepEqual(await tenantDay(world), { spent, held: 0 });
    assert.ok(totalNano(provider.ledger) <= spent);
    assert.equal(run.state.error?.code, 'provider_error');
  });

  test('a stream that breaks of a model that may reason unseen is charged the hold', async () => {
    const answer = { text: 'word '.repeat(300), breakAfterBytes: 4000 };
    const { run, world } = await oneCall(answer, {
      spec: { model: 'openai/gpt-5' },
      limits: { max_output_tokens: 32_000 },
    });
    const failed = run.all('llm.failed');
    assert.equal(failed.length, 3);
    const holds = failed.map((_, n) => holdOf(run, n)?.amount_nano ?? 0);
    assert.deepEqual(
      failed.map(({ settlement }) => settlement?.observed_nano),
      holds,
    );
    const spent = holds.reduce((sum, nano) => sum + nano, 0);
    assert.ok(spent > 3 * 32_000 * 10_000);
    assert.deepEqual(await tenantDay(world), { spent, held: 0 });
  });

  test('no answer at all is charged whole', async () => {
    const { run, world } = await oneCall({ text: 'late', delayMs: 60_000 }, {}, 100);
    const holds = run.all('llm.requested').reduce((sum, { hold }) => sum + (hold?.amount_nano ?? 0), 0);
    assert.equal(run.all('llm.failed').length, 3);
    assert.deepEqual(await tenantDay(world), { spent: holds, held: 0 });
  });

  test('a retry holds for all that its first attempt held for', async () => {
    const world = await openWorld();
    const big = 'x'.repeat(50_000);
    const turns = inTurn(
      {
        toolCalls: [{ id: 'c', name: 'calculator', arguments: '{"expression":"1"}' }],
        text: big,
        usage: { input_tokens: 20, output_tokens: 900 },
      },
      { status: 429, text: 'slow down' },
      { text: 'ok' },
    );
    const worker = await world.worker({ provider: await fakeProvider(turns.behave), clock: new LeapClock() });
    const run = await world.play(worker, { spec: { model: HAIKU, tools: ['calculator'] } });
    assert.equal(run.state.status, 'succeeded');
    const [, first, again] = run.all('llm.requested');
    assert.deepEqual([first?.step, again?.step, again?.attempt], [3, 3, 2]);
    assert.ok((first?.input_bound ?? 0) > 50_000);
    assert.equal(again?.input_bound, first?.input_bound);
    assert.equal(again?.request_digest, first?.request_digest);
  });

  test('the bound after a call stands on its exact usage, and covers what the provider then counts', async () => {
    const world = await openWorld();
    const turns = inTurn(
      {
        toolCalls: [{ id: 'c', name: 'calculator', arguments: '{"expression":"1"}' }],
        usage: { input_tokens: 400, output_tokens: 30 },
      },
      { text: 'ok' },
    );
    const provider = await fakeProvider(turns.behave);
    const run = await world.play(await world.worker({ provider }), {
      input: 'y'.repeat(9000),
      spec: { model: HAIKU, tools: ['calculator'] },
    });
    const [first, second] = run.all('llm.requested').map(({ input_bound }) => input_bound);
    assert.ok((first ?? 0) > 10_000 && (second ?? 0) < 2500, `${first}, ${second}`);
  });
});
