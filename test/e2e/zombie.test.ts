/**
 * Must show 6, and the SIGKILL of 1: a worker that stops in the middle of a model call. Another one takes over
 * after the lease, and what the first one does when it comes back is refused: the run ends once.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { EMPTY_HEAD } from '@signalbox/engine';
import { waitFor, until } from '@signalbox/local';
import { commitRun, runKey } from '@signalbox/run-state';
import { allStored } from '../support/all-stored.ts';
import type { FakeReply } from '../support/fake-provider/index.ts';
import type { EventJson } from './client.ts';
import { busyWorker, metric } from './failing-workers.ts';
import { FULL, providerRequests, settled, startSystem, taggedAgent, violations } from './stack.ts';

const LEASE_SECONDS = 3;
/** From the end of the lease to the other worker's claim: 5 s are promised, on a machine that has nothing else to do. */
const TAKEOVER_MS = FULL ? 5000 : 60_000;

/** `tag/answers so far` of the calls that are slow once: they stream for 12 s, longer than any takeover. */
const slow = new Set<string>();

const SLOW_ANSWER: FakeReply = {
  text: 'slow... '.repeat(120),
  toolCalls: [{ id: 'slow', name: 'calculator', arguments: '{"expression": "2 + 2"}' }],
  chunkDelayMs: 100,
};

const system = await startSystem({
  leaseSeconds: LEASE_SECONDS,
  provider: {
    behave: ({ instructions, messages }) => {
      const key = `${/#tag (\S+)/.exec(instructions)?.[1]}/${messages.filter(({ role }) => role === 'assistant').length}`;
      return slow.delete(key) ? SLOW_ANSWER : undefined;
    },
  },
});
after(() => system.stop());

/** Three model calls with a tool call between; the second call is slow the first time. */
const SCRIPT = JSON.stringify({
  turns: [
    { tool_calls: [{ name: 'calculator', arguments: { expression: '1 + 1' } }] },
    { tool_calls: [{ name: 'calculator', arguments: { expression: '2 + 2' } }] },
    { text: 'done' },
  ],
});

const submitSlow = async (tags: readonly string[]): Promise<Map<string, string>> => {
  const runOfTag = new Map<string, string>();
  for (const tag of tags) {
    slow.add(`${tag}/1`);
    const run = await system.api.submit({ agent: taggedAgent(tag), input: SCRIPT, user_id: 'u1' });
    runOfTag.set(tag, run.id);
  }
  await until('all slow calls', () => slow.size === 0);
  return runOfTag;
};

const journals = async (ids: Iterable<string>): Promise<EventJson[][]> =>
  Promise.all([...ids].map((id) => system.api.events(id)));

const claims = (events: readonly EventJson[]): EventJson[] =>
  events.filter(({ type }) => type === 'run.claimed');

/** Everything that is stored, in both stores. */
const stored = async (ids: readonly string[]): Promise<unknown> => {
  const { redis } = system.partition;
  const hot = await Promise.all(
    ids.map(async (id) => [
      await redis.hgetall(runKey(system.partition, id)),
      await redis.lrange(runKey(system.partition, id, 'events'), 0, '-1'),
      await redis.hgetall(runKey(system.partition, id, 'holds')),
    ]),
  );
  const tables = ['runs', 'cost_ledger', 'daily_costs', 'audit_quarantine'] as const;
  const cold = await Promise.all(tables.map((table) => system.db.selectFrom(table).selectAll().execute()));
  const rows = await system.db
    .selectFrom('audit_events')
    .select(['run_id', 'seq', 'hash'])
    .where('category', '<>', 'admin')
    .execute();
  return { hot, cold, events: rows.map(({ run_id: id, seq, hash }) => `${id} ${seq} ${hash}`).toSorted() };
};

/** The runs that a second worker has claimed, once there are `count` of them. */
const takenOver = (ids: readonly string[], count: number): Promise<string[]> =>
  waitFor(
    async () => {
      const all = await journals(ids);
      const taken = ids.filter((_, n) => claims(all[n] ?? []).length > 1);
      return taken.length >= count ? taken : undefined;
    },
    { what: `${count} runs to be taken over`, timeoutMs: LEASE_SECONDS * 1000 + TAKEOVER_MS },
  );

/** What a zombie would send if it did not look at its clock: its lease, its epoch, the head it knows. */
const forgedEnd = async (runId: string, known: readonly EventJson[]): Promise<string> => {
  const [claim] = claims(known);
  const { seq, hash } = known.at(-1) ?? EMPTY_HEAD;
  const reply = await commitRun(system.partition, {
    runId,
    leaseId: String(claim?.data['worker']),
    epoch: claim?.epoch ?? 0,
    head: { seq, hash },
    results: null,
    announcement: {
      entries: [`${'0'.repeat(64)}{}`],
      contents: [],
      hold: null,
      after: { type: 'finish', status: 'failed' },
    },
  });
  return reply.code;
};

test('a zombie writes nothing: stopped past its lease, it comes back to runs that others have ended', async () => {
  const runOfTag = await submitSlow(['z1', 'z2', 'z3', 'z4', 'z5', 'z6']);
  const ids = [...runOfTag.values()];
  const known = new Map((await journals(ids)).map((events, n) => [ids[n] ?? '', events]));
  const { busy: zombie, others } = await busyWorker(system);
  const held = await metric(zombie, 'runs_active');
  zombie.signal('SIGSTOP');
  const lost = await takenOver(ids, held);
  assert.equal(lost.length, held);
  for (const id of lost) {
    assert.match(await forgedEnd(id, known.get(id) ?? []), /^(FENCED|TERMINAL)$/);
  }
  await Promise.all(lost.map((id) => system.api.end(id, 20_000)));
  await allStored(system.partition);
  const atRest = await stored(lost);

  zombie.signal('SIGCONT');
  await until(
    'the zombie to see that its runs are lost',
    async () => (await metric(zombie, 'fenced_writes_total')) >= held,
  );
  assert.equal(await metric(zombie, 'runs_active'), 0);
  assert.deepEqual(await stored(lost), atRest);

  // It goes on under a new identity, now alone.
  for (const other of others) await other.kill();
  const last = await system.api.submit({ agent: taggedAgent('z7'), input: SCRIPT, user_id: 'u1' });
  runOfTag.set('z7', last.id);
  const counts = await settled(system, [...ids, last.id]);
  assert.deepEqual([...counts], [['succeeded', ids.length + 1]]);
  const requests = providerRequests(system.provider, runOfTag);
  assert.deepEqual(await violations(system, requests, { crashes: true }), []);
});

test('a killed worker: its runs go on elsewhere within the lease and 5 s, no completed call is made again', async () => {
  await system.stack.startWorker();
  const earlier = system.provider.ledger.length;
  const runOfTag = await submitSlow(['k1', 'k2', 'k3', 'k4', 'k5', 'k6']);
  const ids = [...runOfTag.values()];
  const { busy } = await busyWorker(system);
  const held = await metric(busy, 'runs_active');
  const killedAt = Date.now();
  await busy.kill();
  const lost = await takenOver(ids, held);
  for (const events of await journals(lost)) {
    const waited = Date.parse(claims(events)[1]?.ts ?? '') - killedAt;
    assert.ok(waited <= LEASE_SECONDS * 1000 + TAKEOVER_MS, `taken over after ${waited} ms`);
  }
  assert.deepEqual([...(await settled(system, ids, 90_000))], [['succeeded', ids.length]]);

  const requests = providerRequests(system.provider, runOfTag).slice(earlier);
  const timesOf = (id: string, call: number): number =>
    requests.filter((request) => request.runId === id && request.call === call).length;
  for (const id of ids) {
    const again = lost.includes(id) ? 2 : 1;
    assert.deepEqual(
      [1, 2, 3].map((call) => timesOf(id, call)),
      [1, again, 1],
    );
  }
  assert.deepEqual(await violations(system, null, { crashes: true }), []);
});
