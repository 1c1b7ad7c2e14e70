import { setImmediate } from 'node:timers/promises';
import type { Logger } from '@signalbox/runtime';
import { type Job as BullJob, Queue, WaitingError, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Partition } from '../redis/partition.ts';
import type { Activation } from '../redis/reply.ts';

/**
 * BullMQ as a doorbell: a job says that a run is runnable, and the truth stays in
 * the run record. A job may be lost, doubled or late; claim and repair make up for it.
 */

const QUEUE_NAME = 'activations';

const Job = z.object({ runId: z.string(), wakeSeq: z.int() });

export interface ActivationQueue {
  /** Adds jobs. One with the same run and wakeSeq that is still in the queue is not added twice. */
  add(activations: readonly Activation[]): Promise<void>;
  /** Jobs that anybody may take now. */
  waiting(): Promise<number>;
  /** What is being added is added first. */
  close(): Promise<void>;
}

const jobIdOf = ({ runId, wakeSeq }: Activation): string => `${runId}_${wakeSeq}`;

const addTo = (queue: Queue, { runId, wakeSeq, front }: Activation): Promise<unknown> =>
  queue.add(
    'activation',
    { runId, wakeSeq },
    {
      jobId: jobIdOf({ runId, wakeSeq }),
      lifo: front === true,
      attempts: 1,
      removeOnComplete: true,
      removeOnFail: true,
    },
  );

type Send = (activations: readonly Activation[]) => Promise<unknown>;

/**
 * What comes in one turn of the event loop goes out at its end: what an activation hands over comes back to the queue
 * behind that activation's own end, with which BullMQ fetches the next, so that another consumer gets it first.
 */
const gathering = (send: Send): Send => {
  let gathered: Activation[] = [];
  let sent: Promise<unknown> | null = null;
  return (activations) => {
    gathered.push(...activations);
    sent ??= setImmediate().then(() => {
      const batch = gathered;
      [gathered, sent] = [[], null];
      return send(batch);
    });
    return sent;
  };
};

/** States of a job that a worker will take, or has. */
const DELIVERED: ReadonlySet<string> = new Set(['waiting', 'prioritized', 'delayed', 'active']);

/** A job that lies in no list is delivered by nobody, and its id keeps it from being added again. */
const forgetStranded = async (queue: Queue, activations: readonly Activation[]): Promise<void> => {
  const forget = async (jobId: string): Promise<void> => {
    if (!DELIVERED.has(await queue.getJobState(jobId))) await queue.remove(jobId);
  };
  await Promise.all(
    activations.filter(({ again }) => again).map((activation) => forget(jobIdOf(activation))),
  );
};

export const openActivationQueue = (partition: Partition, redis: Redis): ActivationQueue => {
  const queue = new Queue(QUEUE_NAME, { connection: redis, prefix: partition.root });
  // BullMQ repeats the connection's errors, which the connection's owner already reports.
  queue.on('error', () => undefined);
  const adding = new Set<Promise<unknown>>();
  const gather = gathering(async (activations) => {
    await forgetStranded(queue, activations);
    // Not addBulk: the connection sends them together all the same, and its pipeline costs half as much again.
    await Promise.all(activations.map((activation) => addTo(queue, activation)));
  });
  return {
    add: async (activations) => {
      if (activations.length === 0) return;
      const added = gather(activations);
      adding.add(added);
      try {
        await added;
      } finally {
        adding.delete(added);
      }
    },
    close: async () => {
      await Promise.allSettled(adding);
      await queue.close();
    },
    waiting: async () => ((await queue.isPaused()) ? 0 : queue.getJobCountByTypes('waiting', 'prioritized')),
  };
};

/** Waits for nobody: what is lost here, the scheduler adds again (R10). */
export const giveToQueue = (
  { queue, logger }: { readonly queue: Pick<ActivationQueue, 'add'>; readonly logger: Logger },
  activations: readonly Activation[],
): void => {
  queue
    .add(activations)
    .catch((error: unknown) =>
      logger.warn('activations are not queued; the scheduler adds them again', { error }),
    );
};

/** `give_back`: it was not worked on, and another consumer should have it. */
export type ActivationEnd = 'done' | 'give_back';

export interface ConsumerOptions {
  /** Runs at once, as its lease reports them; a tenth more when they are of tenants with few runs at work. */
  readonly slots: number;
  /**
   * How long a silent consumer keeps its jobs: its lease. Longer, and a run that a dead worker had fetched but not
   * claimed would wait longer than those it owned, since a job still known is not added again.
   */
  readonly lockMs: number;
  readonly onActivation: (activation: Activation) => Promise<ActivationEnd>;
  readonly onError: (error: Error) => void;
}

export interface ActivationConsumer {
  /** Stops fetching; what was fetched goes on. A fetch that is waiting may still bring one job. */
  pause(): Promise<void>;
  /** Works on so many at once from now on; what was fetched goes on. */
  offer(slots: number): void;
  close(): Promise<void>;
}

// A stalled job costs one refused claim; BullMQ must never be the one that fails a run for it.
const STALLS_ALLOWED = 1_000_000;

/**
 * After an outage BullMQ tells of each job at work that its lock is gone, which says nothing that its run's lease does
 * not.
 */
const LOST_LOCK = /lock for job/i;

/** As lib/admission.lua counts them. */
const spareOf = (slots: number): number => Math.floor(slots / 10);

export const consumeActivations = (
  partition: Partition,
  redis: Redis,
  options: ConsumerOptions,
): ActivationConsumer => {
  // With a third parameter BullMQ would make an AbortController for each job; ours come from the lease (R4), so a lost
  // lock cancels nothing: the next activation of the run is refused while its lease lives.
  const take = async (job: BullJob, token?: string): Promise<void> => {
    if ((await options.onActivation(Job.parse(job.data))) === 'done') return;
    await job.moveToWait(token);
    throw new WaitingError();
  };
  const most = (slots: number): number => slots + spareOf(slots);
  const worker = new Worker(QUEUE_NAME, take, {
    connection: redis,
    prefix: partition.root,
    concurrency: most(options.slots),
    lockDuration: options.lockMs,
    stalledInterval: Math.ceil(options.lockMs / 2),
    maxStalledCount: STALLS_ALLOWED,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  });
  worker.on('error', (error) => {
    if (!LOST_LOCK.test(error.message)) options.onError(error);
  });
  return {
    pause: () => worker.pause(true),
    offer: (slots) => void (worker.concurrency = most(slots)),
    close: () => worker.close(),
  };
};
