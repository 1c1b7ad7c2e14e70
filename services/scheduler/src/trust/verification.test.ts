import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ensureTenant,
  publishAgentVersion,
  saveProviderKey,
  saveTenantCaps,
  upsertApiKey,
} from '@signalbox/audit-store';
import {
  findAgent,
  findPrincipal,
  findProviderKeys,
  getTenantCaps,
  MIRRORED_VERSIONS,
  mirrorApiKey,
  readTrust,
  replaceProviderKeys,
  runKey,
} from '@signalbox/run-state';
import { createMetrics } from '@signalbox/runtime';
import { money, snapshot } from '../../../../packages/run-state/test/inspect.ts';
import { claim } from '../../../../packages/run-state/test/support.ts';
import { failing } from '../../test/failing-scripts.ts';
import {
  answer,
  call,
  enlarge,
  everyState,
  finish,
  finishOff,
  flush,
  isTrusted,
  openLoss,
  own,
  restart,
  statusOf,
  store,
  submitRun,
  TENANT,
  TODAY,
  untrusted,
} from '../../test/loss.ts';
import { assertSound, counters, ledgerSums } from '../../test/soundness.ts';
import { sampleOf } from '../../test/support.ts';
import { createTrustMetrics } from '../metrics.ts';

const EPOCHS = 2 ** 32;

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

test('FLUSHALL: of an agent the newest versions are back, as they are mirrored when they are published', async () => {
  const loss = await openLoss();
  const { partition, db } = loss;
  await ensureTenant(db, { id: TENANT, partition: 0, timeZone: 'UTC' });
  const agent = { tenantId: TENANT, name: 'support' };
  for (let n = 1; n <= MIRRORED_VERSIONS + 5; n += 1)
    await publishAgentVersion(db, { ...agent, digest: `d${n}`, sealedSpec: `sealed ${n}` });
  await flush(loss);
  await loss.verify();
  assert.equal(await partition.redis.hlen(`${partition.root}:agent:${TENANT}:support`), MIRRORED_VERSIONS);
  assert.equal((await findAgent(partition, { ...agent, version: 6 }))?.sealedSpec, 'sealed 6');
  assert.equal((await findAgent(partition, { ...agent, version: null }))?.version, MIRRORED_VERSIONS + 5);
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

test('more runs than one page: all are loaded', async () => {
  const loss = await openLoss();
  const ids = await Promise.all(Array.from({ length: 430 }, () => submitRun(loss)));
  await store(loss);
  await flush(loss);
  assert.equal((await loss.verify())?.runsLoaded, ids.length);
  await assertSound(loss);
});

test('runs too large to be read beside each other: all are loaded', async () => {
  const loss = await openLoss();
  const ids = [await submitRun(loss), await submitRun(loss), await submitRun(loss)];
  await store(loss);
  for (const runId of ids) await enlarge(loss, runId);
  await flush(loss);
  assert.equal((await loss.verify())?.runsLoaded, ids.length);
  await assertSound(loss);
});

test('a run that the store cannot take back is told of, and keeps no other waiting', async () => {
  const loss = await openLoss();
  const [broken, other] = [await submitRun(loss), await submitRun(loss)];
  await store(loss);
  await flush(loss);
  const bug = 'ERR user_script:1: a bug script: f_1, on @user_script:1.';
  const partition = failing(loss.partition, (_, args) =>
    args.some((arg) => String(arg).startsWith(`{"run":"${broken}"`)) ? bug : null,
  );
  assert.equal((await loss.verify(loss.db, partition))?.runsLoaded, 1);
  assert.equal(await statusOf(loss, other), 'queued');
  const told = loss.log.filter(({ msg }) => msg === 'a stored run cannot be put back');
  assert.deepEqual(
    told.map(({ run_id }) => run_id),
    [broken],
  );
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

test('what a hand made of one run keeps nobody from a verification, which puts it back', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const [text, garbled, holds] = [await submitRun(loss), await submitRun(loss), await submitRun(loss)];
  const owner = await own(loss, holds);
  await call(owner, 1, 100);
  await store(loss);
  await partition.redis.del(runKey(partition, text));
  await partition.redis.set(runKey(partition, text), 'no record');
  await partition.redis.hset(runKey(partition, garbled), 'seq', 'last');
  await partition.redis.del(runKey(partition, holds, 'holds'));
  await partition.redis.set(runKey(partition, holds, 'holds'), 'no holds');
  await restart(loss);
  await loss.verify();
  assert.equal(await isTrusted(loss), true);
  assert.deepEqual([await statusOf(loss, text), await statusOf(loss, garbled)], ['queued', 'queued']);
  for (const runId of [text, garbled]) assert.equal((await claim(partition, runId)).run.runId, runId);
});
