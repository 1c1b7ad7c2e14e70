/** What tests of retention begin with. */
import { changeRetention } from '@signalbox/audit-store';
import { newId, type Retention } from '@signalbox/contracts';
import { runKey } from '@signalbox/run-state';
import {
  createKeyring,
  createMetrics,
  ManualClock,
  newDataKey,
  open,
  seal,
  SealError,
} from '@signalbox/runtime';
import { submit } from '../../../packages/run-state/test/support.ts';
import { answer, call, finish, type Loss, openLoss, own, store, TENANT } from './loss.ts';
import { sampleOf } from './support.ts';
import { createRetentionCounter } from '../src/metrics.ts';
import type { RetentionDeps } from '../src/retention/retention.ts';

export const DAY = 86_400_000;

/** When the runs of these tests end. */
export const END = Date.UTC(2026, 0, 1);

export const SECRET = 'the patient is called Ada Example';
const MASTER = newDataKey();
export const keyring = createKeyring([{ id: 'k1', key: MASTER }]);

interface Bench extends RetentionDeps {
  readonly loss: Loss;
  readonly clock: ManualClock;
  readonly erasedCount: () => Promise<number>;
}

export const openBench = async (
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

export const keepFor = ({ db }: Bench, wanted: Partial<Retention>, tenantId = TENANT): Promise<unknown> =>
  changeRetention(db, { tenantId, by: 'key_1' }, async (before) => ({ ...before, ...wanted }));

/** A run in which the secret was said, at work. */
export const atWork = async ({ loss }: Bench) => {
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

export const ended = async (bench: Bench): Promise<string> => {
  const owner = await atWork(bench);
  await finish(owner, 1);
  await store(bench.loss);
  return owner.run.runId;
};

export const wrappedKeys = async ({ db, partition }: RetentionDeps, runId: string): Promise<string[]> => {
  const rows = await db.selectFrom('run_keys').select('wrapped_key').where('run_id', '=', runId).execute();
  const hot = await partition.redis.hget(runKey(partition, runId), 'key');
  return [...rows.map((row) => row.wrapped_key), ...(hot === null ? [] : [hot])];
};

export const sealedBytes = async ({ db, partition }: RetentionDeps, runId: string): Promise<Buffer[]> => {
  const rows = await db.selectFrom('contents').select('sealed').where('run_id', '=', runId).execute();
  const hot = await partition.redis.hgetall(runKey(partition, runId, 'contents'));
  return [...rows.map((row) => row.sealed), ...Object.values(hot).map((text) => Buffer.from(text, 'base64'))];
};

/** How much of it can be read, in Redis and Postgres, with the keyring and every data key there is. */
export const readable = async (bench: Bench, runId: string): Promise<number> => {
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

export const facts = async ({ loss }: Bench): Promise<unknown[]> => {
  await store(loss);
  const rows = await loss.db
    .selectFrom('audit_events')
    .select(['data', 'actor'])
    .where('type', '=', 'content.erased')
    .orderBy('seq')
    .execute();
  return rows;
};

export const factOf = (runId: string) => ({
  data: { run_id: runId, reason: 'retention' },
  actor: { type: 'system', id: 'scheduler' },
});
