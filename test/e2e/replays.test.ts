/**
 * Many runs replayed as a job: nothing is called or paid offline; what goes on with real calls stays within the job's
 * budget by the provider's books, also when the process that works the job is killed.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { createApiKey } from '@signalbox/api';
import { fromUsd, type Run } from '@signalbox/contracts';
import { startService, temporaryDir, waitFor } from '@signalbox/local';
import { totalNano } from '../support/fake-provider/index.ts';
import { type ApiClient, createClient } from './client.ts';
import { FULL, settled, startSystem, THREE_STEPS, violations } from './stack.ts';

const RUNS = FULL ? 500 : 40;
const STEPS = 3;
const FORKS = 25;
const FORK_USD = 0.02;
const BUDGET_USD = FORKS * FORK_USD + FORK_USD / 2;

const env = {
  BOOTSTRAP_API_KEY: 'sb_replays',
  ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
};
const system = await startSystem({ env });
after(() => system.stop());
const { api, provider } = system;

interface Job {
  readonly id: string;
  readonly status: string;
  readonly counts: Readonly<Record<string, number>>;
  readonly steps: number;
  readonly steps_per_second: number | null;
  readonly committed_usd: number;
  readonly divergences: readonly { readonly run_id: string; readonly step: number; readonly kind: string }[];
  readonly failures: readonly unknown[];
  readonly forks: readonly { readonly run_id: string; readonly fork_run_id: string | null }[];
}

const start = async (body: object, by: ApiClient = api): Promise<string> => {
  const { status, json } = await by.request('/v1/replays', { body });
  assert.equal(status, 202, JSON.stringify(json));
  return String(json['id']);
};

const look = async (id: string, by: ApiClient = api): Promise<Job> => {
  const { status, json } = await by.request(`/v1/replays/${id}`);
  assert.equal(status, 200, JSON.stringify(json));
  return json as unknown as Job;
};

const end = (id: string, by: ApiClient = api): Promise<Job> =>
  waitFor(
    async () => {
      const job = await look(id, by);
      return job.status === 'queued' || job.status === 'running' ? undefined : job;
    },
    { what: `replay ${id} to end`, timeoutMs: FULL ? 600_000 : 120_000 },
  );

const AGENT = 'replayed';
const filter = { agent: AGENT };
const ids: string[] = [];

before(async () => {
  const spec = { model: 'anthropic/claude-haiku-4-5', instructions: 'Be exact.', tools: ['calculator'] };
  const { status } = await api.request(`/v1/agents/${AGENT}`, { method: 'PUT', body: spec });
  assert.equal(status, 201);
  const runs = Array.from({ length: RUNS }, () => ({ agent: AGENT, input: THREE_STEPS }));
  const { json } = await api.request('/v1/runs/batch', { body: { runs } });
  for (const { run } of json['data'] as { run: Run }[]) ids.push(run.id);
  assert.deepEqual(await settled(system, ids, 240_000), new Map([['succeeded', RUNS]]));
});

test('recorded runs replay identical, and the provider is asked nothing (R12)', async () => {
  const before = provider.ledger.length;
  const job = await end(await start({ filter }));
  assert.deepEqual(
    [job.status, job.counts, job.steps],
    [
      'done',
      { selected: RUNS, identical: RUNS, diverged: 0, failed: 0, forked: 0, not_forked: 0 },
      RUNS * STEPS,
    ],
  );
  assert.deepEqual([job.divergences, job.failures, job.forks], [[], [], []]);
  assert.equal(provider.ledger.length, before);
  process.stdout.write(`${RUNS} runs, ${job.steps} steps: ${job.steps_per_second} steps/s\n`);
});

test('changed instructions part at the first request of every run; another model at its first call', async () => {
  const before = provider.ledger.length;
  const changes = { instructions: 'Be brief.' };
  const told = await end(await start({ filter, changes }));
  assert.deepEqual([told.counts['diverged'], told.divergences.length], [RUNS, Math.min(RUNS, 100)]);
  for (const { step, kind } of told.divergences) assert.deepEqual([step, kind], [1, 'request']);
  const decided = await end(await start({ filter, changes, compare: 'decisions' }));
  assert.equal(decided.counts['identical'], RUNS);
  const other = await end(await start({ filter, changes: { model: 'openai/gpt-4o-mini' } }));
  for (const { step, kind } of other.divergences) assert.deepEqual([step, kind], [1, 'model']);
  assert.equal(provider.ledger.length, before);
});

test("another tenant's job sees none of them", async () => {
  const { partition, db } = system;
  const defaultCaps = { runNano: fromUsd(1), userDailyNano: fromUsd(20), tenantDailyNano: fromUsd(200) };
  const scopes = ['runs:write', 'runs:read', 'content:read'] as const;
  const { secret } = await createApiKey({ partition, db, defaultCaps }, { tenantId: 'other', scopes });
  const other = createClient(api.url, secret);
  assert.equal((await end(await start({ filter }, other), other)).counts['selected'], 0);
  const own = await start({ filter });
  assert.equal((await other.request(`/v1/replays/${own}`)).status, 404);
  await end(own);
});

test('killed in the middle of a paid job: it goes on, counts each run once, forks none twice, and stays within its budget', async () => {
  const before = provider.ledger.length;
  const changes = { instructions: 'Be brief.', limits: { cost_usd: FORK_USD } };
  const id = await start({ filter, changes, mode: 'paid', max_cost_usd: BUDGET_USD });
  const held = await waitFor(
    async () => {
      const { committed_usd } = await look(id);
      return committed_usd > 0 ? committed_usd : undefined;
    },
    { what: 'the first fork', timeoutMs: 60_000, everyMs: 5 },
  );
  await system.stack.api.kill();
  const logDir = join(await temporaryDir(), 'logs');
  const again = await startService({
    name: 'api-again',
    entry: 'services/api/src/main.ts',
    env: { ...process.env, ...system.env, METRICS_PORT: '0' },
    logDir,
  });
  after(() => again.stop());
  const job = await end(id);
  assert.deepEqual(job.counts, {
    selected: RUNS,
    identical: 0,
    diverged: RUNS,
    failed: 0,
    forked: FORKS,
    not_forked: RUNS - FORKS,
  });
  assert.ok(Math.abs(job.committed_usd - FORKS * FORK_USD) < 1e-9);
  const forks = job.forks.map(({ fork_run_id }) => fork_run_id ?? assert.fail('a fork is not noted'));
  assert.deepEqual(await settled(system, forks, 120_000), new Map([['succeeded', FORKS]]));
  const made = await system.db.selectFrom('runs').select(['id', 'forked_from']).execute();
  const origins = made.flatMap(({ forked_from: from }) => (from === null ? [] : [from]));
  assert.deepEqual([origins.length, new Set(origins).size], [FORKS, FORKS]);
  const paid = totalNano(provider.ledger.slice(before));
  assert.ok(paid > 0 && paid <= fromUsd(BUDGET_USD), `${paid} nano-USD paid`);
  const runs = await Promise.all(forks.map((fork) => api.run(fork)));
  assert.equal(
    runs.reduce((sum, { cost }) => sum + Math.round(cost.observed_usd * 1e9), 0),
    paid,
  );
  assert.deepEqual(await violations(system), []);
  process.stdout.write(
    `killed at ${held} USD committed; ${FORKS} forks of ${RUNS} runs paid ${paid / 1e9} of ${BUDGET_USD} USD\n`,
  );
});
