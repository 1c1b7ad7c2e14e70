import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Run, Step } from '@signalbox/contracts';
import { chainBreak } from '@signalbox/engine';
import { eraseHot, readRun, runKey } from '@signalbox/run-state';
import { coolDown, storeAll } from './audit.ts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const finished = async (body: object = {}): Promise<Run> => {
  const run = await h.submit(body);
  await finish(h, run.id);
  return run;
};

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly run: Run;
  readonly problem: { code: string; detail: string; errors?: { path: string; message: string }[] };
}

const fork = async (id: string, json: object, options: CallOptions = {}): Promise<Answer> => {
  const response = await h.call('POST', `/v1/runs/${id}/fork`, { ...options, json });
  const body = (await response.json()) as Run & Answer['problem'];
  return { status: response.status, headers: response.headers, run: body, problem: body };
};

test('a fork is a run of its own that begins with what it took over, and has paid nothing for it', async () => {
  const origin = await finished({ user_id: 'u1', session_id: 's1', metadata: { k: 'v' }, priority: 'high' });
  const { status, headers, run } = await fork(origin.id, { from_step: 2 });
  assert.equal(status, 202);
  assert.equal(headers.get('location'), `/v1/runs/${run.id}`);
  assert.deepEqual(
    { ...run, created_at: null },
    {
      ...origin,
      id: run.id,
      status: 'queued',
      steps: 1,
      forked_from: origin.id,
      created_at: null,
    },
  );
  const response = await h.call('GET', `/v1/runs/${run.id}/steps`);
  const { data } = (await response.json()) as { data: Step[] };
  assert.deepEqual(
    data.map(({ output, taken_from, cost_observed_usd }) => ({ output, taken_from, cost_observed_usd })),
    [{ output: { text: 'answer 1', tool_calls: [] }, taken_from: origin.id, cost_observed_usd: 0 }],
  );
  const stored = await readRun(h.deps.partition, { tenantId: 'default', runId: run.id }, 'all');
  assert.equal(chainBreak(stored?.entries ?? []), null);
  const replay = await h.call('POST', `/v1/runs/${run.id}/replay`);
  assert.equal(((await replay.json()) as { identical: boolean }).identical, true);
});

test('a run can be forked when only Postgres has it; what is written is one commit that projects like any other', async () => {
  const origin = await finished();
  await storeAll(h);
  await coolDown(h, origin.id);
  const { run } = await fork(origin.id, { from_step: 2, changes: { limits: { max_steps: 5 } } });
  await storeAll(h);
  const row = await h.db
    .selectFrom('runs')
    .select(['forked_from', 'steps', 'last_seq', 'cost_observed_nano', 'input_tokens', 'status'])
    .where('id', '=', run.id)
    .executeTakeFirst();
  assert.deepEqual(row, {
    forked_from: origin.id,
    steps: 1,
    last_seq: 3,
    cost_observed_nano: 0,
    input_tokens: 0,
    status: 'queued',
  });
  const ledger = await h.db.selectFrom('cost_ledger').selectAll().where('run_id', '=', run.id).execute();
  assert.deepEqual(ledger, []);
});

test('a changed model makes an agent without a name; the journal says what was changed', async () => {
  const origin = await finished();
  const changes = { model: 'mock/script', instructions: 'Otherwise.', input: 'else' };
  const { run } = await fork(origin.id, { from_step: 1, changes });
  assert.deepEqual([run.agent, run.input, run.steps], [{ name: null, version: null }, 'else', 0]);
  const { data } = (await (await h.call('GET', `/v1/runs/${run.id}/events`)).json()) as {
    data: { data: { model: string; fork: object } }[];
  };
  assert.equal(data[0]?.data.model, 'mock/script');
  assert.deepEqual(data[0]?.data.fork, { from_step: 1, changed: ['model', 'instructions', 'input'] });
});

test('the same Idempotency-Key and body give the same fork', async () => {
  const origin = await finished();
  const headers = { 'idempotency-key': 'once' };
  const first = await fork(origin.id, { from_step: 2 }, { headers });
  const again = await fork(origin.id, { from_step: 2 }, { headers });
  assert.deepEqual([first.status, again.status, again.run.id], [202, 200, first.run.id]);
  const other = await fork(origin.id, { from_step: 1 }, { headers });
  assert.deepEqual([other.status, other.problem.code], [422, 'idempotency_mismatch']);
  // The key is that of this fork alone.
  const elsewhere = await fork((await finished()).id, { from_step: 1 }, { headers });
  assert.equal(elsewhere.status, 202);
});

test('a request that made a fork is answered with it, though its origin was erased since', async () => {
  const origin = await finished();
  const headers = { 'idempotency-key': 'before-the-erasure' };
  const first = await fork(origin.id, { from_step: 2 }, { headers });
  await eraseHot(h.deps.partition, [{ runId: origin.id, erasedAt: new Date() }]);
  const again = await fork(origin.id, { from_step: 2 }, { headers });
  assert.deepEqual([first.status, again.status, again.run.id], [202, 200, first.run.id]);
  const other = await fork(origin.id, { from_step: 2 });
  assert.deepEqual([other.status, other.problem.code], [410, 'content_erased']);
});

test('what cannot be forked is refused with the field and the reason', async () => {
  const spec = { model: 'mock/echo', limits: { max_steps: 5, cost_usd: 0.5 } };
  const origin = await finished({ agent: spec });
  const table: readonly [object, string, RegExp][] = [
    [{ from_step: 3 }, 'from_step', /1 to 2/],
    [{ from_step: 0 }, 'from_step', /./],
    [{ from_step: 'two' }, 'from_step', /./],
    [{}, 'from_step', /./],
    [{ from_step: 1, depth: 2 }, 'depth', /unknown field/],
    [{ from_step: 1, changes: { prompt: 'x' } }, 'changes.prompt', /unknown field/],
    [{ from_step: 2, changes: { input: 'else' } }, 'changes.input', /from step 1/],
    [{ from_step: 2, changes: { tool_output: 'x' } }, 'changes.tool_output', /no tool call/],
    [
      { from_step: 2, changes: { tool_output: { step: 1, output: 1 } } },
      'changes.tool_output',
      /no tool call/,
    ],
    [{ from_step: 1, changes: { limits: { max_steps: 6 } } }, 'changes.limits.max_steps', /at most 5/],
    [{ from_step: 1, changes: { limits: { cost_usd: 0.6 } } }, 'changes.limits.cost_usd', /at most 0.5/],
    [{ from_step: 1, changes: { model: 'anthropic/no-such' } }, 'changes.model', /price/],
  ];
  for (const [body, path, message] of table) {
    const { status, problem } = await fork(origin.id, body);
    assert.equal(status, 422, JSON.stringify(body));
    assert.equal(problem.errors?.[0]?.path, path);
    assert.match(problem.errors?.[0]?.message ?? '', message);
  }
});

test('a limit that is not named stays as it was, also the cap', async () => {
  const origin = await finished({ limits: { max_steps: 3, cost_usd: 0.25 } });
  const { run } = await fork(origin.id, { from_step: 1, changes: { limits: { timeout_seconds: 9 } } });
  assert.equal(run.cost.cap_usd, 0.25);
  const { data } = (await (await h.call('GET', `/v1/runs/${run.id}/events`)).json()) as {
    data: { data: { limits: object } }[];
  };
  assert.deepEqual(data[0]?.data.limits, { max_steps: 3, max_output_tokens: 1024, timeout_seconds: 9 });
  const wider = await fork(origin.id, { from_step: 1, changes: { limits: { cost_usd: 0.5 } } });
  assert.equal(wider.run.cost.cap_usd, 0.5);
});

test('erased contents cannot be forked; other tenants and keys without content:read neither', async () => {
  const origin = await finished();
  const stranger = await h.key('stranger', ['runs:write', 'content:read']);
  assert.equal((await fork(origin.id, { from_step: 1 }, { key: stranger })).status, 404);
  const blind = await h.key('default', ['runs:write']);
  assert.equal((await fork(origin.id, { from_step: 1 }, { key: blind })).status, 403);
  await h.deps.partition.redis.del(runKey(h.deps.partition, origin.id, 'contents'));
  const { status, problem } = await fork(origin.id, { from_step: 1 });
  assert.deepEqual([status, problem.code], [410, 'content_erased']);
});

/** Where each answer of a run lies. */
const outputRefs = async (id: string): Promise<string[]> => {
  const { data } = (await (await h.call('GET', `/v1/runs/${id}/events`)).json()) as {
    data: { type: string; refs: { output?: string } }[];
  };
  return data.flatMap(({ type, refs }) => (type === 'llm.completed' ? (refs.output ?? []) : []));
};

test('a recording that was changed is not built on: neither another answer of the run, nor another event', async () => {
  const { redis } = h.deps.partition;
  const { id } = await h.submit({});
  await finish(h, id, 2);
  const contents = runKey(h.deps.partition, id, 'contents');
  const [first = '', second = ''] = await outputRefs(id);
  const [one, two] = await redis.hmget(contents, first, second);
  await redis.hset(contents, { [first]: two, [second]: one });
  assert.equal((await fork(id, { from_step: 2 })).status, 500);
  // Nor is it shown.
  const { output } = (await (await h.call('GET', `/v1/runs/${id}`)).json()) as Run;
  assert.equal(output, null);

  const changed = await finished();
  const entries = runKey(h.deps.partition, changed.id, 'events');
  const entry = (await redis.lindex(entries, 2)) ?? '';
  await redis.lset(entries, 2, entry.replace('"max_output_tokens":100', '"max_output_tokens":900'));
  const { status, problem } = await fork(changed.id, { from_step: 2 });
  assert.deepEqual([status, problem.code], [409, 'journal_broken']);
});
