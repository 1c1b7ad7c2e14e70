/**
 * What was said in an erased run cannot be read by anybody, with every key there is; what it did is still proven and
 * what it cost still counted.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { chainBreak, readEntry } from '@signalbox/engine';
import { startService, temporaryDir, waitFor } from '@signalbox/local';
import { open, SealError } from '@signalbox/runtime';
import { settled, startSystem, THREE_STEPS, violations } from './stack.ts';

const KEY = randomBytes(32);
const SECRET = 'the patient is called Ada Example';
const system = await startSystem({
  workers: 1,
  leaseSeconds: 3,
  env: { ENCRYPTION_KEYS: `k1:${KEY.toString('base64')}` },
});
after(() => system.stop());
const { api, db, partition } = system;
const { redis } = partition;

const AGENT = {
  model: 'anthropic/claude-haiku-4-5',
  tools: ['calculator'],
  instructions: `Know that ${SECRET}.`,
};

interface Sealed {
  readonly where: string;
  readonly runId: string;
  readonly bytes: Buffer;
}

const fromText = (where: string, runId: string, text: string): Sealed => ({
  where,
  runId,
  bytes: Buffer.from(text, 'base64'),
});

/** All sealed bytes of contents that Postgres and Redis hold, of any run. */
const allSealed = async (): Promise<Sealed[]> => {
  const rows = await db.selectFrom('contents').selectAll().execute();
  const found = rows.map(
    ({ run_id, sealed }): Sealed => ({ where: 'contents', runId: run_id, bytes: sealed }),
  );
  for (const key of await redis.keys(`${partition.root}:run:*:contents`)) {
    const runId = key.split(':').at(-2) ?? '';
    for (const text of Object.values(await redis.hgetall(key))) found.push(fromText(key, runId, text));
  }
  return found;
};

/** Every data key that can still be had: unwrapped with every key we hold, wherever its wrapped form lies. */
const dataKeys = async (runIds: readonly string[]): Promise<Buffer[]> => {
  const wrapped = (await db.selectFrom('run_keys').select('wrapped_key').execute()).map(
    (row) => row.wrapped_key,
  );
  for (const key of await redis.keys(`${partition.root}:run:*`)) {
    if ((await redis.type(key)) !== 'hash') continue;
    const text = await redis.hget(key, 'key');
    if (text !== null) wrapped.push(text);
  }
  const keys: Buffer[] = [KEY];
  for (const text of wrapped) {
    const bytes = Buffer.from(text.slice(text.indexOf('.') + 1), 'base64');
    for (const runId of runIds) {
      try {
        keys.push(open(KEY, bytes, runId));
      } catch (error) {
        if (!(error instanceof SealError)) throw error;
      }
    }
  }
  return keys;
};

/** What can be read of these runs by trying every key on all that is sealed. */
const readable = async (runIds: readonly string[]): Promise<string[]> => {
  const keys = await dataKeys(runIds);
  const texts: string[] = [];
  for (const { runId, bytes } of await allSealed()) {
    for (const key of keys) {
      for (const aad of new Set([runId, ...runIds])) {
        try {
          texts.push(open(key, bytes, aad).toString('utf8'));
        } catch (error) {
          if (!(error instanceof SealError)) throw error;
        }
      }
    }
  }
  return texts;
};

/** Every value of every key in Redis, and every row of Postgres that may hold text, as they lie there. */
const rawBytes = async (): Promise<string> => {
  const parts: string[] = [];
  for (const key of await redis.keys('*')) {
    const dump = await redis.dumpBuffer(key);
    parts.push(dump?.toString('latin1') ?? '');
  }
  for (const table of ['audit_events', 'runs', 'run_keys', 'contents', 'audit_quarantine'] as const) {
    parts.push(JSON.stringify(await db.selectFrom(table).selectAll().execute()));
  }
  return parts.join('\n');
};

const entriesOf = async (runId: string): Promise<string[]> => {
  const rows = await db
    .selectFrom('audit_events')
    .select(['hash', 'body'])
    .where('run_id', '=', runId)
    .orderBy('seq')
    .execute();
  return rows.map(({ hash, body }) => hash + (body ?? ''));
};

test('an erased run: unreadable with every key there is, its chain whole, its costs counted', async () => {
  const submit = () => api.submit({ agent: AGENT, input: THREE_STEPS, user_id: 'u1' });
  const [erased, kept] = [(await submit()).id, (await submit()).id];
  await Promise.all([api.end(erased), api.end(kept)]);
  await settled(system, [erased, kept]);

  const before = { run: await api.run(erased), entries: await entriesOf(erased) };
  const costs = async () => (await api.request('/v1/costs?group_by=user_id')).json['data'];
  const costsBefore = await costs();
  const wasReadable = await readable([erased]);
  assert.ok(
    wasReadable.some((text) => text.includes(SECRET)),
    'this test can read a run that is not erased',
  );
  assert.ok(wasReadable.length >= 4, 'submission, spec, answers and a result');

  const { status } = await api.request(`/v1/runs/${erased}/content?reason=asked`, { method: 'DELETE' });
  assert.equal(status, 200);
  await settled(system, [erased, kept]);

  assert.deepEqual(await readable([erased]), []);
  assert.ok(
    (await readable([kept])).some((text) => text.includes(SECRET)),
    'the other run is untouched',
  );
  assert.ok(!(await rawBytes()).includes(SECRET), 'nothing lies anywhere in clear');
  const sealed = await allSealed();
  assert.ok(!sealed.some(({ runId }) => runId === erased));

  assert.deepEqual(await entriesOf(erased), before.entries, 'not one byte of its journal changed');
  assert.equal(chainBreak(before.entries), null);
  assert.equal(before.entries.map(readEntry).at(-1)?.type, 'run.succeeded');
  assert.deepEqual(await costs(), costsBefore);
  const run = await api.run(erased);
  assert.equal(typeof run.content_erased_at, 'string');
  const gone = { input: null, output: null, metadata: {}, content_erased_at: run.content_erased_at };
  assert.deepEqual(run, { ...before.run, ...gone });
  assert.ok(run.cost.observed_usd > 0);

  const fork = await api.request(`/v1/runs/${erased}/fork`, { body: { from_step: 1, changes: {} } });
  assert.equal(fork.status, 410);
  const facts = (await api.request('/v1/audit?type=content.erased')).json['data'] as { data: object }[];
  assert.deepEqual(
    facts.map(({ data }) => data),
    [{ run_id: erased, reason: 'asked' }],
  );
  assert.deepEqual(await violations(system), []);
});

test('retention: a run that has ended is erased when its period is over, one under legal hold is not', async () => {
  const { id: held } = await api.submit({ agent: AGENT, input: THREE_STEPS });
  const hold = await api.request(`/v1/runs/${held}/legal-hold`, { method: 'PUT', body: { held: true } });
  assert.equal(hold.status, 200);
  await api.end(held);
  const { id: due } = await api.submit({ agent: AGENT, input: THREE_STEPS });
  await api.end(due);
  await settled(system, [held, due]);
  const entries = await entriesOf(due);
  const before = await api.run(due);

  const set = await api.request('/v1/retention', { method: 'PUT', body: { content_days: 0 } });
  assert.equal(set.status, 200);
  await waitFor(async () => ((await api.run(due)).content_erased_at === null ? undefined : true), {
    what: 'the scheduler to erase what is due',
    timeoutMs: 120_000,
  });
  await settled(system, [held, due]);
  assert.deepEqual(await readable([due]), []);
  assert.ok((await readable([held])).some((text) => text.includes(SECRET)));
  assert.deepEqual(await entriesOf(due), entries);
  assert.deepEqual((await api.run(due)).cost, before.cost);
  const { json } = await api.request('/v1/audit?type=content.erased');
  const facts = (json['data'] as { data: { run_id: string } }[]).map(({ data }) => data);
  assert.deepEqual(
    facts.filter(({ run_id }) => [due, held].includes(run_id)),
    [{ run_id: due, reason: 'retention' }],
  );
  assert.deepEqual(await violations(system), []);
});

test('an erasure right at the end of a run, before it is stored: nothing of it arrives', async () => {
  await system.stack.auditWriter.kill();
  const { id } = await api.submit({ agent: AGENT, input: THREE_STEPS });
  await api.end(id);
  assert.equal((await api.request(`/v1/runs/${id}/content`, { method: 'DELETE' })).status, 200);
  const fresh = await startService({
    name: 'audit-writer-2',
    entry: 'services/audit-writer/src/main.ts',
    env: { ...process.env, ...system.env, METRICS_PORT: '0' },
    logDir: join(await temporaryDir(), 'logs'),
  });
  after(() => fresh.stop());
  await settled(system, [id]);
  assert.deepEqual(await readable([id]), []);
  assert.equal(chainBreak(await entriesOf(id)), null);
  assert.equal((await api.run(id)).status, 'succeeded');
});
