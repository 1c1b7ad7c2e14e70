import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { RolledBackError } from '@signalbox/audit-store';
import { chainBreak } from '@signalbox/engine';
import { createTestDatabase } from '@signalbox/local';
import { hibernateRuns, readTrust, withdrawTrust } from '@signalbox/run-state';
import { record } from '../../../../packages/run-state/test/inspect.ts';
import {
  answer,
  call,
  everyState,
  finish,
  type Loss,
  openDb,
  openLoss,
  own,
  park,
  store,
  submitRun,
  untrusted,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { freshDatabase } from '../../test/support.ts';

/** What a standby that lags behind, or a backup, would hold of the database from now on. */
const copyOf = async (url: string): Promise<string> =>
  createTestDatabase(`copy_${randomBytes(6).toString('hex')}`, {
    copyOf: new URL(url).pathname.slice(1),
  });

/** The database of a loss, and how it is replaced by what it was when it was copied. */
const openCopied = async () => {
  const url = await freshDatabase();
  const loss = await openLoss(url);
  const failOver = (copy: string): Loss => {
    const db = openDb(copy);
    return { ...loss, db, verify: () => loss.verify(db) };
  };
  return { loss, copy: () => copyOf(url), failOver };
};

/** Each journal is in Postgres as it is in Redis. */
const assertWhole = async ({ partition, db }: Loss, runIds: readonly string[]): Promise<void> => {
  for (const runId of runIds) {
    const rows = await db
      .selectFrom('audit_events')
      .select(['hash', 'body'])
      .where('run_id', '=', runId)
      .orderBy('seq')
      .execute();
    const entries = rows.map(({ hash, body }) => `${hash}${body ?? ''}`);
    assert.equal(chainBreak(entries), null);
    assert.deepEqual(entries, await partition.redis.lrange(`${partition.root}:run:${runId}:events`, 0, -1));
  }
};

/** As the relay does when a batch finds Postgres older. */
const noticed = async (loss: Loss): Promise<void> => {
  await assert.rejects(store(loss), RolledBackError);
  await withdrawTrust(loss.partition);
};

test('a Postgres that comes back older gets again what run state still holds: runs at work, waiting, and ended', async () => {
  const { loss, copy, failOver } = await openCopied();
  const half = await own(loss, await submitRun(loss));
  await call(half, 1, 300);
  await store(loss);
  const older = await copy();
  await answer(half, 1, 200);
  const runs = await everyState(loss);
  await store(loss);
  const later = failOver(older);
  await call(half, 2, 100);
  await noticed(later);
  await assert.rejects(answer(half, 2, 90), untrusted);

  await later.verify();
  assert.equal((await answer(half, 2, 90)).code, 'OK');
  await finish(half, 2);
  await store(later);
  const { ended, running, between, ...others } = runs;
  const owners = [half, ended, running, between].map(({ run }) => run.runId);
  await assertWhole(later, [...owners, ...Object.values(others)]);
  await assertSound(later);
  const rows = await later.db.selectFrom('runs').select(['id', 'status']).execute();
  assert.equal(rows.length, owners.length + Object.values(others).length);
  assert.equal(rows.find(({ id }) => id === ended.run.runId)?.status, 'succeeded');
  const keys = await later.db.selectFrom('run_keys').select('run_id').execute();
  assert.equal(keys.length, rows.length);
});

test('a journal of many events is handed over whole, with its contents', async () => {
  const { loss, copy, failOver } = await openCopied();
  const owner = await own(loss, await submitRun(loss));
  await store(loss);
  const older = await copy();
  for (let step = 1; step <= 30; step += 1) {
    await call(owner, step, 10);
    await answer(owner, step, 10);
  }
  await finish(owner, 30);
  await store(loss);
  const later = failOver(older);
  await submitRun(later);
  await noticed(later);
  await later.verify();
  await store(later);
  await assertWhole(later, [owner.run.runId]);
  await assertSound(later);
});

test('a Postgres from before the last verification: incarnations never go back, and batches are stored again', async () => {
  const { loss, copy, failOver } = await openCopied();
  await withdrawTrust(loss.partition);
  await loss.verify();
  await store(loss);
  const older = await copy();
  for (let n = 0; n < 3; n += 1) {
    await withdrawTrust(loss.partition);
    await loss.verify();
  }
  assert.equal((await readTrust(loss.partition))?.incarnation, 4);
  const later = failOver(older);
  const runId = await submitRun(later);
  await noticed(later);
  assert.equal((await later.verify())?.incarnation, 5);
  await store(later);
  await assertWhole(later, [runId]);
});

test('of a run that hibernates Postgres alone had the journal: that is said, and nobody else waits for it', async () => {
  const { loss, copy, failOver } = await openCopied();
  const older = await copy();
  const sleeper = await own(loss, await submitRun(loss));
  await park(sleeper, 'timer');
  await store(loss);
  const { runId } = sleeper.run;
  const { wake_seq, seq, head } = await record(loss.partition, runId);
  const sleepy = { runId, wakeSeq: Number(wake_seq), seq: Number(seq), head: head ?? '' };
  assert.deepEqual(await hibernateRuns(loss.partition, [sleepy]), [runId]);
  const later = failOver(older);
  const other = await submitRun(later);
  await noticed(later);
  await later.verify();
  await store(later);
  await assertWhole(later, [other]);
  const said = loss.log.filter(({ run_id }) => run_id === runId);
  assert.match(String(said[0]?.['msg']), /Postgres lost events of a run that hibernates/);
});
