import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claimReplay, holdFork } from '@signalbox/audit-store';
import { replayAad, type Run } from '@signalbox/contracts';
import { createKeyring, newDataKey, SealError, sealText } from '@signalbox/runtime';
import type { ReplayJob } from '../src/replays/replay-schemas.ts';
import { replayTurn, type TurnDeps } from '../src/replays/replay-turn.ts';
import { coolDown, storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

const NEVER = new AbortController().signal;

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

/** Ended runs of an agent of their own, stored and gone from Redis. */
const storedRuns = async (count: number, agent: string, steps = 1): Promise<string[]> => {
  assert.equal((await h.call('PUT', `/v1/agents/${agent}`, { json: { model: 'mock/echo' } })).status, 201);
  const runs: Run[] = [];
  for (let n = 0; n < count; n += 1) runs.push(await h.submit({ agent, input: `input ${n}` }));
  for (const { id } of runs) await finish(h, id, steps);
  await storeAll(h);
  for (const { id } of runs) await coolDown(h, id);
  return runs.map(({ id }) => id);
};

const start = async (json: object, headers = {}): Promise<ReplayJob> => {
  const response = await h.call('POST', '/v1/replays', { json, headers });
  const text = await response.text();
  assert.ok([200, 202].includes(response.status), text);
  return JSON.parse(text) as ReplayJob;
};

const look = async (id: string): Promise<ReplayJob> =>
  (await (await h.call('GET', `/v1/replays/${id}`)).json()) as ReplayJob;

const worker = (): TurnDeps => ({ ...h.deps, owner: randomUUID() });

const toTheEnd = async (id: string): Promise<ReplayJob> => {
  const deps = worker();
  while (await replayTurn(deps, NEVER));
  return look(id);
};

const counts = (job: ReplayJob): number[] => {
  const { selected, identical, diverged, failed } = job.counts;
  return [selected, identical, diverged, failed];
};

test('a job replays what its filter names and counts each run once (R12)', async () => {
  const ids = await storedRuns(3, 'counted');
  const job = await start({ filter: { agent: 'counted' } });
  assert.deepEqual([job.status, counts(job)], ['queued', [0, 0, 0, 0]]);
  const done = await toTheEnd(job.id);
  assert.deepEqual([done.status, counts(done), done.steps], ['done', [3, 3, 0, 0], 3]);
  assert.deepEqual([done.divergences, done.failures, done.forks, done.committed_usd], [[], [], [], 0]);
  const limited = await toTheEnd((await start({ filter: { agent: 'counted', limit: 2 } })).id);
  assert.deepEqual(counts(limited), [2, 2, 0, 0]);
  const failed = await toTheEnd((await start({ filter: { agent: 'counted', status: 'failed' } })).id);
  assert.deepEqual(counts(failed), [0, 0, 0, 0]);
  assert.equal(ids.length, 3);
});

test('what is rare is found behind many others, in several looks', async () => {
  const ids = await storedRuns(6, 'rare');
  const newer = ids.toSorted().slice(2);
  await h.db.updateTable('runs').set({ model: 'mock/script' }).where('id', 'in', newer).execute();
  const job = await start({ filter: { agent: 'rare', model: 'mock/echo' } });
  const deps = { ...worker(), mostLookedAt: 2 };
  assert.equal(await replayTurn(deps, NEVER), true);
  assert.deepEqual([(await look(job.id)).status, counts(await look(job.id))], ['running', [0, 0, 0, 0]]);
  while (await replayTurn(deps, NEVER));
  const done = await look(job.id);
  assert.deepEqual([done.status, counts(done)], ['done', [2, 2, 0, 0]]);
});

test('what changes part from the recording is named, with the first of each run', async () => {
  const ids = await storedRuns(2, 'changed');
  const changes = { instructions: 'Say nothing of the secret plan.' };
  const started = await start({ filter: { agent: 'changed' }, changes });
  const job = await toTheEnd(started.id);
  assert.deepEqual([job.status, counts(job), job.changed], ['done', [2, 0, 2, 0], ['instructions']]);
  assert.deepEqual(
    job.divergences.map(({ run_id, step, kind }) => [run_id, step, kind]),
    ids.toReversed().map((id) => [id, 1, 'request']),
  );
  const decisions = await start({ filter: { agent: 'changed' }, changes, compare: 'decisions' });
  assert.deepEqual(counts(await toTheEnd(decisions.id)), [2, 2, 0, 0]);
  const model = await start({ filter: { agent: 'changed' }, changes: { model: 'mock/script' } });
  assert.deepEqual((await toTheEnd(model.id)).divergences[0]?.kind, 'model');
});

test('what is to be said stands nowhere in clear, and is gone once the job has ended (R13)', async () => {
  const { id } = await start({
    filter: { agent: 'nobody' },
    changes: { instructions: 'Say nothing of the secret plan.' },
  });
  const row = async () => h.db.selectFrom('replays').selectAll().where('id', '=', id).executeTakeFirst();
  const open = await row();
  assert.ok(open?.sealed_changes);
  assert.ok(!JSON.stringify(open).includes('secret plan'));
  assert.equal((await toTheEnd(id)).status, 'done');
  assert.equal((await row())?.sealed_changes, null);
});

test('a run that cannot be read is told of with its code, and stops no other', async () => {
  const [erased] = await storedRuns(2, 'erased');
  assert.equal((await h.call('DELETE', `/v1/runs/${erased}/content`)).status, 200);
  const job = await toTheEnd((await start({ filter: { agent: 'erased' } })).id);
  assert.deepEqual([job.status, counts(job)], ['done', [2, 1, 0, 1]]);
  assert.deepEqual(job.failures, [{ run_id: erased, code: 'content_erased' }]);
});

test('changes that a process cannot open wait a day for one that can, and then end the job', async () => {
  await storedRuns(1, 'sealed');
  const { id } = await start({ filter: { agent: 'sealed' } });
  const other = createKeyring([{ id: 'other', key: newDataKey() }]);
  const stranger = { ...worker(), keyring: other };
  await assert.rejects(replayTurn(stranger, NEVER), SealError);
  assert.equal((await toTheEnd(id)).status, 'done');

  const { id: lost } = await start({ filter: { agent: 'sealed' } });
  const clock = { ...h.deps.clock, now: () => h.deps.clock.now() + 25 * 3_600_000 };
  const tomorrow = { ...stranger, clock };
  assert.equal(await replayTurn(tomorrow, NEVER), true);
  assert.equal(await replayTurn(tomorrow, NEVER), false, 'nobody tries it again and again');
  const { status, error } = await look(lost);
  assert.deepEqual([status, error], ['failed', 'Its changes cannot be opened any more.']);
});

test('an owner that stops saves what it did; one that is lost is followed, and writes nothing more', async () => {
  await storedRuns(3, 'handed');
  const { id } = await start({ filter: { agent: 'handed' } });
  const stopping = new AbortController();
  stopping.abort();
  await replayTurn(worker(), stopping.signal);
  assert.deepEqual([(await look(id)).status, counts(await look(id))], ['running', [0, 0, 0, 0]]);
  const lost = worker();
  assert.equal((await claimReplay(h.db, { owner: lost.owner, leaseSeconds: 60 }))?.id, id);
  assert.equal(await replayTurn(worker(), NEVER), false, 'its owner may still live');
  await h.db
    .updateTable('replays')
    .set({ lease_until: new Date(0) })
    .where('id', '=', id)
    .execute();
  const done = await toTheEnd(id);
  assert.deepEqual([done.status, counts(done)], ['done', [3, 3, 0, 0]]);
  const plan = { runId: 'run_x', fromStep: 1, capNano: 0 };
  const hold = await holdFork(h.db, { id, owner: lost.owner }, plan, { most: 9, repeatableHours: 1 });
  assert.deepEqual(hold, { type: 'lost' });
});

test('a page that brings down its owners again and again ends the job', async () => {
  await storedRuns(1, 'poison');
  const { id } = await start({ filter: { agent: 'poison' } });
  for (let n = 0; n < 6; n += 1) {
    await claimReplay(h.db, { owner: `lost-${n}`, leaseSeconds: 60 });
    await h.db
      .updateTable('replays')
      .set({ lease_until: new Date(0) })
      .where('id', '=', id)
      .execute();
  }
  const job = await toTheEnd(id);
  assert.equal(job.status, 'failed');
  assert.match(job.error ?? '', /brought down/);
});

test('paid: forks begin at the first divergence, and their caps never pass the budget (R1)', async () => {
  const ids = await storedRuns(4, 'paid', 2);
  const limits = { cost_usd: 0.25 };
  const job = await toTheEnd(
    (await start({ filter: { agent: 'paid' }, changes: { limits }, mode: 'paid', max_cost_usd: 0.6 })).id,
  );
  // After an answer without tool calls there is no second call: today's engine ends there.
  assert.deepEqual([job.status, counts(job)], ['done', [4, 0, 4, 0]]);
  assert.deepEqual([job.counts.forked, job.counts.not_forked, job.committed_usd], [2, 2, 0.5]);
  const forks = await Promise.all(
    job.forks.map(async ({ fork_run_id }) => (await h.call('GET', `/v1/runs/${fork_run_id}`)).json()),
  );
  assert.deepEqual(
    (forks as Run[]).map(({ forked_from, cost }) => [forked_from, cost.cap_usd]),
    ids
      .toReversed()
      .slice(0, 2)
      .map((id) => [id, 0.25]),
  );
});

test('a fork whose job died before it was noted is found again, not made twice', async () => {
  const [runId] = await storedRuns(1, 'again', 2);
  const { id } = await start({ filter: { agent: 'again' }, mode: 'paid', max_cost_usd: 5 });
  const first = await toTheEnd(id);
  assert.deepEqual([first.counts.forked, first.forks[0]?.run_id], [1, runId]);
  // As if nothing had been saved since the fork was made.
  const job = { status: 'running', cursor: null, selected: 0, diverged: 0, finished_at: null } as const;
  const sealed_changes = sealText(h.deps.keyring, '{}', replayAad(id));
  await h.db
    .updateTable('replays')
    .set({ ...job, sealed_changes })
    .where('id', '=', id)
    .execute();
  await h.db.updateTable('replay_forks').set({ fork_run_id: null }).where('replay_id', '=', id).execute();
  const second = await toTheEnd(id);
  assert.deepEqual([second.forks, second.counts], [first.forks, first.counts]);
});

test('a fork that breaks gives its part of the budget back, and its run counts as failed', async () => {
  const [runId] = await storedRuns(1, 'broken', 2);
  const { id } = await start({ filter: { agent: 'broken' }, mode: 'paid', max_cost_usd: 5 });
  const wrap = (): never => {
    throw new SealError('no key to seal with');
  };
  const deps = { ...worker(), keyring: { ...h.deps.keyring, wrap } };
  while (await replayTurn(deps, NEVER));
  const job = await look(id);
  assert.deepEqual([job.status, counts(job)], ['done', [1, 0, 0, 1]]);
  assert.deepEqual(job.failures, [{ run_id: runId, code: 'internal' }]);
  assert.deepEqual([job.forks, job.committed_usd], [[], 0]);
});

test('owners that hold at once do not pass the budget together', async () => {
  const { id } = await start({ filter: { agent: 'none' }, mode: 'paid', max_cost_usd: 1 });
  const owner = { id, owner: randomUUID() };
  for (let claimed = ''; claimed !== id; )
    claimed = (await claimReplay(h.db, { owner: owner.owner, leaseSeconds: 60 }))?.id ?? assert.fail('none');
  const holds = await Promise.all(
    Array.from({ length: 8 }, (_, n) =>
      holdFork(
        h.db,
        owner,
        { runId: `run_${n}`, fromStep: 1, capNano: 300_000_000 },
        { most: 9, repeatableHours: 1 },
      ),
    ),
  );
  assert.equal(holds.filter(({ type }) => type === 'held').length, 3);
  assert.equal((await h.call('POST', `/v1/replays/${id}/abort`)).status, 202);
});

test('an aborted job is worked no more; a job that has ended stays as it is', async () => {
  await storedRuns(1, 'aborted');
  const { id } = await start({ filter: { agent: 'aborted' } });
  const abort = async (): Promise<ReplayJob> => {
    const response = await h.call('POST', `/v1/replays/${id}/abort`);
    assert.equal(response.status, 202);
    return (await response.json()) as ReplayJob;
  };
  const aborted = await abort();
  assert.equal(aborted.status, 'aborted');
  assert.deepEqual(await toTheEnd(id), aborted);
  assert.deepEqual(await abort(), aborted);
});

test('the same Idempotency-Key gives the same job; another body is refused', async () => {
  const headers = { 'idempotency-key': 'upgrade-7' };
  const request = { filter: { agent: 'none' } };
  const { id } = await start(request, headers);
  assert.equal((await start(request, headers)).id, id);
  const json = { ...request, compare: 'decisions' };
  const response = await h.call('POST', '/v1/replays', { json, headers });
  assert.equal(response.status, 422);
  assert.equal(((await response.json()) as { code: string }).code, 'idempotency_mismatch');
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
  await storedRuns(1, 'theirs');
  const key = await h.key('stranger', ['runs:write', 'content:read', 'runs:read']);
  const response = await h.call('POST', '/v1/replays', { json: { filter: {} }, key });
  const { id } = (await response.json()) as ReplayJob;
  assert.equal((await h.call('GET', `/v1/replays/${id}`)).status, 404);
  assert.equal((await h.call('POST', `/v1/replays/${id}/abort`)).status, 404);
  await toTheEnd(id);
  const seen = (await (await h.call('GET', `/v1/replays/${id}`, { key })).json()) as ReplayJob;
  assert.deepEqual([seen.status, counts(seen)], ['done', [0, 0, 0, 0]]);
});
