import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ensureTenant,
  eraseRunContents,
  migrate,
  publishAgentVersion,
  saveProviderKey,
  saveTenantCaps,
  upsertApiKey,
  withCapsLocked,
} from '@signalbox/audit-store';
import { SignalboxError } from '@signalbox/contracts';
import { startPostgres, temporaryDir, waitFor } from '@signalbox/local';
import {
  findAgent,
  findPrincipal,
  findProviderKeys,
  getTenantCaps,
  mirrorApiKey,
  eraseHot,
  readTrust,
  replaceProviderKeys,
  repair,
  runKey,
  requestAbort,
} from '@signalbox/run-state';
import { createMetrics } from '@signalbox/runtime';
import { money, record, snapshot } from '../../../packages/run-state/test/inspect.ts';
import { claim, expireLease, lease, type Owner } from '../../../packages/run-state/test/support.ts';
import {
  answer,
  appendOnlyEnd,
  backUp,
  call,
  finish,
  finishOff,
  flush,
  isTrusted,
  type Loss,
  openLoss,
  own,
  restart,
  restartCutAt,
  store,
  submitRun,
  TENANT,
  TODAY,
} from '../test/loss.ts';
import { assertSound, counters, ledgerSums } from '../test/soundness.ts';
import { sampleOf, startLoop, until } from '../test/support.ts';
import { createTrustMetrics } from './metrics.ts';

const EPOCHS = 2 ** 32;
const HOUR = 3_600_000;
const LATER = new Date(Date.now() + HOUR).toISOString();
const untrusted = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'state_untrusted';

const park = (owner: Owner, reason: 'timer' | 'capacity', need = 0) =>
  owner.write({
    announce: [{ type: 'run.parked', data: { reason, until: reason === 'timer' ? LATER : null } }],
    after: {
      type: 'park',
      reason,
      wakeSeq: owner.run.wakeSeq,
      dueMs: Date.parse(LATER),
      capacity: reason === 'timer' ? null : { scope: 'tenant_day', needNano: need, day: TODAY },
    },
  });

/** One run in every state there is. */
const everyState = async (loss: Loss) => {
  const ended = await own(loss, await submitRun(loss));
  await call(ended, 1, 100);
  await answer(ended, 1, 40);
  await finish(ended, 1);
  const running = await own(loss, await submitRun(loss));
  await call(running, 1, 500);
  const between = await own(loss, await submitRun(loss));
  await call(between, 1, 100);
  await answer(between, 1, 60);
  const timer = await own(loss, await submitRun(loss));
  await park(timer, 'timer');
  const capacity = await own(loss, await submitRun(loss));
  await park(capacity, 'capacity', 999_900);
  return {
    ended,
    running,
    between,
    timer: timer.run.runId,
    capacity: capacity.run.runId,
    queued: await submitRun(loss),
    delayed: await submitRun(loss, { runAt: LATER }),
    nobodys: await submitRun(loss, { userId: null }),
  };
};

const statusOf = async ({ partition }: Loss, runId: string) => (await record(partition, runId))['status'];

test('an empty system is verified once, and its tests of trust say so', async () => {
  const loss = await openLoss();
  assert.deepEqual((await readTrust(loss.partition))?.incarnation, 0);
  assert.equal(await loss.verify(), null);
  assert.equal(loss.log.filter(({ msg }) => msg === 'run state verified').length, 1);
  const registry = createMetrics({ prefix: 'signalbox_' });
  createTrustMetrics(registry, loss.partition).verified(0.2);
  assert.equal(await sampleOf(registry, 'state_trusted'), 1);
  assert.equal(await sampleOf(registry, 'trust_verification_seconds_count'), 1);
  assert.equal(await sampleOf(registry, 'trust_verifications_total'), 1);
  await flush(loss);
  assert.equal(await sampleOf(registry, 'state_trusted'), 0);
});

test('a restart that lost nothing loads nothing: owners go on under their old epoch, new claims get higher ones', async () => {
  const loss = await openLoss();
  const runs = await everyState(loss);
  await store(loss, 9);
  const before = await snapshot(loss.partition);
  await restart(loss);
  assert.equal(await isTrusted(loss), false);
  await assert.rejects(answer(runs.running, 1, 20), untrusted);
  assert.deepEqual(await loss.verify().then((v) => [v?.incarnation, v?.runsLoaded]), [1, 0]);
  const changed = Object.entries(await snapshot(loss.partition)).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key]),
  );
  assert.deepEqual(
    changed.map(([key]) => key.split('}:')[1]).filter((key) => !key?.startsWith('run:')),
    ['trust'],
  );
  assert.equal((await answer(runs.running, 1, 20)).code, 'OK');
  const { epoch } = runs.running.run;
  assert.ok(epoch < EPOCHS);
  const next = await claim(loss.partition, runs.queued);
  assert.equal(next.run.epoch, EPOCHS + 1);
  await assertSound(loss);
});

test('FLUSHALL: every run that has not ended is back as Postgres has it, and goes on to its end', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const runs = await everyState(loss);
  await store(loss);
  await flush(loss);
  await assert.rejects(submitRun(loss), untrusted);
  assert.deepEqual(await loss.verify().then((v) => [v?.incarnation, v?.runsLoaded]), [1, 7]);

  const live = { ...runs, running: runs.running.run.runId, between: runs.between.run.runId };
  const { ended, ...rest } = live;
  assert.deepEqual(
    await Promise.all(Object.entries(rest).map(async ([name, id]) => [name, await statusOf(loss, id)])),
    [
      ['running', 'queued'],
      ['between', 'queued'],
      ['timer', 'waiting'],
      // It asks again by itself: who it waited for may be gone.
      ['capacity', 'queued'],
      ['queued', 'queued'],
      ['delayed', 'waiting'],
      ['nobodys', 'queued'],
    ],
  );
  assert.equal(await statusOf(loss, ended.run.runId), undefined);
  await assertSound(loss);
  assert.deepEqual(await money(partition, `spend:tenant:acme:${TODAY}`), { spent: 100, held: 500 });
  assert.deepEqual(await money(partition, `spend:user_month:acme:${TODAY.slice(0, 7)}:u1`), {
    spent: 100,
    held: 500,
  });
  assert.deepEqual(await money(partition, `run:${rest.running}`), { spent: 0, held: 500 });

  // Who owned them is out, for good.
  assert.equal((await answer(runs.running, 1, 20)).code, 'FENCED');
  assert.equal((await finish(runs.ended, 1)).code, 'NOT_FOUND');
  const { owner, reply } = await finishOff(loss, rest.running, [[1, 500]]);
  assert.deepEqual([owner.run.epoch, reply.code], [EPOCHS + 1, 'OK']);
  assert.equal((await answer(runs.running, 1, 20)).code, 'TERMINAL');
  for (const id of [rest.between, rest.timer, rest.capacity, rest.queued, rest.delayed, rest.nobodys]) {
    assert.equal((await finishOff(loss, id, [])).reply.code, 'OK', id);
  }
  await store(loss);
  await assertSound(loss);
  const [here, ledger] = [await counters(loss), await ledgerSums(loss)];
  for (const [scope, spent] of ledger) {
    if (here.has(scope)) assert.deepEqual(here.get(scope), { spent, held: 0 }, scope);
  }
  assert.deepEqual(await loss.db.selectFrom('audit_quarantine').selectAll().execute(), []);
});

test('FLUSHALL: keys, agents and caps are back before anything is trusted', async () => {
  const loss = await openLoss();
  const { partition, db } = loss;
  const hash = (digit: string): string => digit.repeat(64);
  const key = { tenantId: TENANT, name: 'k', scopes: ['runs:write' as const], expiresAt: null };
  await upsertApiKey(db, { ...key, id: 'key_a', hash: hash('a') });
  await upsertApiKey(db, { ...key, id: 'key_b', hash: hash('b') });
  await ensureTenant(db, { id: 'elsewhere', partition: 1, timeZone: 'UTC' });
  await upsertApiKey(db, { ...key, tenantId: 'elsewhere', id: 'key_c', hash: hash('c') });
  await db.updateTable('api_keys').set({ revoked_at: new Date() }).where('id', '=', 'key_b').execute();
  await publishAgentVersion(db, { tenantId: TENANT, name: 'support', digest: 'd', sealedSpec: 'sealed' });
  const tenant = { id: TENANT, partition: 0, timeZone: 'UTC', defaults: {} };
  await saveTenantCaps(db, { tenant, amounts: { tenantDailyNano: 777 }, zone: null, by: 'key_a' });
  const ownKey = { tenantId: TENANT, provider: 'openai', keyId: 'pk_1', sealedKey: 'k1.sealed' };
  await saveProviderKey(db, { ...ownKey, setBy: 'key_a' }, async () => undefined);
  await flush(loss);
  // What an old copy would bring back.
  const revoked = { keyId: 'key_b', tenantId: TENANT, scopes: [], expiresAt: null };
  await mirrorApiKey(partition, hash('b'), revoked);
  const old = ['openai', 'groq'].map((provider) => ({ provider, sealedKey: 'old' }));
  await replaceProviderKeys(partition, TENANT, old);
  await loss.verify();
  const found = async (digit: string) => {
    const finding = await findPrincipal(partition, hash(digit), Date.now());
    return 'refused' in finding ? finding.refused : finding.keyId;
  };
  assert.equal(await found('a'), 'key_a');
  assert.equal(await found('b'), 'revoked_key');
  assert.equal(await found('c'), 'unknown_key');
  assert.equal((await getTenantCaps(partition, TENANT)).tenantDailyNano, 777);
  assert.deepEqual([...(await findProviderKeys(partition, TENANT))], [['openai', 'k1.sealed']]);
  const agent = await findAgent(partition, { tenantId: TENANT, name: 'support', version: null });
  assert.deepEqual(agent, { version: 1, sealedSpec: 'sealed' });
});

test('an older copy: what ended meanwhile has ended, what went on is fenced, spent is that of the ledger', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const leaseId = await lease(partition, 4);
  const late = await own(loss, await submitRun(loss), leaseId);
  await call(late, 1, 300);
  const goingOn = await own(loss, await submitRun(loss), leaseId);
  await call(goingOn, 1, 300);
  const still = await own(loss, await submitRun(loss), leaseId);
  await call(still, 1, 300);
  await store(loss);
  const copy = await backUp(loss);
  await answer(late, 1, 250);
  await finish(late, 1);
  await answer(goingOn, 1, 200);
  await call(goingOn, 2, 100);
  const fresh = await submitRun(loss);
  await store(loss);
  await restart(loss, copy);
  assert.equal((await loss.verify())?.runsLoaded, 3);
  assert.deepEqual(await Promise.all([late, goingOn, still].map(({ run }) => statusOf(loss, run.runId))), [
    'succeeded',
    'queued',
    'running',
  ]);
  assert.equal((await finish(late, 1)).code, 'TERMINAL');
  assert.equal((await answer(goingOn, 2, 10)).code, 'FENCED');
  assert.equal((await answer(still, 1, 10)).code, 'OK');
  assert.equal(await statusOf(loss, fresh), 'queued');
  await assertSound(loss);
  assert.deepEqual(await money(partition, `spend:tenant:acme:${TODAY}`), { spent: 460, held: 100 });
  assert.deepEqual(await money(partition, `run:${late.run.runId}`), { spent: 250, held: 0 });
});

test('an append-only file that lost its tail: what Postgres has of the tail is put back', async () => {
  const loss = await openLoss();
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await store(loss);
  const end = await appendOnlyEnd(loss);
  await answer(owner, 1, 250);
  await finish(owner, 1);
  await store(loss);
  await restartCutAt(loss, { ...end, bytes: end.bytes + 20 });
  assert.equal(await statusOf(loss, owner.run.runId), 'running');
  assert.equal((await loss.verify())?.runsLoaded, 1);
  assert.equal(await statusOf(loss, owner.run.runId), 'succeeded');
  assert.deepEqual(await money(loss.partition, `spend:tenant:acme:${TODAY}`), { spent: 250, held: 0 });
  await assertSound(loss);
});

test('a tail that nobody has: the owner is refused, and its run is claimed by another once it lets go', async () => {
  const loss = await openLoss();
  const owner = await own(loss, await submitRun(loss));
  await store(loss);
  const end = await appendOnlyEnd(loss);
  await call(owner, 1, 300);
  await restartCutAt(loss, end);
  await loss.verify();
  assert.equal((await answer(owner, 1, 20)).code, 'CONFLICT');
  await expireLease(loss.partition, owner.run.leaseId);
  await repair(loss.partition, { limit: 10, graceMs: 0 });
  assert.equal((await finishOff(loss, owner.run.runId, [])).reply.code, 'OK');
  await store(loss);
  await assertSound(loss);
});

test('run state that is ahead of Postgres is left alone', async () => {
  const loss = await openLoss();
  const runs = await everyState(loss);
  await store(loss, 3);
  await restart(loss);
  const before = await snapshot(loss.partition);
  assert.equal((await loss.verify())?.runsLoaded, 0);
  const here = await snapshot(loss.partition);
  const of = (runId: string, part: string): string => `${loss.partition.root}:run:${runId}${part}`;
  for (const { run } of [runs.ended, runs.running, runs.between]) {
    for (const part of [':events', ':holds', ':contents']) {
      assert.deepEqual(here[of(run.runId, part)], before[of(run.runId, part)]);
    }
  }
  assert.deepEqual(await money(loss.partition, `spend:tenant:acme:${TODAY}`), { spent: 100, held: 500 });
  assert.equal((await answer(runs.running, 1, 500)).code, 'OK');
  await store(loss);
  await assertSound(loss);
});

test('spent stays where Redis knows of more than the ledger', async () => {
  const loss = await openLoss();
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await store(loss);
  await answer(owner, 1, 250);
  await restart(loss);
  await loss.verify();
  const scope = `spend:tenant:acme:${TODAY}`;
  assert.deepEqual(await money(loss.partition, scope), { spent: 250, held: 0 });
  await restart(loss);
  await store(loss).catch(() => undefined);
  await loss.verify();
  assert.deepEqual(await money(loss.partition, scope), { spent: 250, held: 0 });
});

test('of two schedulers one verifies', async () => {
  const loss = await openLoss();
  await everyState(loss);
  await store(loss);
  await flush(loss);
  const both = await Promise.all([loss.verify(), loss.verify()]);
  assert.deepEqual(
    both.map((verified) => verified?.runsLoaded ?? 0).toSorted((a, b) => a - b),
    [0, 7],
  );
  assert.equal((await readTrust(loss.partition))?.incarnation, 1);
  await assertSound(loss);
});

test('Redis emptied in the middle of a verification: nothing is marked, and the next one finds all', async () => {
  const loss = await openLoss();
  const runs = await everyState(loss);
  await store(loss);
  await flush(loss);
  // The verification stops at the lock that the caps are read under.
  const held = Promise.withResolvers<void>();
  const free = Promise.withResolvers<void>();
  const blocker = withCapsLocked(loss.db, async () => {
    held.resolve();
    await free.promise;
  });
  await held.promise;
  const verification = assert.rejects(loss.verify(), untrusted);
  const trustKey = `${loss.partition.root}:trust`;
  await until('it to begin', async () => (await loss.partition.redis.hexists(trustKey, 'verifying')) === 1);
  await flush(loss);
  free.resolve();
  await blocker;
  await verification;
  assert.equal(await isTrusted(loss), false);
  const second = await loss.verify();
  // The number of the one that failed is not given again: who was read under it stays refused.
  assert.deepEqual([second?.runsLoaded, second?.incarnation], [7, 2]);
  assert.equal(await statusOf(loss, runs.queued), 'queued');
  await assertSound(loss);
});

test('a stop that was asked for during a verification is neither lost nor left waiting for a timer', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const timer = await own(loss, await submitRun(loss));
  await park(timer, 'timer');
  await store(loss);
  const copy = await backUp(loss);
  await claim(partition, timer.run.runId);
  await restart(loss, copy);
  const flag = { requested_at: LATER, by: 'key_1', reason: null };
  const { runId } = timer.run;
  await requestAbort(partition, { runId, tenantId: TENANT, flag });
  await loss.verify();
  assert.equal(await statusOf(loss, runId), 'queued');
  const owner = await claim(partition, runId);
  assert.deepEqual(
    owner.run.notes.map(({ type }) => type),
    ['abort'],
  );
});

test('Postgres away: nobody writes and nothing fails until it is back', async () => {
  const postgres = await startPostgres({ dir: await temporaryDir(), durable: false });
  const url = await postgres.createDatabase('away');
  await migrate(url);
  const loss = await openLoss(url);
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await store(loss);
  await postgres.stop();
  await restart(loss);
  await assert.rejects(
    loss.verify(),
    (error: unknown) => error instanceof SignalboxError && error.code === 'audit_store_unavailable',
  );
  assert.equal(await isTrusted(loss), false);
  await assert.rejects(answer(owner, 1, 20), untrusted);
  await postgres.start();
  const verified = await waitFor(() => loss.verify().catch(() => undefined), {
    what: 'the verification',
    timeoutMs: 60_000,
  });
  assert.equal(verified?.runsLoaded, 0);
  assert.equal((await answer(owner, 1, 20)).code, 'OK');
  await loss.db.destroy();
  await postgres.stop();
});

test('a damaged stored run stops nobody else', async () => {
  const loss = await openLoss();
  const runs = await Promise.all([submitRun(loss), submitRun(loss), submitRun(loss)]);
  const [damaged, keyless, whole] = runs;
  assert.ok(damaged !== undefined && keyless !== undefined && whole !== undefined);
  await store(loss, 10, (record) =>
    record.runId === damaged
      ? { ...record, entries: record.entries.map((entry) => entry.replace('"acme"', '"evil"')) }
      : record,
  );
  await loss.db.deleteFrom('run_keys').where('run_id', '=', keyless).execute();
  await flush(loss);
  assert.equal((await loss.verify())?.runsLoaded, 1);
  assert.deepEqual(await Promise.all(runs.map((id) => statusOf(loss, id))), [undefined, undefined, 'queued']);
  const errors = loss.log.filter(({ level }) => level === 'error' || level === 50);
  assert.deepEqual(new Set(errors.map((line) => line['run_id'])), new Set([damaged, keyless]));
});

test('more runs than one page: all are loaded', async () => {
  const loss = await openLoss();
  const ids = await Promise.all(Array.from({ length: 430 }, () => submitRun(loss)));
  await store(loss);
  await flush(loss);
  assert.equal((await loss.verify())?.runsLoaded, ids.length);
  await assertSound(loss);
});

test('a loop verifies what it finds unverified, and goes on', async () => {
  const loss = await openLoss();
  const runId = await submitRun(loss);
  await store(loss);
  await flush(loss);
  const loop = await startLoop(loss.partition, () => loss.verify());
  await until('the run to be queued again', () => loop.added.some((one) => one.runId === runId));
  await loop.stop();
  assert.equal(await isTrusted(loss), true);
});

const LIVE = 2000;

test(`the time it takes with ${LIVE} live runs`, { skip: process.env['PROVE'] !== 'full' }, async () => {
  const loss = await openLoss();
  for (let n = 0; n < LIVE; n += 100) {
    const owners = await Promise.all(
      Array.from({ length: 100 }, async () => own(loss, await submitRun(loss))),
    );
    for (let step = 1; step <= 3; step += 1) {
      await Promise.all(owners.map((owner) => call(owner, step, 100)));
      if (step < 3) await Promise.all(owners.map((owner) => answer(owner, step, 10)));
    }
  }
  while ((await store(loss, 1000)) > 0);
  const unchanged = await restart(loss).then(() => loss.verify());
  await flush(loss);
  const verified = await loss.verify();
  assert.equal(verified?.runsLoaded, LIVE);
  await assertSound(loss);
  process.stdout.write(
    `verified ${LIVE} live runs of 7 events: ${unchanged?.seconds.toFixed(2)} s after a restart, ` +
      `${verified.seconds.toFixed(2)} s after a flush\n`,
  );
});

test('a Redis that came back from a backup does not bring back what was erased', async () => {
  const loss = await openLoss();
  const { partition, db } = loss;
  const [ended, open] = [await submitRun(loss), await submitRun(loss)];
  await finish(await own(loss, ended), 0);
  const copy = await backUp(loss);
  const owner = await own(loss, open);
  await finish(owner, 0);
  await store(loss);
  await eraseHot(partition, await eraseRunContents(db, TENANT, [ended, open]));
  await restart(loss, copy);
  assert.equal(await partition.redis.hexists(runKey(partition, ended), 'key'), 1, 'the backup has it');
  await loss.verify();
  for (const id of [ended, open]) {
    const { status, key, erased } = await partition.redis.hgetall(runKey(partition, id));
    assert.deepEqual([status, key, typeof erased], ['succeeded', undefined, 'string']);
    assert.equal(await partition.redis.exists(runKey(partition, id, 'contents')), 0);
  }
});
