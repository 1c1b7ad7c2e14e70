import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claimReplay, holdFork } from '@signalbox/audit-store';
import { replayAad, type Run } from '@signalbox/contracts';
import { SealError, sealText } from '@signalbox/runtime';
import { replayTurn } from '../src/replays/replay-turn.ts';
import { type Harness, openHarness } from './harness.ts';
import { counts, look, NEVER, start, storedRuns, toTheEnd, worker } from './replaying.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

test('paid: forks begin at the first divergence, and their caps never pass the budget (R1)', async () => {
  const ids = await storedRuns(h, 4, 'paid', 2);
  const limits = { cost_usd: 0.25 };
  const job = await toTheEnd(
    h,
    (await start(h, { filter: { agent: 'paid' }, changes: { limits }, mode: 'paid', max_cost_usd: 0.6 })).id,
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
  const [runId] = await storedRuns(h, 1, 'again', 2);
  const { id } = await start(h, { filter: { agent: 'again' }, mode: 'paid', max_cost_usd: 5 });
  const first = await toTheEnd(h, id);
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
  const second = await toTheEnd(h, id);
  assert.deepEqual([second.forks, second.counts], [first.forks, first.counts]);
});

test('a fork that breaks gives its part of the budget back, and its run counts as failed', async () => {
  const [runId] = await storedRuns(h, 1, 'broken', 2);
  const { id } = await start(h, { filter: { agent: 'broken' }, mode: 'paid', max_cost_usd: 5 });
  const wrap = (): never => {
    throw new SealError('no key to seal with');
  };
  const deps = { ...worker(h), keyring: { ...h.deps.keyring, wrap } };
  while (await replayTurn(deps, NEVER));
  const job = await look(h, id);
  assert.deepEqual([job.status, counts(job)], ['done', [1, 0, 0, 1]]);
  assert.deepEqual(job.failures, [{ run_id: runId, code: 'internal' }]);
  assert.deepEqual([job.forks, job.committed_usd], [[], 0]);
});

test('owners that hold at once do not pass the budget together', async () => {
  const { id } = await start(h, { filter: { agent: 'none' }, mode: 'paid', max_cost_usd: 1 });
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
