/** What tests of hibernation begin with. */
import type { WaitReason } from '@signalbox/contracts';
import { markStored } from '@signalbox/run-state';
import { systemClock } from '@signalbox/runtime';
import { allKeys, record } from '../../../packages/run-state/test/inspect.ts';
import type { Owner } from '../../../packages/run-state/test/support.ts';
import { answer, call, type Loss, own, store, submitRun } from './loss.ts';
import { tickBench } from './support.ts';
import { Hibernation } from '../src/hibernation/hibernation.ts';
import { createHibernationMetrics } from '../src/metrics.ts';

const HOUR = 3_600_000;
export const LATER = new Date(Date.now() + HOUR).toISOString();

export const hibernationOf = async (loss: Loss, { hibernateAfterMs = 0, longestWaitMs = HOUR } = {}) => {
  const { partition, db } = loss;
  const bench = await tickBench(partition);
  const metrics = createHibernationMetrics(bench.registry);
  const deps = { ...bench, db, metrics, clock: systemClock, logger: loss.logger };
  const hibernation = new Hibernation({ ...deps, hibernateAfterMs, longestWaitMs });
  return { hibernation, registry: bench.registry, added: bench.added };
};

export const park = (owner: Owner, reason: WaitReason, until: string | null) =>
  owner.write({
    announce: [{ type: 'run.parked', data: { reason, until } }],
    after: {
      type: 'park',
      reason,
      wakeSeq: owner.run.wakeSeq,
      dueMs: until === null ? null : Date.parse(until),
      capacity: null,
    },
  });

/** A run that called its model once and waits; Postgres has it. */
export const waiting = async (loss: Loss, reason: WaitReason = 'timer', until: string | null = LATER) => {
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await answer(owner, 1, 40);
  await park(owner, reason, until);
  await stored(loss, owner);
  return owner;
};

const stored = async (loss: Loss, { run }: Owner): Promise<void> => {
  await store(loss);
  const { seq } = await record(loss.partition, run.runId);
  await markStored(loss.partition, [{ runId: run.runId, seq: Number(seq) }], 60);
};

export const partsOf = async ({ partition }: Loss, runId: string): Promise<string[]> =>
  (await allKeys(partition))
    .filter((key) => key.includes(`:${runId}`))
    .map((key) => key.split(runId)[1] ?? '')
    .toSorted();
