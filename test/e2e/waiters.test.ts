/**
 * Must show 7: runs that wait for room under one cap go on in the order in which they began to wait, one for
 * each place that comes free, and none is woken in vain. The provider answers when the test says so.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@signalbox/local';
import { runKey, setTenantCaps } from '@signalbox/run-state';
import type { FakeReply } from '../support/fake-provider/index.ts';
import { FULL, settled, spentToday, startSystem, taggedAgent, violations } from './stack.ts';

const WAITERS = FULL ? 300 : 60;
/** Calls that fit under the cap at once. */
const SEATS = 10;
const MAX_OUTPUT_TOKENS = 20_000;
const USAGE = { input_tokens: 100, output_tokens: 10 };
/** What that costs: claude-haiku-4-5 takes 1 and 5 USD per million. */
const COST_NANO = 150_000;
/** Any longer than the scheduler's tick. */
const QUIET_MS = 700;

const open: ((reply: FakeReply) => void)[] = [];
const system = await startSystem({
  provider: { behave: () => new Promise<FakeReply>((resolve) => void open.push(resolve)) },
});
after(() => system.stop());

const answer = (count: number): void => {
  for (const resolve of open.splice(0, count)) resolve({ text: 'ok', usage: USAGE });
};

const openCalls = (count: number): Promise<true> =>
  waitFor(() => (open.length === count ? true : undefined), {
    what: `${count} open calls (now ${open.length})`,
    timeoutMs: 60_000,
    everyMs: 2,
  });

const submit = async (n: number, maxOutputTokens = MAX_OUTPUT_TOKENS): Promise<string> => {
  const agent = taggedAgent(`w-${String(n).padStart(4, '0')}`, { tools: [] });
  const limits = { max_output_tokens: maxOutputTokens };
  const priority = n % 5 === 0 ? 'high' : 'normal';
  return (await system.api.submit({ agent, input: 'hi', limits, priority })).id;
};

const parked = (id: string): Promise<true> => {
  const key = runKey(system.partition, id);
  const look = async () =>
    (await system.partition.redis.hmget(key, 'status', 'reason')).join() === 'waiting,capacity' || undefined;
  return waitFor(look, { what: `${id} to park`, timeoutMs: 60_000, everyMs: 2 });
};

const statusOf = (ids: readonly string[]): Promise<(string | null)[]> =>
  Promise.all(ids.map((id) => system.partition.redis.hget(runKey(system.partition, id), 'status')));

/** Of one run: what followed what, from the store. */
const storyOf = async (ids: readonly string[]) => {
  const rows = await system.db
    .selectFrom('audit_events')
    .select(['run_id', 'seq', 'type', 'ts'])
    .where('run_id', 'in', [...ids])
    .orderBy('run_id')
    .orderBy('seq')
    .execute();
  return Map.groupBy(
    rows.map((row) => ({ id: row.run_id, type: row.type, at: new Date(row.ts).getTime() })),
    ({ id }) => id,
  );
};

/** What a run holds for its open call. */
const holdOf = async (id: string): Promise<number> => {
  const requested = (await system.api.events(id)).find(({ type }) => type === 'llm.requested');
  const hold = requested?.data['hold'] as { amount_nano: number } | undefined;
  assert.ok(hold, `${id} calls nobody`);
  return hold.amount_nano;
};

test(`${WAITERS} runs parked on one scope go on in their order, one for each settlement`, async () => {
  const { partition } = system;
  await setTenantCaps(partition, 'default', { runNano: null, userDailyNano: null, tenantDailyNano: null });
  const first = await submit(0);
  await openCalls(1);
  const need = await holdOf(first);
  const slack = (WAITERS + SEATS) * COST_NANO;
  assert.ok(slack < need, 'what is spent makes no further seat');
  await setTenantCaps(partition, 'default', { tenantDailyNano: SEATS * need + slack });
  const seated = [first];
  for (let n = 1; n < SEATS; n += 1) seated.push(await submit(n));
  await openCalls(SEATS);

  const waiting: string[] = [];
  for (let n = 0; n < WAITERS; n += 1) {
    const id = await submit(SEATS + n);
    await parked(id);
    waiting.push(id);
  }
  await sleep(QUIET_MS);
  assert.ok(
    (await statusOf(waiting)).every((status) => status === 'waiting'),
    'nobody is woken for nothing',
  );
  assert.equal(open.length, SEATS);

  const oneByOne = Math.floor(WAITERS / 3);
  for (let done = 1; done <= oneByOne; done += 1) {
    answer(1);
    await openCalls(SEATS);
    const statuses = await statusOf(waiting);
    assert.equal(statuses.filter((status) => status !== 'waiting').length, done, 'one settlement, one run');
    assert.ok(
      statuses.slice(0, done).every((status) => status !== 'waiting'),
      'the first in the line',
    );
  }
  for (let left = WAITERS - oneByOne; open.length > 0; left -= SEATS) {
    answer(SEATS);
    await openCalls(Math.max(0, Math.min(SEATS, left)));
  }
  const all = [...seated, ...waiting];
  assert.deepEqual([...(await settled(system, all))], [['succeeded', all.length]]);

  const stories = await storyOf(waiting);
  const wakes = waiting.map((id) => (stories.get(id) ?? []).filter(({ type }) => type === 'run.woken'));
  const after = waiting.flatMap((id) => {
    const story = stories.get(id) ?? [];
    return story.flatMap(({ type }, n) => (type === 'run.woken' ? [story[n + 1]?.type ?? ''] : []));
  });
  const vain = after.filter((type) => type !== 'llm.requested').length;
  process.stdout.write(
    `${WAITERS} runs waited for ${SEATS} places: ${after.length} wakes, ${vain} in vain\n`,
  );
  assert.deepEqual([...new Set(wakes.map((woken) => woken.length))], [1], 'each is woken once');
  assert.equal(vain, 0, 'whoever was woken got its place');
  // Within a group whose calls were answered at once workers may write in any order.
  const at = wakes.map(([woken]) => woken?.at ?? 0);
  for (let n = 0; n + SEATS < at.length; n += 1) {
    assert.ok((at[n] ?? 0) <= (at[n + SEATS] ?? 0), `run ${n} was overtaken by run ${n + SEATS}`);
  }
  assert.deepEqual(await violations(system), []);
});

const MOST_WOKEN = 8;

test(`room for all wakes ${MOST_WOKEN} of them, and each of their settlements as many more`, async () => {
  // Without it only settlements wake.
  await system.stack.scheduler.stop();
  const { partition } = system;
  await setTenantCaps(partition, 'default', { tenantDailyNano: null });
  const big = await submit(1000, 50_000);
  await openCalls(1);
  const { spentNano } = await spentToday(system);
  const tenantDailyNano = spentNano + (await holdOf(big)) + 30 * COST_NANO;
  await setTenantCaps(partition, 'default', { tenantDailyNano });
  const waiting: string[] = [];
  for (let n = 0; n < 3 * MOST_WOKEN; n += 1) {
    const id = await submit(1001 + n, 1000);
    await parked(id);
    waiting.push(id);
  }
  for (let turn = 1; turn <= 3; turn += 1) {
    answer(1);
    const goOn = MOST_WOKEN * turn;
    await openCalls(goOn - (turn - 1));
    await sleep(QUIET_MS);
    const went = (await statusOf(waiting)).map((status) => status !== 'waiting');
    assert.deepEqual(
      went,
      [...Array(went.length).keys()].map((n) => n < goOn),
      `after ${turn} settlements`,
    );
  }
  answer(open.length);
  assert.deepEqual([...(await settled(system, [big, ...waiting]))], [['succeeded', 1 + waiting.length]]);
});
