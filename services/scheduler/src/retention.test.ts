import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  changeRetention,
  liftLegalHold,
  saveLegalHold,
  verifyAudit,
  writeBatch,
} from '@signalbox/audit-store';
import { newId, type Retention } from '@signalbox/contracts';
import { hibernateRuns, listSleepy, markStored, type Partition, runKey } from '@signalbox/run-state';
import {
  createKeyring,
  createMetrics,
  ManualClock,
  newDataKey,
  open,
  seal,
  SealError,
} from '@signalbox/runtime';
import { recordOf, simpleJournal } from '../../../packages/audit-store/test/journal.ts';
import { submit } from '../../../packages/run-state/test/support.ts';
import { answer, call, finish, type Loss, openLoss, own, store, TENANT } from '../test/loss.ts';
import { sampleOf } from '../test/support.ts';
import { createRetentionCounter } from './metrics.ts';
import { eraseDue, keepRetention, type RetentionDeps } from './retention.ts';

const DAY = 86_400_000;
const ROUND = 15_000;
/** When the runs of these tests end. */
const END = Date.UTC(2026, 0, 1);
const SECRET = 'the patient is called Ada Example';
const MASTER = newDataKey();
const keyring = createKeyring([{ id: 'k1', key: MASTER }]);
const HOLD = { reason: 'case 7', heldBy: 'key_1' };

interface Bench extends RetentionDeps {
  readonly loss: Loss;
  readonly clock: ManualClock;
  readonly erasedCount: () => Promise<number>;
}

const openBench = async (
  nowMs: number,
  more: Partial<Pick<RetentionDeps, 'isLeader'>> = {},
): Promise<Bench> => {
  const loss = await openLoss();
  const registry = createMetrics({ prefix: 'signalbox_' });
  return {
    loss,
    db: loss.db,
    partition: loss.partition,
    logger: loss.logger,
    clock: new ManualClock(nowMs),
    isLeader: () => true,
    erased: createRetentionCounter(registry),
    defaultEventDays: null,
    erasedCount: () => sampleOf(registry, 'retention_erased_total'),
    ...more,
  };
};

const keepFor = ({ db }: Bench, wanted: Partial<Retention>, tenantId = TENANT): Promise<unknown> =>
  changeRetention(db, { tenantId, by: 'key_1' }, async (before) => ({ ...before, ...wanted }));

/** A run in which the secret was said, at work. */
const atWork = async ({ loss }: Bench) => {
  const [runId, key] = [newId('run'), newDataKey()];
  const said = (ref: string) => [ref, seal(key, SECRET, runId).toString('base64')] as const;
  await submit(loss.partition, {
    runId,
    wrappedKey: keyring.wrap(key, runId),
    contents: [said('sha256:in')],
  });
  const owner = await own(loss, runId);
  await call(owner, 1, 300);
  await answer(owner, 1, 40);
  return owner;
};

const ended = async (bench: Bench): Promise<string> => {
  const owner = await atWork(bench);
  await finish(owner, 1);
  await store(bench.loss);
  return owner.run.runId;
};

const wrappedKeys = async ({ db, partition }: RetentionDeps, runId: string): Promise<string[]> => {
  const rows = await db.selectFrom('run_keys').select('wrapped_key').where('run_id', '=', runId).execute();
  const hot = await partition.redis.hget(runKey(partition, runId), 'key');
  return [...rows.map((row) => row.wrapped_key), ...(hot === null ? [] : [hot])];
};

const sealedBytes = async ({ db, partition }: RetentionDeps, runId: string): Promise<Buffer[]> => {
  const rows = await db.selectFrom('contents').select('sealed').where('run_id', '=', runId).execute();
  const hot = await partition.redis.hgetall(runKey(partition, runId, 'contents'));
  return [...rows.map((row) => row.sealed), ...Object.values(hot).map((text) => Buffer.from(text, 'base64'))];
};

/** How much of it can be read, in Redis and Postgres, with the keyring and every data key there is. */
const readable = async (bench: Bench, runId: string): Promise<number> => {
  const keys = [
    MASTER,
    ...(await wrappedKeys(bench, runId)).map((wrapped) => keyring.unwrap(wrapped, runId)),
  ];
  let texts = 0;
  for (const bytes of await sealedBytes(bench, runId)) {
    for (const key of keys) {
      try {
        if (open(key, bytes, runId).toString('utf8') === SECRET) texts += 1;
      } catch (error) {
        if (!(error instanceof SealError)) throw error;
      }
    }
  }
  return texts;
};

const facts = async ({ loss }: Bench): Promise<unknown[]> => {
  await store(loss);
  const rows = await loss.db
    .selectFrom('audit_events')
    .select(['data', 'actor'])
    .where('type', '=', 'content.erased')
    .orderBy('seq')
    .execute();
  return rows;
};
const factOf = (runId: string) => ({
  data: { run_id: runId, reason: 'retention' },
  actor: { type: 'system', id: 'scheduler' },
});

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

describe('a scheduler that is killed within an erasure', () => {
  /** Its nth script does not reach Redis, nor does anything behind it. */
  const killedAt = (partition: Partition, n: number): Partition => {
    let scripts = 0;
    const redis = new Proxy(partition.redis, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        if (name === 'evalsha' && (scripts += 1) >= n) return () => Promise.reject(new Error('killed'));
        return (value as () => unknown).bind(target);
      },
    });
    return { ...partition, redis };
  };

  for (const [n, what] of [
    [1, 'before its trail'],
    [2, 'behind its trail'],
    [3, 'behind its deed'],
  ] as const) {
    test(`${what}: the next one ends it, and the trail tells of it once`, async () => {
      const bench = await openBench(END + DAY);
      await keepFor(bench, { content_days: 1 });
      const runId = await ended(bench);
      await assert.rejects(eraseDue({ ...bench, partition: killedAt(bench.partition, n) }), {
        code: 'state_unavailable',
      });
      assert.equal((await readable(bench, runId)) > 0, n < 3);
      await eraseDue(bench);
      assert.equal(await readable(bench, runId), 0);
      assert.deepEqual(await sealedBytes(bench, runId), []);
      assert.deepEqual(await facts(bench), [factOf(runId)]);
    });
  }
});

test('a turn takes no more than a batch of a tenant, and says that there is more', async () => {
  const bench = await openBench(END + DAY);
  await keepFor(bench, { content_days: 0 });
  const runs = 53;
  for (let i = 0; i < runs; i += 1)
    await finish(await own(bench.loss, (await submit(bench.partition)).runId), 0);
  await store(bench.loss);
  assert.equal(await eraseDue(bench), true);
  assert.equal(await bench.erasedCount(), 50);
  assert.equal(await eraseDue(bench), false);
  assert.equal(await bench.erasedCount(), runs);
  assert.equal((await facts(bench)).length, runs);
});

test('a tenant whose statement runs out of time does not stop those behind it', async () => {
  const bench = await openBench(END + 365 * DAY);
  const { db, loss } = bench;
  const slow = simpleJournal();
  await writeBatch(db, [recordOf(slow.runId, slow.entries, { tenantId: 'a-slow-one' })]);
  await keepFor(bench, { content_days: 0 }, 'a-slow-one');
  await keepFor(bench, { content_days: 0 });
  const runId = await ended(bench);
  let erasures = 0;
  const late = new Proxy(db, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== 'transaction' || (erasures += 1) > 1) return (value as () => unknown).bind(target);
      const timeout = 'canceling statement due to statement timeout';
      throw Object.assign(new Error(timeout), { code: '57014', severity: 'ERROR' });
    },
  });
  await eraseDue({ ...bench, db: late });
  assert.equal(await readable(bench, runId), 0);
  const told = loss.log.filter(({ level }) => level === 'error').map(({ tenant_id }) => tenant_id);
  assert.deepEqual(told, ['a-slow-one']);
});

test('the loop: every 15 s, only while it leads, and again after a store was away', async () => {
  let leads = false;
  const bench = await openBench(END + DAY, { isLeader: () => leads });
  const { clock, partition, loss } = bench;
  await keepFor(bench, { content_days: 0 });
  const runId = await ended(bench);
  const stopping = new AbortController();
  let isAway = true;
  const flaky = new Proxy(partition.redis, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name === 'evalsha' && isAway) return () => Promise.reject(new Error('away'));
      return (value as () => unknown).bind(target);
    },
  });
  const running = keepRetention({ ...bench, partition: { ...partition, redis: flaky } }, stopping.signal);
  const round = async (): Promise<void> => {
    await clock.whenSleeping();
    await clock.advance(ROUND);
    await clock.whenSleeping();
  };
  await round();
  assert.deepEqual(
    loss.log.filter(({ level }) => level === 'warn'),
    [],
  );
  leads = true;
  await round();
  assert.equal(loss.log.filter(({ level }) => level === 'warn').length, 1);
  assert.ok((await readable(bench, runId)) > 0);
  isAway = false;
  await round();
  assert.equal(await readable(bench, runId), 0);
  stopping.abort();
  await running;
});
