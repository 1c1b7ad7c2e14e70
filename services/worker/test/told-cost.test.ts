/** A provider that says what a call cost, and serves a model at more than one price (openrouter). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelAnswer, ModelPort } from '@signalbox/contracts';
import { openWorld, type RunSeen, type World } from './harness.ts';
import { tenantDay } from './spend.ts';

const USAGE = { input_tokens: 100, output_tokens: 10, cache_read_tokens: 0, cache_write_tokens: 0 };
/** 100 x 150 + 10 x 600 */
const CATALOGUED = 21_000;

const play = async (answer: Partial<ModelAnswer>): Promise<{ world: World; run: RunSeen }> => {
  const models: ModelPort = {
    load: async () => undefined,
    call: async () => ({
      text: 'ok',
      toolCalls: [],
      finishReason: 'stop',
      usage: USAGE,
      modelServed: 'm',
      providerRequestId: null,
      ...answer,
    }),
  };
  const world = await openWorld();
  const run = await world.play(await world.worker({ models }), {
    spec: { model: 'openrouter/openai/gpt-4o-mini' },
  });
  assert.equal(run.output, 'ok');
  assert.deepEqual(await tenantDay(world), { spent: run.state.observedNano, held: 0 });
  return { world, run };
};

const settled = (run: RunSeen) => run.all('llm.completed')[0]?.settlement;
const holdOf = (run: RunSeen) => run.all('llm.requested')[0]?.hold;

test('more than the catalogue knows of is charged as it was told, also above the hold', async () => {
  for (const costNano of [50_000, 5_000_000]) {
    const { run } = await play({ costNano });
    assert.deepEqual(settled(run), { hold_id: holdOf(run)?.id, observed_nano: costNano, estimated: false });
  }
});

test('less is a discount that nobody can check: the price of the catalogue stands', async () => {
  const { run } = await play({ costNano: 1 });
  assert.equal(settled(run)?.observed_nano, CATALOGUED);
});

test('without counts the hold is charged, and no less than was told', async () => {
  const { run } = await play({ usage: null, costNano: 1 });
  assert.equal(settled(run)?.observed_nano, holdOf(run)?.amount_nano);
  const more = await play({ usage: null, costNano: 5_000_000 });
  assert.deepEqual([settled(more.run)?.observed_nano, settled(more.run)?.estimated], [5_000_000, true]);
});

test('what cannot be true is not believed, and that is said', async () => {
  for (const costNano of [1e15, Number.POSITIVE_INFINITY]) {
    const { world, run } = await play({ costNano });
    assert.equal(settled(run)?.observed_nano, CATALOGUED);
    assert.ok(world.logs.some(({ msg }) => String(msg).includes('cost that cannot be true')));
  }
});
