/** A provider that tells a usage which cannot be true of the call: no usage at all (Money). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NO_USAGE, type Usage } from '@signalbox/contracts';
import { fakeProvider, type FakeReply, HAIKU, inTurn, MINI } from './fake.ts';
import { openWorld, type RunSeen, script, type World } from './harness.ts';
import { LeapClock } from './leap-clock.ts';
import { tenantDay } from './spend.ts';

const play = async (
  model: string,
  ...answers: readonly FakeReply[]
): Promise<{ world: World; run: RunSeen }> => {
  const world = await openWorld();
  const provider = await fakeProvider(inTurn(...answers).behave);
  const worker = await world.worker({ provider, clock: new LeapClock() });
  return { world, run: await world.play(worker, { spec: { model, tools: ['calculator'] } }) };
};

const ABSURD: readonly (Partial<Usage> & { readonly name: string })[] = [
  { name: 'more than any integer of ours', input_tokens: 1e15, output_tokens: 5 },
  { name: 'a trillion tokens of input', input_tokens: 1e12, output_tokens: 5 },
  { name: 'a million tokens of output', input_tokens: 20, output_tokens: 1e6 },
  {
    name: 'all of it from the cache',
    input_tokens: 3e15,
    output_tokens: 5,
    cache_read_tokens: 1e15,
    cache_write_tokens: 1e15,
  },
];

for (const model of [HAIKU, MINI]) {
  for (const { name, ...usage } of ABSURD) {
    test(`${model}, ${name}: the hold is charged, and that is said`, async () => {
      const { world, run } = await play(model, { text: 'ok', usage });
      assert.equal(run.output, 'ok');
      const [hold] = run.all('llm.requested').map((data) => data.hold);
      const [completed] = run.all('llm.completed');
      assert.deepEqual(
        { settlement: completed?.settlement, usage: completed?.usage },
        {
          settlement: { hold_id: hold?.id, observed_nano: hold?.amount_nano, estimated: true },
          usage: NO_USAGE,
        },
      );
      assert.deepEqual(await tenantDay(world), { spent: hold?.amount_nano, held: 0 });
      assert.ok(world.logs.some(({ msg }) => String(msg).includes('usage that cannot be true')));
    });
  }
}

/** What a gateway fills in that did not count. */
const FILLERS: readonly { name: string; usage: Partial<Usage> }[] = [
  { name: 'zeros', usage: { input_tokens: 0, output_tokens: 0 } },
  { name: 'no input', usage: { input_tokens: 0, output_tokens: 5 } },
  { name: 'no output of an answer with words', usage: { input_tokens: 20, output_tokens: 0 } },
];

for (const model of [HAIKU, MINI]) {
  for (const { name, usage } of FILLERS) {
    test(`${model}, ${name}: charged the hold, like no usage at all`, async () => {
      const { run } = await play(model, { text: 'ok', usage });
      const [hold] = run.all('llm.requested').map((data) => data.hold);
      const [completed] = run.all('llm.completed');
      assert.deepEqual(completed?.settlement, {
        hold_id: hold?.id,
        observed_nano: hold?.amount_nano,
        estimated: true,
      });
    });
  }
}

test('an empty answer has no output, and is charged its input', async () => {
  const { run } = await play(
    HAIKU,
    { text: '', usage: { input_tokens: 20, output_tokens: 0 } },
    { text: 'ok' },
  );
  const [completed] = run.all('llm.completed');
  assert.deepEqual([completed?.settlement?.observed_nano, completed?.settlement?.estimated], [20_000, false]);
});

test('the next call is bounded by its bytes, not by what was told', async () => {
  const { run } = await play(
    HAIKU,
    {
      toolCalls: [{ id: 'c', name: 'calculator', arguments: '{"expression":"1"}' }],
      usage: { input_tokens: 1e12, output_tokens: 5 },
    },
    { text: 'ok' },
  );
  const bounds = run.all('llm.requested').map(({ input_bound }) => input_bound);
  assert.equal(bounds.length, 2);
  assert.ok((bounds[1] ?? 0) < 5000, `${bounds[1]} tokens`);
});

test('of a stream that breaks it is not written down either', async () => {
  const { run } = await play(HAIKU, {
    text: 'word '.repeat(300),
    usage: { input_tokens: 1e15, output_tokens: 400 },
    breakAfterBytes: 4000,
  });
  const [first] = run.all('llm.failed');
  const [hold] = run.all('llm.requested').map((data) => data.hold);
  assert.deepEqual(first?.usage, NO_USAGE);
  const charged = first.settlement?.observed_nano ?? 0;
  assert.ok(charged > 0 && charged < (hold?.amount_nano ?? 0), `${charged}`);
});

test('of a stream that breaks, more than was held for is booked as it was told', async () => {
  const usage = { input_tokens: 40_000, output_tokens: 400 };
  const { world, run } = await play(HAIKU, { text: 'word '.repeat(300), usage, breakAfterBytes: 4000 });
  const [failed] = run.all('llm.failed');
  const [hold] = run.all('llm.requested').map((data) => data.hold);
  const charged = failed?.settlement?.observed_nano ?? 0;
  assert.ok(charged > 40_000 * 1000, `${charged}`);
  assert.ok(charged > (hold?.amount_nano ?? 0));
  assert.equal((await tenantDay(world)).spent, run.state.observedNano);
});

test('a model that costs nothing has no such usage in its journal', async () => {
  const world = await openWorld();
  const run = await world.play(await world.worker(), {
    input: script({ text: 'ok', usage: { input_tokens: Number.MAX_SAFE_INTEGER } }),
  });
  assert.equal(run.output, 'ok');
  assert.deepEqual(run.state.usage, NO_USAGE);
});

describe('what is more than was held for, but may be true, is booked as it was told', () => {
  const told: readonly { name: string; usage: Partial<Usage>; nano: number }[] = [
    {
      name: 'a preamble of a gateway',
      usage: { input_tokens: 30_000, output_tokens: 5 },
      nano: 30_000 * 1000 + 5 * 5000,
    },
    {
      name: 'reasoning that the limit leaves out',
      usage: { input_tokens: 20, output_tokens: 60_000 },
      nano: 20 * 1000 + 60_000 * 5000,
    },
    {
      name: 'a preamble in the cache',
      usage: { input_tokens: 30_000, output_tokens: 5, cache_read_tokens: 29_000 },
      nano: 1000 * 1000 + 29_000 * 100 + 5 * 5000,
    },
  ];
  for (const { name, usage, nano } of told) {
    test(name, async () => {
      const { run } = await play(HAIKU, { text: 'ok', usage });
      const [hold] = run.all('llm.requested').map((data) => data.hold);
      const [completed] = run.all('llm.completed');
      assert.deepEqual(completed?.settlement, { hold_id: hold?.id, observed_nano: nano, estimated: false });
      assert.deepEqual(completed.usage, { ...NO_USAGE, ...usage });
    });
  }
});
