/**
 * Every way in which money is refused (Money), reached as a backend service would: through the public API.
 * What cannot be paid for is refused when it is submitted, or the run fails of it before a request leaves; the
 * run and its event stream say which scope was full, where it stood and when it begins anew.
 */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createApiKey } from '@signalbox/api';
import { type CapScope, fromUsd, type Run } from '@signalbox/contracts';
import { temporaryDir } from '@signalbox/local';
import { allStored } from '../support/all-stored.ts';
import { type ApiClient, createClient } from './client.ts';
import { allFrames } from './sse-reader.ts';
import { settled, startSystem, taggedAgent, THREE_STEPS, violations } from './stack.ts';

/** Known to the api, which reads the file first, and not to the worker, which reads it when it is empty. */
const UNLISTED = 'anthropic/claude-unlisted';
const pricesFile = join(await temporaryDir(), 'prices.json');
const writePrices = (models: object): void =>
  writeFileSync(pricesFile, JSON.stringify({ version: 'test-1', models }));
writePrices({ [UNLISTED]: { input: 1, output: 5 } });

/** Each call costs 1,000 tokens of input and what it may say, of 5 USD per million. */
const system = await startSystem({
  workers: 0,
  env: { PRICE_OVERRIDES_FILE: pricesFile },
  provider: {
    behave: ({ messages, maxTokens }) => {
      const usage = { input_tokens: 1000, output_tokens: maxTokens ?? 0 };
      const asksTool =
        messages.every(({ role }) => role !== 'tool') && JSON.stringify(messages).includes('turns');
      if (!asksTool) return { text: 'ok', usage };
      const call = { id: 'call_1', name: 'calculator', arguments: '{"expression":"6 * 7"}' };
      return { toolCalls: [call], usage };
    },
  },
});
after(() => system.stop());

const agent = (tag: string, spec: object = {}): object => taggedAgent(tag, { tools: [], ...spec });

const put = async (api: ApiClient, path: string, body: object): Promise<void> => {
  const { status, json } = await api.request(path, { method: 'PUT', body });
  assert.equal(status, 200, JSON.stringify(json));
};

const openTenant = async (tenantId: string): Promise<ApiClient> => {
  const { partition, db, stack } = system;
  const defaultCaps = { runNano: fromUsd(1), userDailyNano: fromUsd(20), tenantDailyNano: fromUsd(200) };
  const scopes = ['runs:read', 'runs:write', 'admin'] as const;
  const { secret } = await createApiKey({ partition, db, defaultCaps }, { tenantId, scopes });
  return createClient(stack.apiUrl, secret);
};

const requestsTagged = (tag: string): number =>
  system.provider.ledger.filter(({ body }) => JSON.stringify(body).includes(`#tag ${tag}`)).length;

/** The event of the refusal as the run's event stream tells it, and that it is the last but the end. */
const streamedDenial = async (api: ApiClient, { id }: Run): Promise<Record<string, unknown>> => {
  const all = await allFrames(api, { runId: id });
  assert.deepEqual(
    all.slice(-3).map(({ event }) => event),
    ['cost.denied', 'run.failed', 'end'],
  );
  const { data } = JSON.parse(all.at(-3)?.data ?? '{}') as { data: Record<string, unknown> };
  return data;
};

const problemOf = async (body: object): Promise<Record<string, unknown>> => {
  // Lists come from Postgres: what was submitted before must have arrived there.
  await allStored(system.partition);
  const before = (await system.api.request('/v1/runs')).json['data'];
  const { status, json } = await system.api.request('/v1/runs', { body });
  assert.equal(status, 422, JSON.stringify(json));
  assert.deepEqual((await system.api.request('/v1/runs')).json['data'], before, 'no run was made');
  return json;
};

test('a model without a price is refused when it is submitted', async () => {
  const problem = await problemOf({
    agent: agent('none', { model: 'anthropic/claude-imaginary' }),
    input: 'hi',
  });
  assert.equal(problem['code'], 'price_unknown');
  assert.match(String(problem['detail']), /claude-imaginary/);
});

test('cost_intent free refuses any model that costs money, also as a fallback, and lets a free one run', async () => {
  for (const models of [
    { model: 'anthropic/claude-haiku-4-5' },
    { model: 'mock/echo', fallbacks: ['anthropic/claude-haiku-4-5'] },
  ]) {
    const problem = await problemOf({
      agent: agent('free', { ...models, cost_intent: 'free' }),
      input: 'hi',
    });
    assert.equal(problem['code'], 'invalid_request');
    assert.match(String(problem['detail']), /costs money/);
  }
  const { status } = await system.api.submit({
    agent: agent('free', { model: 'mock/echo', cost_intent: 'free' }),
    input: 'hi',
  });
  assert.equal(status, 'queued');
});

test('price_unknown and cap_missing: a run that was taken fails before a request leaves', async () => {
  const unpriced = await system.api.submit({ agent: agent('unpriced', { model: UNLISTED }), input: 'hi' });
  const uncapped = await system.api.submit({ agent: agent('uncapped'), input: 'hi' });
  const { redis, root } = system.partition;
  const field = [`${root}:caps:default`, 'tenant_monthly'] as const;
  assert.equal(await redis.hdel(...field), 1);
  assert.equal((await problemOf({ agent: agent('none'), input: 'hi' }))['code'], 'cap_missing');
  writePrices({});
  await system.stack.startWorker();

  for (const [run, code, says] of [
    [await system.api.end(unpriced.id), 'price_unknown', /claude-unlisted/],
    [await system.api.end(uncapped.id), 'cap_missing', /tenant_month/],
  ] as const) {
    assert.deepEqual([run.status, run.error?.code, run.error?.step], ['failed', code, 1]);
    assert.match(run.error?.message ?? '', says);
    assert.equal((await streamedDenial(system.api, run))['code'], code);
  }
  assert.equal(requestsTagged('unpriced') + requestsTagged('uncapped'), 0);
  await put(system.api, '/v1/caps/tenant', { monthly_usd: null });
  const next = await system.api.submit({ agent: agent('capped-again'), input: 'hi' });
  assert.equal((await system.api.end(next.id)).status, 'succeeded');
});

interface Denial {
  readonly scope: CapScope;
  /** Says what to submit, and as whom, once this scope has been used up. */
  readonly prepare: () => Promise<{ api: ApiClient; body: object }>;
}

/** A first run spends; then the cap is lowered to what is spent. Path and field say which cap. */
const usedUp = async (
  api: ApiClient,
  tag: string,
  { path, field, user_id }: { path: string; field: 'daily_usd' | 'monthly_usd'; user_id?: string },
) => {
  const who = user_id === undefined ? {} : { user_id };
  const first = await api.submit({ agent: agent(`first-of-${tag}`), input: 'hi', ...who });
  const { cost } = await api.end(first.id);
  assert.ok(cost.observed_usd > 0);
  await put(api, path, { [field]: cost.observed_usd });
  return { api, body: { agent: agent(tag), input: 'hi', ...who } };
};

const DENIALS: readonly Denial[] = [
  {
    scope: 'run',
    // Enough for the first call, not for the second.
    prepare: () => {
      const spec = { tools: ['calculator'], limits: { cost_usd: 0.009, max_output_tokens: 1024 } };
      return Promise.resolve({ api: system.api, body: { agent: agent('run', spec), input: THREE_STEPS } });
    },
  },
  {
    scope: 'user_day',
    prepare: () =>
      usedUp(system.api, 'user_day', { path: '/v1/caps/users/u-day', field: 'daily_usd', user_id: 'u-day' }),
  },
  {
    scope: 'user_month',
    prepare: () =>
      usedUp(system.api, 'user_month', {
        path: '/v1/caps/users/u-month',
        field: 'monthly_usd',
        user_id: 'u-month',
      }),
  },
  {
    scope: 'tenant_day',
    prepare: async () =>
      usedUp(await openTenant('by-day'), 'tenant_day', { path: '/v1/caps/tenant', field: 'daily_usd' }),
  },
  {
    scope: 'tenant_month',
    prepare: async () =>
      usedUp(await openTenant('by-month'), 'tenant_month', { path: '/v1/caps/tenant', field: 'monthly_usd' }),
  },
];

/** When a scope begins anew, in UTC, which all tenants of this test live in. */
const resetOf = (scope: CapScope, at: string): string | null => {
  const [year = 0, month = 0, day = 0] = at.slice(0, 10).split('-').map(Number);
  if (scope === 'run') return null;
  const ms = scope.endsWith('_month') ? Date.UTC(year, month, 1) : Date.UTC(year, month - 1, day + 1);
  return new Date(ms).toISOString();
};

for (const { scope, prepare } of DENIALS) {
  test(`cost_cap_exceeded: ${scope}`, async () => {
    const { api, body } = await prepare();
    const run = await api.end((await api.submit(body)).id);
    assert.deepEqual(
      [run.status, run.error?.code],
      ['failed', 'cost_cap_exceeded'],
      JSON.stringify(run.error),
    );
    const {
      cap_nano: cap,
      spent_nano: spent,
      held_nano: held,
      need_nano: need,
      ...rest
    } = run.error?.details ?? {};
    const resetsAt = resetOf(scope, run.finished_at ?? '');
    assert.deepEqual(rest, { scope, resets_at: resetsAt });
    assert.ok(typeof cap === 'number' && typeof spent === 'number' && typeof need === 'number');
    assert.ok(spent > 0 && spent <= cap && spent + need > cap && held === 0, JSON.stringify(run.error));
    const message = run.error?.message ?? '';
    assert.match(message, new RegExp(`${scope} cap of \\$`));
    assert.ok(resetsAt === null || message.includes(resetsAt), message);

    const event = await streamedDenial(api, run);
    const { error } = run;
    assert.deepEqual(event, { step: error?.step, code: 'cost_cap_exceeded', ...error?.details });
    assert.equal(requestsTagged(scope), scope === 'run' ? 1 : 0, 'the refused call never left');
  });
}

test('all of it is in the books as it was', async () => {
  const { json } = await system.api.request('/v1/runs?limit=100');
  const ids = (json['data'] as { id: string }[]).map(({ id }) => id);
  await settled(system, ids);
  assert.deepEqual(await violations(system), []);
});
