/** Amounts no counter can hold: whatever comes, a commit is written whole, with all its money (R2). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Partition } from '../src/index.ts';
import { DAY } from './drafts.ts';
import { eventTypes, keyOf, money, TENANT_DAY } from './inspect.ts';
import { ask, settled } from './steps.ts';
import { cap, freshPartition, type Owner, running } from './support.ts';

/** Three of them are more than an int64. */
const HUGE = 4e18;
/** Where counters end. */
const MOST = 9e18;

const scopesOf = (owner: Owner): string[] => [
  TENANT_DAY,
  'spend:tenant_month:acme:2026-01',
  `spend:user:acme:${DAY}:u1`,
  'spend:user_month:acme:2026-01:u1',
  `run:${owner.run.runId}`,
];

const books = (partition: Partition, owner: Owner): Promise<{ spent: number; held: number }[]> =>
  Promise.all(scopesOf(owner).map((scope) => money(partition, scope)));

const everywhere = <T>(value: T): T[] => Array.from({ length: 5 }, () => value);

test('settlements that come to more than a counter holds: each is written, and the counters end at the most', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  const before = await eventTypes(partition, owner.run.runId);
  for (const [n, spent] of [HUGE, 2 * HUGE, MOST, MOST].entries()) {
    const call = { id: `h${n}`, step: n + 1 };
    assert.equal((await ask(owner, 100, call)).code, 'OK');
    assert.equal((await settled(owner, HUGE, call)).code, 'OK');
    assert.deepEqual(await books(partition, owner), everywhere({ spent, held: 0 }), `settlement ${n + 1}`);
  }
  const after = await eventTypes(partition, owner.run.runId);
  assert.deepEqual(
    after.slice(before.length),
    [...Array(4)].flatMap(() => ['llm.requested', 'llm.completed']),
  );
});

test('a settlement that alone is more than a counter holds is written too', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, 100);
  assert.equal((await settled(owner, 1e19)).code, 'OK');
  assert.deepEqual(await books(partition, owner), everywhere({ spent: MOST, held: 0 }));
  assert.ok((await partition.redis.ttl(keyOf(partition, TENANT_DAY))) > 0, 'the day expires all the same');
});

test('holds that come to more than a counter holds are taken, and given back', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  for (const n of [1, 2, 3]) assert.equal((await ask(owner, HUGE, { id: `h${n}`, step: n })).code, 'OK');
  assert.deepEqual(await books(partition, owner), everywhere({ spent: 0, held: MOST }));
  assert.equal((await settled(owner, 5)).code, 'OK');
  assert.deepEqual(await books(partition, owner), everywhere({ spent: 5, held: MOST - HUGE }));
  for (const n of [2, 3]) await settled(owner, 5, { id: `h${n}`, step: n });
  assert.deepEqual(await books(partition, owner), everywhere({ spent: 15, held: 0 }), 'never below zero');
});

test('a denial names no amount that an event could not hold', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, HUGE);
  await ask(owner, HUGE, { id: 'h2', step: 2 });
  await settled(owner, HUGE);
  await cap(partition, { tenantDailyNano: 100 });
  const { code, scopes } = await ask(owner, 1, { id: 'h3', step: 3 });
  const most = Number.MAX_SAFE_INTEGER;
  assert.equal(code, 'DENIED');
  assert.deepEqual(scopes, [{ scope: 'tenant_day', capNano: 100, spentNano: most, heldNano: most }]);
});

test('what a double cannot tell apart is counted all the same', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  const odd = 2 ** 53 - 1;
  await ask(owner, odd);
  for (const n of [2, 3, 4]) await ask(owner, 1, { id: `h${n}`, step: n });
  for (const scope of scopesOf(owner))
    assert.equal(await partition.redis.hget(keyOf(partition, scope), 'held'), '9007199254740994', scope);
  await settled(owner, odd);
  for (const n of [2, 3, 4]) await settled(owner, 1, { id: `h${n}`, step: n });
  for (const scope of scopesOf(owner)) {
    const [spent, held] = await partition.redis.hmget(keyOf(partition, scope), 'spent', 'held');
    assert.deepEqual({ spent, held }, { spent: '9007199254740994', held: '0' }, scope);
  }
});
