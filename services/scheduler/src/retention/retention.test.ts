import assert from 'node:assert/strict';
import { test } from 'node:test';
import { liftLegalHold, saveLegalHold, verifyAudit } from '@signalbox/audit-store';
import { newId } from '@signalbox/contracts';
import { hibernateRuns, listSleepy, markStored } from '@signalbox/run-state';
import { newDataKey, seal } from '@signalbox/runtime';
import { submit } from '../../../../packages/run-state/test/support.ts';
import { finish, store, TENANT } from '../../test/loss.ts';
import { eraseDue } from './retention.ts';
import {
  atWork,
  DAY,
  END,
  ended,
  factOf,
  facts,
  keepFor,
  keyring,
  openBench,
  readable,
  sealedBytes,
  SECRET,
  wrappedKeys,
} from '../../test/retaining.ts';

const HOLD = { reason: 'case 7', heldBy: 'key_1' };

test('a due run: unreadable with every key there is, noted once; its chain verifies and its costs stay', async () => {
  const bench = await openBench(END + 30 * DAY - 1);
  const { db, clock } = bench;
  await keepFor(bench, { content_days: 30 });
  const runId = await ended(bench);
  const costs = () => db.selectFrom('cost_ledger').selectAll().where('run_id', '=', runId).execute();
  const run = () => db.selectFrom('runs').selectAll().where('id', '=', runId).executeTakeFirstOrThrow();
  const before = { costs: await costs(), run: await run() };
  assert.equal(before.costs.length, 1);

  assert.equal(await eraseDue(bench), false);
  assert.ok((await readable(bench, runId)) >= 2, 'not due yet: Redis and Postgres both have it');
  assert.deepEqual(await facts(bench), []);

  await clock.advance(1);
  assert.equal(await eraseDue(bench), false);
  assert.equal(await readable(bench, runId), 0);
  assert.deepEqual([await wrappedKeys(bench, runId), await sealedBytes(bench, runId)], [[], []]);
  assert.equal(await eraseDue(bench), false);
  assert.deepEqual(await facts(bench), [factOf(runId)]);
  assert.equal(await bench.erasedCount(), 1);

  const verdict = await verifyAudit(db, TENANT, null);
  assert.deepEqual([verdict?.ok, verdict?.first_bad], [true, null]);
  assert.deepEqual(await costs(), before.costs);
  assert.deepEqual(await run(), { ...before.run, content_erased: true });
});

test('each tenant by its own period; without one, by that of the installation', async () => {
  const bench = await openBench(END + 250 * DAY);
  const runId = await ended(bench);
  await eraseDue(bench);
  assert.ok((await readable(bench, runId)) > 0, 'for ever');
  await eraseDue({ ...bench, defaultEventDays: 251 });
  assert.ok((await readable(bench, runId)) > 0);
  await keepFor(bench, { content_days: 0 }, 'another-tenant');
  await eraseDue(bench);
  assert.ok((await readable(bench, runId)) > 0, "another tenant's period is its own");
  await keepFor(bench, { content_days: null, event_days: 300 });
  await eraseDue({ ...bench, defaultEventDays: 250 });
  assert.ok((await readable(bench, runId)) > 0, 'its events stay longer, so does what they name');
  await keepFor(bench, { event_days: null });
  await eraseDue({ ...bench, defaultEventDays: 250 });
  assert.equal(await readable(bench, runId), 0);
});

test('legal hold wins, of the run and of its tenant; what was held goes once it is lifted', async () => {
  const bench = await openBench(END + 1000 * DAY);
  await keepFor(bench, { content_days: 1 });
  const [held, free] = [await ended(bench), await ended(bench)];
  await saveLegalHold(bench.db, { tenantId: TENANT, runId: null }, HOLD);
  await eraseDue(bench);
  assert.ok((await readable(bench, free)) > 0);
  await saveLegalHold(bench.db, { tenantId: TENANT, runId: held }, HOLD);
  await liftLegalHold(bench.db, { tenantId: TENANT, runId: null });
  await eraseDue(bench);
  assert.ok((await readable(bench, held)) > 0);
  assert.equal(await readable(bench, free), 0);
  assert.deepEqual(await facts(bench), [factOf(free)]);
  await liftLegalHold(bench.db, { tenantId: TENANT, runId: held });
  await eraseDue(bench);
  assert.equal(await readable(bench, held), 0);
});

test('a run that goes on is never touched: queued, running, parked, hibernated', async () => {
  const bench = await openBench(END + 3000 * DAY);
  const { loss, partition } = bench;
  await keepFor(bench, { content_days: 0 });
  const parked = async () => {
    const owner = await atWork(bench);
    await owner.write({
      announce: [{ type: 'run.parked', data: { reason: 'input', until: null } }],
      after: { type: 'park', reason: 'input', wakeSeq: owner.run.wakeSeq, dueMs: null, capacity: null },
    });
    return owner;
  };
  const { run, head } = await parked();
  const asleep = run.runId;
  await store(loss);
  await markStored(partition, [{ runId: asleep, seq: head.seq }], 60);
  const { runs } = await listSleepy(partition, { parkedMs: 0, skip: 0, limit: 10 });
  assert.deepEqual(await hibernateRuns(partition, runs), [asleep]);
  const key = newDataKey();
  const queued = newId('run');
  const contents = [['sha256:in', seal(key, SECRET, queued).toString('base64')] as const];
  await submit(partition, { runId: queued, wrappedKey: keyring.wrap(key, queued), contents });
  const live = [asleep, queued, (await atWork(bench)).run.runId, (await parked()).run.runId];
  await store(loss);
  assert.equal(await eraseDue(bench), false);
  for (const runId of live) assert.ok((await readable(bench, runId)) > 0, runId);
  assert.deepEqual(await facts(bench), []);
});

test('an end that Postgres does not know yet is waited for', async () => {
  const bench = await openBench(END + DAY);
  await keepFor(bench, { content_days: 0 });
  const owner = await atWork(bench);
  const { runId } = owner.run;
  await store(bench.loss);
  await finish(owner, 1);
  await eraseDue(bench);
  assert.ok((await readable(bench, runId)) > 0);
  await store(bench.loss);
  await eraseDue(bench);
  assert.equal(await readable(bench, runId), 0);
});
