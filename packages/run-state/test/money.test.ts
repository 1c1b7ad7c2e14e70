/** What a call that was held costs in the end: settled, lost and charged, corrected; each in every scope, once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { repair } from '../src/index.ts';
import { completed, DAY, requested } from './drafts.ts';
import { money, TENANT_DAY } from './inspect.ts';
import { ask, settled } from './steps.ts';
import { cap, claim, expireLease, freshPartition, lease, running, settle } from './support.ts';

const TENANT_MONTH = 'spend:tenant_month:acme:2026-01';
const userDay = (user: string): string => `spend:user:acme:${DAY}:${user}`;
const userMonth = (user: string): string => `spend:user_month:acme:2026-01:${user}`;

test('a month counts what its days cost: the day of the hold says which month', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantMonthlyNano: 100 });
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, 60, { day: '2025-12-31' });
  await ask(owner, 50, { id: 'h2', step: 2, day: '2026-01-01' });
  assert.equal((await ask(owner, 51, { id: 'h3', step: 3, day: '2026-01-31' })).code, 'DENIED');
  assert.equal((await ask(owner, 50, { id: 'h3', step: 3, day: '2026-01-31' })).code, 'OK');
  await settled(owner, 40);
  await settled(owner, 30, { id: 'h3', step: 3 });
  for (const [month, spent, held] of [
    ['2025-12', 40, 0],
    ['2026-01', 30, 50],
    ['2026-02', 0, 0],
  ] as const) {
    assert.deepEqual(await money(partition, `spend:tenant_month:acme:${month}`), { spent, held }, month);
    assert.deepEqual(await money(partition, `spend:user_month:acme:${month}:u1`), { spent, held }, month);
  }
});

test('a settlement below the hold frees the rest in every scope, at once (R2)', async () => {
  const partition = await freshPartition();
  await cap(partition, { userDailyNano: 100, tenantDailyNano: 100 });
  const owner = await running(partition, { userId: 'u1', capNano: 100 });
  await ask(owner, 100);
  await settled(owner, 30);
  for (const scope of [TENANT_DAY, TENANT_MONTH, userDay('u1'), userMonth('u1'), `run:${owner.run.runId}`]) {
    assert.deepEqual(await money(partition, scope), { spent: 30, held: 0 }, scope);
  }
  assert.equal((await ask(owner, 70, { id: 'h2', step: 2 })).code, 'OK');
});

test('a hold is settled once; a later settlement changes nothing', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 100);
  await settled(owner, 30);
  await settled(owner, 99, { step: 2 });
  await settled(owner, 100, { step: 3, expired: true });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 30, held: 0 });
});

test('one commit ends holds of two days and takes one of a third: each counts where it belongs, once (R2)', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1', capNano: 1000 });
  await ask(owner, 60, { day: '2025-12-31' });
  await ask(owner, 50, { id: 'h2', step: 2 });
  const reply = await owner.write({
    results: [completed(1), completed(2)],
    // The first is charged, and corrected by what comes with it.
    settlements: [settle('h1', 60, true), settle('h2', 20), settle('h1', 40)],
    announce: [requested(3)],
    hold: { id: 'h3', amount: 7, day: '2026-01-02' },
  });
  assert.equal(reply.code, 'OK');
  for (const [scope, spent, held] of [
    ['spend:tenant:acme:2025-12-31', 40, 0],
    ['spend:tenant_month:acme:2025-12', 40, 0],
    [TENANT_DAY, 20, 0],
    ['spend:user:acme:2026-01-02:u1', 0, 7],
    [TENANT_MONTH, 20, 7],
    [userMonth('u1'), 20, 7],
    [`run:${owner.run.runId}`, 60, 7],
  ] as const)
    assert.deepEqual(await money(partition, scope), { spent, held }, scope);
  await settled(owner, 1, { id: 'h3', step: 4 });
  assert.deepEqual(await money(partition, TENANT_MONTH), { spent: 21, held: 0 });
});

test('a hold charged because its worker was lost is corrected when the truth comes', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 100);
  await settled(owner, 100, { expired: true });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 100, held: 0 });
  await settled(owner, 100, { expired: true, step: 2 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 100, held: 0 }, 'expired once');
  await settled(owner, 20, { step: 3 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 20, held: 0 });
  await settled(owner, 50, { step: 4 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 20, held: 0 }, 'corrected once');
});

const LOST = 1000;

test(`${LOST} calls in flight of workers that were lost: repair charges them all at once, and the truth corrects it`, async () => {
  const partition = await freshPartition();
  const leases = await Promise.all(Array.from({ length: 4 }, () => lease(partition, 250)));
  const owners = await Promise.all(
    Array.from({ length: LOST }, (_, n) =>
      running(partition, { userId: `u${n % 3}`, capNano: 5000 }, leases[n % 4]),
    ),
  );
  await Promise.all(owners.map((owner, n) => ask(owner, 1 + n)));
  const sum = (of: (n: number) => number): number => owners.reduce((total, _, n) => total + of(n), 0);
  const held = sum((n) => 1 + n);
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held });
  for (const leaseId of leases) await expireLease(partition, leaseId);
  const fenced = await owners[0]?.write({ results: [completed(1)], settlements: [settle('h1', 0)] });
  assert.equal(fenced?.code, 'FENCED', 'the lost worker itself settles nothing any more');
  let lost = 0;
  while (lost < LOST) {
    const repaired = await repair(partition, { limit: 200, graceMs: 60_000 });
    assert.ok(repaired.lost > 0);
    lost += repaired.lost;
  }
  const ofUser = (user: number): number => sum((n) => (n % 3 === user ? 1 + n : 0));
  const books = async () => ({
    tenant: [await money(partition, TENANT_DAY), await money(partition, TENANT_MONTH)],
    user: [await money(partition, userDay('u1')), await money(partition, userMonth('u1'))],
  });
  const all = { spent: held, held: 0 };
  const ofU1 = { spent: ofUser(1), held: 0 };
  assert.deepEqual(await books(), { tenant: [all, all], user: [ofU1, ofU1] });
  for (const [n, { run }] of owners.entries()) {
    assert.deepEqual(await money(partition, `run:${run.runId}`), { spent: 1 + n, held: 0 });
  }

  const next = await Promise.all(owners.slice(0, 10).map(({ run }) => claim(partition, run.runId, {})));
  await Promise.all(next.map((owner, n) => settled(owner, 1 + n, { expired: true })));
  assert.deepEqual(await books(), { tenant: [all, all], user: [ofU1, ofU1] }, 'charged already');
  await Promise.all(next.map((owner) => settled(owner, 0, { step: 2 })));
  const corrected = { spent: held - 55, held: 0 };
  assert.deepEqual((await books()).tenant, [corrected, corrected]);
});

test('a settlement of a hold that is not known books nothing', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await settled(owner, 50, { id: 'nobody' });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 0 });
});

test('a settlement books on the day of its hold, not on the day it comes', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 100, { day: '2025-12-31' });
  await ask(owner, 10, { id: 'h2', step: 2 });
  await settled(owner, 60);
  assert.deepEqual(await money(partition, 'spend:tenant:acme:2025-12-31'), { spent: 60, held: 0 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 10 });
});
