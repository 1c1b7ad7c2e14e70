/**
 * Must show 4: many runs (10,000 at full size) of three steps (model, tool, model) on two workers. Every one ends once, the
 * journals are whole in both stores, and the books agree to the nano-USD: provider, ledger, counters.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { totalNano } from '../support/fake-provider/index.ts';
import {
  FULL,
  providerRequests,
  settled,
  startSystem,
  taggedAgent,
  THREE_STEPS,
  violations,
} from './stack.ts';

const RUNS = FULL ? 10_000 : 500;
const SUBMITTERS = 16;
const MODELS = ['anthropic/claude-haiku-4-5', 'openai/gpt-4o-mini'] as const;

const system = await startSystem();
after(() => system.stop());

const bodyOf = (n: number): object => ({
  agent: taggedAgent(`n${n}`, { model: MODELS[n % 2] }),
  input: THREE_STEPS,
  user_id: `user-${n % 10}`,
});

/** Every 20th is sent twice, as a client does that lost the answer. */
const submitAll = async (): Promise<Map<string, string>> => {
  const runOfTag = new Map<string, string>();
  const left = Array.from({ length: RUNS }, (_, n) => n);
  const lane = async (): Promise<void> => {
    for (let n = left.shift(); n !== undefined; n = left.shift()) {
      const headers = { 'idempotency-key': `key-${n}` };
      const run = await system.api.submit(bodyOf(n), headers);
      runOfTag.set(`n${n}`, run.id);
      if (n % 20 === 0) assert.equal((await system.api.submit(bodyOf(n), headers)).id, run.id);
    }
  };
  await Promise.all(Array.from({ length: SUBMITTERS }, lane));
  return runOfTag;
};

test(`${RUNS} runs of three steps end once each, and all books agree`, async () => {
  const started = performance.now();
  const runOfTag = await submitAll();
  const submitted = performance.now();
  const ids = [...runOfTag.values()];
  assert.equal(new Set(ids).size, RUNS);
  const counts = await settled(system, ids, 240_000);
  const seconds = (performance.now() - started) / 1000;
  assert.deepEqual([...counts], [['succeeded', RUNS]]);

  assert.deepEqual(await violations(system, providerRequests(system.provider, runOfTag)), []);
  const rows = await system.db.selectFrom('runs').select(['id', 'steps', 'cost_observed_nano']).execute();
  assert.equal(rows.length, RUNS);
  assert.ok(rows.every(({ steps }) => steps === 3));
  const sample = await Promise.all(ids.slice(0, 10).map((id) => system.api.run(id)));
  assert.deepEqual(new Set(sample.map(({ output }) => output)), new Set(['The answer is 42.']));

  const billed = totalNano(system.provider.ledger);
  const ledger = rows.reduce((sum, { cost_observed_nano: nano }) => sum + nano, 0);
  assert.ok(billed > 0);
  assert.equal(ledger, billed);
  process.stdout.write(
    `${RUNS} runs, ${system.provider.ledger.length} provider calls, ${ledger} nano-USD: submitted in ${(
      (submitted - started) / 1000
    ).toFixed(
      1,
    )} s, ended and stored after ${seconds.toFixed(1)} s (${(RUNS / seconds).toFixed(0)} runs/s)\n`,
  );
});
