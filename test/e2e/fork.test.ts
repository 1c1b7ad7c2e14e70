/** A fork pays for its own steps only, wherever it begins; the provider's books say so. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Run } from '@signalbox/contracts';
import type { ProviderRequest } from '../support/checker.ts';
import { totalNano } from '../support/fake-provider/index.ts';
import { settled, startSystem, violations } from './stack.ts';

const system = await startSystem({ workers: 1 });
after(() => system.stop());
const { api, provider } = system;

const call = (expression: string): object => ({ name: 'calculator', arguments: { expression } });

/** model 1, tool 2, model 3, tools 4 and 5 side by side, model 6, tool 7, model 8, tool 9, model 10. */
const TEN_STEPS = JSON.stringify({
  turns: [
    { tool_calls: [call('1 + 1')] },
    { tool_calls: [call('2 + 2'), call('3 + 3')] },
    { tool_calls: [call('4 + 4')] },
    { tool_calls: [call('5 + 5')] },
    { text: 'It ends with {{tool_results}}.' },
  ],
});
const MODEL_STEPS = [1, 3, 6, 8, 10];
const STEPS = 10;
const AGENT = { model: 'anthropic/claude-haiku-4-5', tools: ['calculator'] };

/** What the checker is told of the provider's books. */
const requests: ProviderRequest[] = [];
const ids: string[] = [];

interface Ended {
  readonly run: Run;
  /** What the provider billed meanwhile. */
  readonly nano: number;
  readonly models: readonly string[];
}

/** One run after the other, so that the books of the provider are those of this run. */
const follow = async (start: () => Promise<string>): Promise<Ended> => {
  const before = provider.ledger.length;
  const id = await start();
  const run = await api.end(id);
  const own = provider.ledger.slice(before);
  for (const { body } of own) {
    const { messages } = body as { messages: readonly { role: string }[] };
    const said = messages.filter(({ role }) => role === 'assistant').length;
    requests.push({ runId: id, call: said + 1 });
  }
  ids.push(id);
  return { run, nano: totalNano(own), models: own.map(({ model }) => model) };
};

const fork = async (id: string, body: object): Promise<string> => {
  const { status, json } = await api.request(`/v1/runs/${id}/fork`, { body });
  assert.equal(status, 202, JSON.stringify(json));
  return String(json['id']);
};

const replay = async (id: string): Promise<Record<string, unknown>> =>
  (await api.request(`/v1/runs/${id}/replay`, { method: 'POST' })).json;

const origin = await follow(
  async () => (await api.submit({ agent: AGENT, input: TEN_STEPS, user_id: 'u1' })).id,
);

test('the origin has ten steps', () => {
  assert.deepEqual([origin.run.status, origin.run.steps, origin.models.length], ['succeeded', STEPS, 5]);
});

for (let from = 1; from <= STEPS + 1; from += 1) {
  test(`a fork from step ${from} calls the model for its own steps only and pays only for them`, async () => {
    const { run, nano, models } = await follow(() => fork(origin.run.id, { from_step: from }));
    assert.equal(models.length, MODEL_STEPS.filter((step) => step >= from).length);
    assert.equal(Math.round(run.cost.observed_usd * 1e9), nano);
    assert.deepEqual(
      [run.status, run.steps, run.output, run.forked_from],
      ['succeeded', STEPS, origin.run.output, origin.run.id],
    );
    const events = await api.events(run.id);
    const executed = events.flatMap(({ type, data }) =>
      type === 'tool.requested' && data['taken_from'] === undefined ? [Number(data['step'])] : [],
    );
    assert.deepEqual(
      executed,
      [2, 4, 5, 7, 9].filter((step) => step >= from),
    );
    assert.deepEqual(await replay(run.id), {
      identical: true,
      steps: STEPS,
      divergences: [],
      provider_calls: 0,
    });
  });
}

test('a given output is what the model goes on with', async () => {
  const changes = { tool_output: 'one hundred' };
  const { run, models } = await follow(() => fork(origin.run.id, { from_step: 9, changes }));
  assert.deepEqual([run.output, models.length], ['It ends with one hundred.', 1]);
  const named = { tool_output: { step: 9, output: { sum: 7 } } };
  const other = await follow(() => fork(origin.run.id, { from_step: 10, changes: named }));
  assert.equal(other.run.output, 'It ends with {"sum":7}.');
});

test('a changed model is called from from_step on', async () => {
  const changes = { model: 'openai/gpt-4o-mini' };
  const { run, models } = await follow(() => fork(origin.run.id, { from_step: 6, changes }));
  assert.deepEqual(models, ['gpt-4o-mini', 'gpt-4o-mini', 'gpt-4o-mini']);
  assert.deepEqual([run.status, (await replay(run.id))['identical']], ['succeeded', true]);
});

test('a fork of a fork pays for its own steps only', async () => {
  const first = await follow(() => fork(origin.run.id, { from_step: 5 }));
  const { run, models } = await follow(() => fork(first.run.id, { from_step: 8 }));
  assert.deepEqual([run.status, run.output, models.length], ['succeeded', origin.run.output, 2]);
});

test('every chain is whole, every nano-USD is accounted for, and no replay called the provider', async () => {
  const before = provider.ledger.length;
  for (const id of ids) assert.equal((await replay(id))['identical'], true, id);
  assert.equal(provider.ledger.length, before);
  await settled(system, ids);
  assert.deepEqual(await violations(system, requests), []);
});
