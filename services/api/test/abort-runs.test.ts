import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Run } from '@signalbox/contracts';
import { withdrawTrust } from '@signalbox/run-state';
import { type Harness, openHarness } from './harness.ts';
import { finish, own } from './run-writer.ts';

interface Answer {
  readonly dry_run: boolean;
  readonly matched: number;
  readonly aborted: number;
  readonly already_ended: number;
  readonly more: boolean;
  readonly data: string[];
}

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

let tenants = 0;
/** A tenant of its own for each test. */
const tenant = async () => {
  const key = await h.key(`bulk-${(tenants += 1)}`, ['admin']);
  return {
    key,
    submit: async (body: object = {}) => (await h.submit(body, { key })).id,
    run: async (id: string): Promise<Run> =>
      (await (await h.call('GET', `/v1/runs/${id}`, { key })).json()) as Run,
    abort: async (json: object): Promise<Answer> => {
      const response = await h.call('POST', '/v1/runs/abort', { key, json });
      assert.equal(response.status, 202);
      return (await response.json()) as Answer;
    },
  };
};

const HOUR = 3_600_000;

test('all runs of the tenant that have not ended are aborted, in whatever state, and no other', async () => {
  const [mine, other] = [await tenant(), await tenant()];
  const ids = {
    queued: await mine.submit(),
    high: await mine.submit({ priority: 'high' }),
    timer: await mine.submit({ run_at: new Date(Date.now() + HOUR).toISOString() }),
    parked: await mine.submit(),
    running: await mine.submit(),
    done: await mine.submit(),
  };
  await finish(h, ids.done);
  await (await own(h, ids.parked)).park(Date.now() + HOUR);
  await (await own(h, ids.running)).request(1);
  const theirs = await other.submit();
  const live = [ids.queued, ids.high, ids.timer, ids.parked, ids.running];

  const answer = await mine.abort({ filter: { all: true }, reason: 'incident, token=abcdefgh1234' });
  assert.deepEqual(answer, {
    dry_run: false,
    matched: 5,
    aborted: 5,
    already_ended: 0,
    more: false,
    data: live,
  });
  for (const id of live) {
    const { status, abort } = await mine.run(id);
    assert.equal(status, id === ids.running ? 'running' : 'aborted');
    assert.equal(abort?.reason, 'incident, token=[REDACTED]');
  }
  assert.equal((await mine.run(ids.done)).status, 'succeeded');
  assert.equal((await other.run(theirs)).abort, null);

  // The one with a live owner is asked once more, and keeps the first wish.
  assert.deepEqual((await mine.abort({ filter: { all: true } })).data, [ids.running]);
  assert.equal((await mine.run(ids.running)).abort?.reason, 'incident, token=[REDACTED]');
});

test('a dry run counts and names, and stops nothing', async () => {
  const { submit, run, abort } = await tenant();
  const ids = [await submit(), await submit()];
  const answer = await abort({ filter: { status: 'queued' }, dry_run: true });
  const expected = { dry_run: true, matched: 2, aborted: 0, already_ended: 0, more: false, data: ids };
  assert.deepEqual(answer, expected);
  for (const id of ids) assert.deepEqual([(await run(id)).status, (await run(id)).abort], ['queued', null]);
});

test('each condition chooses, and all given must fit', async () => {
  const { key, submit, abort } = await tenant();
  await h.call('PUT', '/v1/agents/helper', { json: { model: 'mock/echo' }, key });
  const plain = await submit();
  const named = await submit({ agent: 'helper', user_id: 'u1', session_id: 's1' });
  const version = await submit({ agent: 'helper@1', user_id: 'u2' });
  const timed = await submit({ run_at: new Date(Date.now() + HOUR).toISOString(), user_id: 'u1' });
  const { created_at } = (await (await h.call('GET', `/v1/runs/${version}`, { key })).json()) as Run;
  const fits = async (filter: object): Promise<string[]> => (await abort({ filter, dry_run: true })).data;
  assert.deepEqual(await fits({ all: true }), [plain, named, version, timed]);
  assert.deepEqual(await fits({ status: 'queued' }), [plain, named, version]);
  assert.deepEqual(await fits({ status: 'waiting' }), [timed]);
  assert.deepEqual(await fits({ status: 'running' }), []);
  assert.deepEqual(await fits({ agent: 'helper' }), [named, version]);
  assert.deepEqual(await fits({ user_id: 'u1' }), [named, timed]);
  assert.deepEqual(await fits({ session_id: 's1' }), [named]);
  assert.deepEqual(await fits({ agent: 'helper', user_id: 'u1', session_id: 's1' }), [named]);
  assert.deepEqual(await fits({ agent: 'helper', session_id: 's2' }), []);
  const before = await fits({ created_before: created_at });
  const from = await fits({ created_after: created_at });
  assert.deepEqual([...before, ...from], [plain, named, version, timed]);
  assert.ok(from.includes(version) && !before.includes(version));
  assert.deepEqual(await fits({ created_after: new Date(Date.now() + HOUR).toISOString() }), []);
});

test('a filter that would stop everything by mistake is refused, as are unknown and ended states', async () => {
  const { key, submit, run } = await tenant();
  const id = await submit();
  const refused = [
    {},
    { filter: {} },
    { filter: { all: false } },
    { filter: { all: true, agent: 'helper' } },
    { filter: { status: 'succeeded' } },
    { filter: { user: 'u1' } },
    { filter: { created_after: 'yesterday' } },
    { filter: { all: true }, dryrun: true },
    { all: true },
  ];
  for (const json of refused) {
    const response = await h.call('POST', '/v1/runs/abort', { key, json });
    const { code } = (await response.json()) as { code: string };
    assert.deepEqual([response.status, code], [422, 'invalid_request'], JSON.stringify(json));
  }
  assert.equal((await run(id)).abort, null);
});

test('nothing is stopped by halves while Redis may not know all runs', async () => {
  const own = await openHarness();
  const { id } = await own.submit();
  await withdrawTrust(own.deps.partition);
  const response = await own.call('POST', '/v1/runs/abort', { json: { filter: { all: true } } });
  const { code } = (await response.json()) as { code: string };
  assert.deepEqual([response.status, code], [503, 'state_untrusted']);
  const run = (await (await own.call('GET', `/v1/runs/${id}`)).json()) as Run;
  assert.equal(run.abort, null);
  await own.close();
});

test('Postgres is not needed', async () => {
  const own = await openHarness();
  const { id } = await own.submit();
  await own.db.destroy();
  const response = await own.call('POST', '/v1/runs/abort', { json: { filter: { status: 'queued' } } });
  assert.equal(response.status, 202);
  const run = (await (await own.call('GET', `/v1/runs/${id}`)).json()) as Run;
  assert.equal(run.status, 'aborted');
  await own.close();
});
