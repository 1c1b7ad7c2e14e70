/** What a call does when it does not fit under a cap (Money; R1). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { fakeProvider, type FakeReply, HAIKU, inTurn } from './fake.ts';
import { openWorld, script } from './harness.ts';
import { tenantDay, USD } from './spend.ts';
import { gate } from './tools.ts';

const inNextDay = (ms: number) => ms > Date.now() && ms <= Date.now() + 86_400_000;

describe('a cap', () => {
  test('near it, the call is made with a smaller limit, which the provider sees', async () => {
    const world = await openWorld();
    const turns = inTurn(
      (): FakeReply => ({
        text: 'short',
        finishReason: 'length',
        usage: { input_tokens: 5, output_tokens: 300 },
      }),
    );
    const worker = await world.worker({ provider: await fakeProvider(turns.behave) });
    const capNano = 6_000_000;
    const run = await world.play(worker, {
      spec: { model: HAIKU },
      limits: { max_output_tokens: 4000 },
      capNano,
    });
    const [request] = run.all('llm.requested');
    const limit = request?.max_output_tokens ?? 0;
    assert.ok(limit >= 256 && limit < 4000);
    assert.equal(turns.requests[0]?.maxTokens, limit);
    const hold = request?.hold?.amount_nano ?? 0;
    assert.ok(hold <= capNano && hold > capNano - 5000, `${hold}: the largest that fits`);
    assert.deepEqual([run.state.status, run.output], ['succeeded', 'short']);
  });

  test('used up, it ends the run and says how much was where', async () => {
    const world = await openWorld({ caps: { tenantDailyNano: 2_000_000 } });
    const provider = await fakeProvider();
    const run = await world.play(await world.worker({ provider }), { spec: { model: HAIKU } });
    assert.equal(run.state.error?.code, 'cost_cap_exceeded');
    const need = run.all('cost.denied')[0]?.need_nano ?? 0;
    const { resets_at: resetsAt, ...details } = run.state.error?.details ?? {};
    assert.deepEqual(details, {
      scope: 'tenant_day',
      cap_nano: 2_000_000,
      spent_nano: 0,
      held_nano: 0,
      need_nano: need,
    });
    assert.ok(typeof resetsAt === 'string' && inNextDay(Date.parse(resetsAt)));
    assert.equal(provider.ledger.length, 0);
    assert.deepEqual(await tenantDay(world), { spent: 0, held: 0 });
  });

  test('others hold what is left: the run parks and is woken when that settles', async () => {
    const world = await openWorld({ caps: { tenantDailyNano: 10_000_000 } });
    const go = gate();
    const turns = inTurn(
      async () => {
        await go.opened;
        return { text: 'first', usage: { input_tokens: 10, output_tokens: 10 } };
      },
      { text: 'second', usage: { input_tokens: 10, output_tokens: 10 } },
    );
    const worker = await world.worker({ provider: await fakeProvider(turns.behave) });
    const spec = { spec: { model: HAIKU }, limits: { max_output_tokens: 1500 } };
    const ahead = await world.submit(spec);
    const settled = world.settle(worker);
    await until('the first call is open', () => turns.requests.length === 1);
    const behind = await world.submit(spec);
    await Promise.all(world.pending.splice(0).map((one) => worker.work(one)));
    const parked = await world.read(behind);
    assert.deepEqual([parked.state.status, parked.state.waitingFor], ['waiting', 'capacity']);
    assert.equal(parked.all('cost.denied')[0]?.scope, 'tenant_day');
    assert.equal(turns.requests.length, 1);
    go.open();
    await settled;
    const run = await world.read(behind);
    assert.deepEqual([run.state.status, run.output], ['succeeded', 'second']);
    assert.deepEqual(run.all('run.woken'), [{ reason: 'capacity' }]);
    assert.equal((await world.read(ahead)).output, 'first');
    assert.equal(run.broken, null);
  });

  test('50 runs of $0.03 at once against $1: 33 hold, and the provider never bills more than $1', async () => {
    const world = await openWorld({
      caps: { tenantDailyNano: USD },
      prices: { version: 't1', models: { [HAIKU]: { input: 0, output: 40 } } },
    });
    const go = gate();
    // A worst case of 750 x $40 per million: $0.03. Each really costs that much, the least lucky case. The
    // cent that is left would buy 250 tokens, fewer than are worth a call.
    const turns = inTurn(async () => {
      await go.opened;
      return { text: 'ok', usage: { input_tokens: 10, output_tokens: 750 } };
    });
    const provider = await fakeProvider(turns.behave);
    const worker = await world.worker({ provider });
    const runIds = await Promise.all(
      Array.from({ length: 50 }, () =>
        world.submit({ spec: { model: HAIKU }, limits: { max_output_tokens: 750 } }),
      ),
    );
    const settled = world.settle(worker);
    const count = async (status: string) => {
      const all = await Promise.all(runIds.map((id) => world.field(id, 'status')));
      return all.filter((one) => one === status).length;
    };
    await until(
      'each has a call or a place to wait',
      async () => (await count('running')) === 33 && (await count('waiting')) === 17,
    );
    await until('all calls are out', () => turns.requests.length >= 33);
    assert.equal(turns.requests.length, 33);
    assert.deepEqual(await tenantDay(world), { spent: 0, held: 33 * 30_000_000 });
    go.open();
    await settled;
    // A settlement wakes at most 8; the scheduler's repair sees to the rest.
    for (let pass = 0; pass < 5 && (await count('waiting')) > 0; pass += 1) {
      await world.repair();
      await world.settle(worker);
    }
    const runs = await Promise.all(runIds.map((id) => world.read(id)));
    const succeeded = runs.filter(({ state }) => state.status === 'succeeded');
    assert.equal(succeeded.length, 33);
    for (const run of runs.filter((one) => !succeeded.includes(one)))
      assert.equal(run.state.error?.code, 'cost_cap_exceeded');
    assert.deepEqual(await tenantDay(world), { spent: 990_000_000, held: 0 });
    const billed = provider.ledger.reduce((sum, { outputTokens }) => sum + outputTokens * 40_000, 0);
    assert.equal(billed, 990_000_000, "the provider's own books");
  });

  test('none set is a refusal, not freedom', async () => {
    const world = await openWorld({ caps: null });
    const provider = await fakeProvider();
    const run = await world.play(await world.worker({ provider }), { spec: { model: HAIKU } });
    assert.equal(run.state.error?.code, 'cap_missing');
    assert.equal(run.all('cost.denied')[0]?.scope, 'tenant_day');
    assert.equal(provider.ledger.length, 0);
    const free = await world.play(await world.worker(), { input: script({ text: 'free' }) });
    assert.equal(free.output, 'free');
  });

  test('an unknown price is a refusal', async () => {
    const world = await openWorld();
    const provider = await fakeProvider();
    const run = await world.play(await world.worker({ provider }), {
      spec: { model: 'anthropic/claude-unheard-of' },
    });
    assert.equal(run.state.error?.code, 'price_unknown');
    assert.equal(provider.ledger.length, 0);
  });
});
