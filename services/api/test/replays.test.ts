import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { claimReplay, holdFork } from '@signalbox/audit-store';
import { createKeyring, newDataKey, SealError } from '@signalbox/runtime';
import type { Api } from '../src/deps.ts';
import { createApp } from '../src/http/app.ts';
import type { ReplayJob } from '../src/replays/replay-schemas.ts';
import { replayTurn } from '../src/replays/replay-turn.ts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { counts, look, NEVER, start, storedRuns, toTheEnd, worker } from './replaying.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

test('a job replays what its filter names and counts each run once (R12)', async () => {
  const ids = await storedRuns(h, 3, 'counted');
  const job = await start(h, { filter: { agent: 'counted' } });
  assert.deepEqual([job.status, counts(job)], ['queued', [0, 0, 0, 0]]);
  const done = await toTheEnd(h, job.id);
  assert.deepEqual([done.status, counts(done), done.steps], ['done', [3, 3, 0, 0], 3]);
  assert.deepEqual([done.divergences, done.failures, done.forks, done.committed_usd], [[], [], [], 0]);
  const limited = await toTheEnd(h, (await start(h, { filter: { agent: 'counted', limit: 2 } })).id);
  assert.deepEqual(counts(limited), [2, 2, 0, 0]);
  const failed = await toTheEnd(h, (await start(h, { filter: { agent: 'counted', status: 'failed' } })).id);
  assert.deepEqual(counts(failed), [0, 0, 0, 0]);
  assert.equal(ids.length, 3);
});

test('what is rare is found behind many others, in several looks', async () => {
  const ids = await storedRuns(h, 6, 'rare');
  const newer = ids.toSorted().slice(2);
  await h.db.updateTable('runs').set({ model: 'mock/script' }).where('id', 'in', newer).execute();
  const job = await start(h, { filter: { agent: 'rare', model: 'mock/echo' } });
  const deps = { ...worker(h), mostLookedAt: 2 };
  assert.equal(await replayTurn(deps, NEVER), true);
  assert.deepEqual(
    [(await look(h, job.id)).status, counts(await look(h, job.id))],
    ['running', [0, 0, 0, 0]],
  );
  while (await replayTurn(deps, NEVER));
  const done = await look(h, job.id);
  assert.deepEqual([done.status, counts(done)], ['done', [2, 2, 0, 0]]);
});

test('what changes part from the recording is named, with the first of each run', async () => {
  const ids = await storedRuns(h, 2, 'changed');
  const changes = { instructions: 'Say nothing of the secret plan.' };
  const started = await start(h, { filter: { agent: 'changed' }, changes });
  const job = await toTheEnd(h, started.id);
  assert.deepEqual([job.status, counts(job), job.changed], ['done', [2, 0, 2, 0], ['instructions']]);
  assert.deepEqual(
    job.divergences.map(({ run_id, step, kind }) => [run_id, step, kind]),
    ids.toReversed().map((id) => [id, 1, 'request']),
  );
  const decisions = await start(h, { filter: { agent: 'changed' }, changes, compare: 'decisions' });
  assert.deepEqual(counts(await toTheEnd(h, decisions.id)), [2, 2, 0, 0]);
  const model = await start(h, { filter: { agent: 'changed' }, changes: { model: 'mock/script' } });
  assert.deepEqual((await toTheEnd(h, model.id)).divergences[0]?.kind, 'model');
});

test('what is to be said stands nowhere in clear, and is gone once the job has ended (R13)', async () => {
  const { id } = await start(h, {
    filter: { agent: 'nobody' },
    changes: { instructions: 'Say nothing of the secret plan.' },
  });
  const row = async () => h.db.selectFrom('replays').selectAll().where('id', '=', id).executeTakeFirst();
  const open = await row();
  assert.ok(open?.sealed_changes);
  assert.ok(!JSON.stringify(open).includes('secret plan'));
  assert.equal((await toTheEnd(h, id)).status, 'done');
  assert.equal((await row())?.sealed_changes, null);
});

test('a run that cannot be read is told of with its code, and stops no other', async () => {
  const [erased] = await storedRuns(h, 2, 'erased');
  assert.equal((await h.call('DELETE', `/v1/runs/${erased}/content`)).status, 200);
  const job = await toTheEnd(h, (await start(h, { filter: { agent: 'erased' } })).id);
  assert.deepEqual([job.status, counts(job)], ['done', [2, 1, 0, 1]]);
  assert.deepEqual(job.failures, [{ run_id: erased, code: 'content_erased' }]);
});

test('changes that a process cannot open wait a day for one that can, and then end the job', async () => {
  await storedRuns(h, 1, 'sealed');
  const { id } = await start(h, { filter: { agent: 'sealed' } });
  const other = createKeyring([{ id: 'other', key: newDataKey() }]);
  const stranger = { ...worker(h), keyring: other };
  await assert.rejects(replayTurn(stranger, NEVER), SealError);
  assert.equal((await toTheEnd(h, id)).status, 'done');

  const { id: lost } = await start(h, { filter: { agent: 'sealed' } });
  const clock = { ...h.deps.clock, now: () => h.deps.clock.now() + 25 * 3_600_000 };
  const tomorrow = { ...stranger, clock };
  assert.equal(await replayTurn(tomorrow, NEVER), true);
  assert.equal(await replayTurn(tomorrow, NEVER), false, 'nobody tries it again and again');
  const { status, error } = await look(h, lost);
  assert.deepEqual([status, error], ['failed', 'Its changes cannot be opened any more.']);
});

test('an owner that stops saves what it did; one that is lost is followed, and writes nothing more', async () => {
  await storedRuns(h, 3, 'handed');
  const { id } = await start(h, { filter: { agent: 'handed' } });
  const stopping = new AbortController();
  stopping.abort();
  await replayTurn(worker(h), stopping.signal);
  assert.deepEqual([(await look(h, id)).status, counts(await look(h, id))], ['running', [0, 0, 0, 0]]);
  const lost = worker(h);
  assert.equal((await claimReplay(h.db, { owner: lost.owner, leaseSeconds: 60 }))?.id, id);
  assert.equal(await replayTurn(worker(h), NEVER), false, 'its owner may still live');
  await h.db
    .updateTable('replays')
    .set({ lease_until: new Date(0) })
    .where('id', '=', id)
    .execute();
  const done = await toTheEnd(h, id);
  assert.deepEqual([done.status, counts(done)], ['done', [3, 3, 0, 0]]);
  const plan = { runId: 'run_x', fromStep: 1, capNano: 0 };
  const hold = await holdFork(h.db, { id, owner: lost.owner }, plan, { most: 9, repeatableHours: 1 });
  assert.deepEqual(hold, { type: 'lost' });
});

test('a page that brings down its owners again and again ends the job', async () => {
  await storedRuns(h, 1, 'poison');
  const { id } = await start(h, { filter: { agent: 'poison' } });
  for (let n = 0; n < 6; n += 1) {
    await claimReplay(h.db, { owner: `lost-${n}`, leaseSeconds: 60 });
    await h.db
      .updateTable('replays')
      .set({ lease_until: new Date(0) })
      .where('id', '=', id)
      .execute();
  }
  const job = await toTheEnd(h, id);
  assert.equal(job.status, 'failed');
  assert.match(job.error ?? '', /brought down/);
});

test('an aborted job is worked no more; a job that has ended stays as it is', async () => {
  await storedRuns(h, 1, 'aborted');
  const { id } = await start(h, { filter: { agent: 'aborted' } });
  const abort = async (): Promise<ReplayJob> => {
    const response = await h.call('POST', `/v1/replays/${id}/abort`);
    assert.equal(response.status, 202);
    return (await response.json()) as ReplayJob;
  };
  const aborted = await abort();
  assert.equal(aborted.status, 'aborted');
  assert.deepEqual(await toTheEnd(h, id), aborted);
  assert.deepEqual(await abort(), aborted);
});

test('the same Idempotency-Key gives the same job; another body is refused', async () => {
  const headers = { 'idempotency-key': 'upgrade-7' };
  const request = { filter: { agent: 'none' } };
  const { id } = await start(h, request, headers);
  assert.equal((await start(h, request, headers)).id, id);
  const json = { ...request, compare: 'decisions' };
  const response = await h.call('POST', '/v1/replays', { json, headers });
  assert.equal(response.status, 422);
  assert.equal(((await response.json()) as { code: string }).code, 'idempotency_mismatch');
});

test('during a rotation of keys a repeat gives the same job, whichever keys the api has that it reaches', async () => {
  const [k1, k2] = [
    { id: 'k1', key: newDataKey() },
    { id: 'k2', key: newDataKey() },
  ];
  const apis = [[k1], [k1, k2], [k2, k1], [k2]].map((keys) =>
    createApp({ ...h.deps, keyring: createKeyring(keys) }),
  );
  const key = await h.key('rolling', ['runs:write', 'content:read', 'runs:read']);
  const made = new Set<string | undefined>();
  const ask = async (app: Api, idempotencyKey: string, json: object = { filter: {} }) => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const response = await app.request('/v1/replays', {
      method: 'POST',
      headers: { ...headers, 'idempotency-key': idempotencyKey },
      body: JSON.stringify(json),
    });
    const { id, code } = (await response.json()) as { id?: string; code?: string };
    if (id !== undefined) made.add(id);
    return id ?? code;
  };
  const [old, , both, fresh] = apis;
  assert.ok(old !== undefined && both !== undefined && fresh !== undefined);
  const id = await ask(both, 'first');
  assert.deepEqual(
    await Promise.all(apis.map((app) => ask(app, 'first'))),
    apis.map(() => id),
  );
  const mismatches = await Promise.all(apis.map((app) => ask(app, 'first', { filter: { agent: 'a' } })));
  assert.deepEqual(
    mismatches,
    apis.map(() => 'idempotency_mismatch'),
  );
  assert.equal(await ask(both, 'second'), await ask(both, 'second'));
  assert.equal(await ask(both, 'third'), await ask(old, 'third'));
  assert.equal(await ask(old, 'fourth'), await ask(both, 'fourth'));
  const atOnce = await Promise.all(apis.slice(0, 3).map((app) => ask(app, 'fifth')));
  assert.deepEqual(
    atOnce,
    atOnce.map(() => atOnce[0]),
  );
  // Those who turn jobs in other tests have none of these keys.
  for (const job of made) await h.call('POST', `/v1/replays/${job}/abort`, { key });
});

test('a budget goes with mode paid, unknown fields and models are refused', async () => {
  const refused: readonly [object, string][] = [
    [{ filter: {}, mode: 'paid' }, 'max_cost_usd'],
    [{ filter: {}, max_cost_usd: 1 }, 'max_cost_usd'],
    [{}, 'filter'],
    [{ filter: { status: 'running' } }, 'filter.status'],
    [{ filter: {}, changes: { input: 'x' } }, 'changes.input'],
    [{ filter: {}, changes: { model: 'mock/none' } }, 'changes.model'],
  ];
  for (const [json, path] of refused) {
    const response = await h.call('POST', '/v1/replays', { json });
    const { errors } = (await response.json()) as { errors: { path: string }[] };
    assert.deepEqual([response.status, errors[0]?.path], [422, path], JSON.stringify(json));
  }
});

/** How often the audit log of a tenant tells of it. */
const told = async (tenant: string, type: string): Promise<number> => {
  await storeAll(h);
  const events = h.db.selectFrom('audit_events').where('tenant_id', '=', tenant).where('type', '=', type);
  return (await events.select('seq').execute()).length;
};

test('a tenant has ten jobs under way at most, however many it asks for at once, and its audit log tells of no other', async () => {
  const key = await h.key('busy', ['runs:write', 'content:read']);
  const ask = (): Promise<Response> => h.call('POST', '/v1/replays', { json: { filter: {} }, key });
  const answers = await Promise.all(Array.from({ length: 15 }, ask));
  const taken = answers.filter(({ status }) => status === 202);
  assert.deepEqual([taken.length, (await ask()).status], [10, 429]);
  assert.equal(await told('busy', 'replay.started'), 10);
});

test('the audit log tells once of a job that several abort at once', async () => {
  const key = await h.key('calm', ['runs:write', 'content:read', 'runs:read']);
  const response = await h.call('POST', '/v1/replays', { json: { filter: {} }, key });
  const { id } = (await response.json()) as ReplayJob;
  const abort = (): Promise<Response> => h.call('POST', `/v1/replays/${id}/abort`, { key });
  const answers = await Promise.all([abort(), abort(), abort()]);
  assert.deepEqual(
    answers.map(({ status }) => status),
    [202, 202, 202],
  );
  assert.equal(await told('calm', 'replay.aborted'), 1);
});

test("another tenant's runs are not selected, its jobs not found", async () => {
  await storedRuns(h, 1, 'theirs');
  const key = await h.key('stranger', ['runs:write', 'content:read', 'runs:read']);
  const response = await h.call('POST', '/v1/replays', { json: { filter: {} }, key });
  const { id } = (await response.json()) as ReplayJob;
  assert.equal((await h.call('GET', `/v1/replays/${id}`)).status, 404);
  assert.equal((await h.call('POST', `/v1/replays/${id}/abort`)).status, 404);
  await toTheEnd(h, id);
  const seen = (await (await h.call('GET', `/v1/replays/${id}`, { key })).json()) as ReplayJob;
  assert.deepEqual([seen.status, counts(seen)], ['done', [0, 0, 0, 0]]);
});
