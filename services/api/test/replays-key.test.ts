import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { claimReplay, holdFork } from '@signalbox/audit-store';
import type { ReplayJob } from '../src/replays/replay-schemas.ts';
import { replayTurn } from '../src/replays/replay-turn.ts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

const SCOPES = ['runs:write', 'runs:read', 'content:read'];
const FORK = { runId: 'run_of_no_matter', fromStep: 1, capNano: 1_000_000 };
const LIMITS = { most: 9, repeatableHours: 1 };

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

interface Key {
  readonly id: string;
  readonly secret: string;
}

const newKey = async (): Promise<Key> =>
  (await (await h.call('POST', '/v1/keys', { json: { name: 'leaked', scopes: SCOPES } })).json()) as Key;

const startPaid = async ({ secret: key }: Key): Promise<string> => {
  const json = { filter: {}, mode: 'paid', max_cost_usd: 5 };
  const response = await h.call('POST', '/v1/replays', { json, key });
  assert.equal(response.status, 202);
  return ((await response.json()) as ReplayJob).id;
};

/** What refuses a key from one moment to the next. */
const ENDS: Readonly<Record<string, (key: Key) => Promise<unknown>>> = {
  'was revoked': ({ id }) => h.call('DELETE', `/v1/keys/${id}`),
  'has expired': ({ id }) =>
    h.db
      .updateTable('api_keys')
      .set({ expires_at: new Date(0) })
      .where('id', '=', id)
      .execute(),
};

for (const [how, end] of Object.entries(ENDS)) {
  test(`a job whose key ${how} ends, and makes no fork any more`, async () => {
    const { id: runId } = await h.submit();
    await finish(h, runId, 2);
    await storeAll(h);
    const key = await newKey();
    const id = await startPaid(key);
    const owner = randomUUID();
    assert.equal((await claimReplay(h.db, { owner, leaseSeconds: 60 }))?.id, id);
    await end(key);
    assert.deepEqual(await holdFork(h.db, { id, owner }, FORK, LIMITS), { type: 'lost' });
    while (await replayTurn({ ...h.deps, owner }, new AbortController().signal));
    const job = (await (await h.call('GET', `/v1/replays/${id}`)).json()) as ReplayJob;
    assert.deepEqual([job.status, job.counts.selected, job.forks], ['failed', 0, []]);
    assert.match(job.error ?? '', /API key .* revoked or has expired/);
  });
}
