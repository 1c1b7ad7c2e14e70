import { Queue, Worker } from 'bullmq';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Partition } from './partition.ts';
import type { Activation } from './reply.ts';

/**
 * BullMQ as a doorbell (design §5, Activation): a job says that a run is runnable, and the truth stays in
 * the run record. A job may be lost, doubled or late; claim and repair make up for it.
 */
const QUEUE_NAME = 'activations';

const Job = z.object({ runId: z.string(), wakeSeq: z.int() });

export interface ActivationQueue {
  /** Adds jobs. One with the same run and wakeSeq that is still known is not added twice. */
  add(activations: readonly Activation[]): Promise<void>;
  close(): Promise<void>;
}

export const openActivationQueue = (partition: Partition, redis: Redis): ActivationQueue => {
  const queue = new Queue(QUEUE_NAME, { connection: redis, prefix: partition.root });
  // BullMQ repeats the connection's errors, which the connection's owner already reports.
  queue.on('error', () => undefined);
  return {
    add: async (activations) => {
      if (activations.length === 0) return;
      await queue.addBulk(
        activations.map(({ runId, wakeSeq, front = false }) => ({
          name: 'activation',
          data: { runId, wakeSeq },
          opts: {
            jobId: `${runId}_${wakeSeq}`,
            lifo: front,
            attempts: 1,
            removeOnComplete: true,
            removeOnFail: true,
          },
        })),
      );
    },
    close: () => queue.close(),
  };
};

export interface ConsumerOptions {
  readonly concurrency: number;
  /**
   * How long a silent consumer keeps its jobs: its lease. Longer, and a run that a dead worker had fetched but not
   * claimed would wait longer than those it owned, since a job still known is not added again.
   */
  readonly lockMs: number;
  readonly onActivation: (activation: Activation) => Promise<void>;
  readonly onError: (error: Error) => void;
}

export interface ActivationConsumer {
  /** Stops fetching; what was fetched goes on. A fetch that is waiting may still bring one job. */
  pause(): Promise<void>;
  close(): Promise<void>;
}

// A stalled job costs one refused claim; BullMQ must never be the one that fails a run for it.
const STALLS_ALLOWED = 1_000_000;

export const consumeActivations = (
  partition: Partition,
  redis: Redis,
  options: ConsumerOptions,
): ActivationConsumer => {
  const worker = new Worker(QUEUE_NAME, (job) => options.onActivation(Job.parse(job.data)), {
    connection: redis,
    prefix: partition.root,
    concurrency: options.concurrency,
    lockDuration: options.lockMs,
    stalledInterval: Math.ceil(options.lockMs / 2),
    maxStalledCount: STALLS_ALLOWED,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  });
  worker.on('error', options.onError);
  return { pause: () => worker.pause(true), close: () => worker.close() };
};
