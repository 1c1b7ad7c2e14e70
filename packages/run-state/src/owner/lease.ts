import { Activations, type Activation, Text, Texts } from '../redis/reply.ts';
import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { runScript } from '../redis/scripts.ts';

export interface LeaseRequest {
  readonly leaseId: string;
  readonly leaseMs: number;
  /** Runs this process can work on at once; 0 while it drains. */
  readonly slots: number;
}

export type RenewOutcome =
  | { readonly type: 'live'; readonly activations: readonly Activation[] }
  /** Too late: drop everything and take a new identity (Leases). */
  | { readonly type: 'expired' };

const send = async (
  partition: Partition,
  verb: 'open' | 'renew',
  lease: LeaseRequest,
): Promise<RenewOutcome> => {
  const [code, ...rest] = Texts.parse(
    await runScript(partition, 'lease', [verb, lease.leaseId, lease.leaseMs, lease.slots]),
  );
  return Text.parse(code) === 'OK'
    ? { type: 'live', activations: Activations.parse(rest) }
    : { type: 'expired' };
};

export const openLease = (partition: Partition, lease: LeaseRequest): Promise<RenewOutcome> =>
  send(partition, 'open', lease);

export const renewLease = (partition: Partition, lease: LeaseRequest): Promise<RenewOutcome> =>
  send(partition, 'renew', lease);

/** Ends a lease at shutdown; runs it still held are handed over by the scheduler at once. */
export const closeLease = async (partition: Partition, leaseId: string): Promise<void> => {
  await runScript(partition, 'lease', ['close', leaseId, 0, 0]);
};

const members = (partition: Partition, key: string): Promise<string[]> =>
  reachingState(() => partition.redis.smembers(`${partition.root}:lease:${key}`));

/** The runs that the store holds under a lease. Throws `state_unavailable`. */
export const heldRuns = (partition: Partition, leaseId: string): Promise<string[]> =>
  members(partition, leaseId);

/**
 * Those of them that were asked to stop: the look behind the pub/sub hint, which may be lost. It costs what there are
 * of these, however many the lease holds. Throws `state_unavailable`.
 */
export const abortedRuns = (partition: Partition, leaseId: string): Promise<string[]> =>
  members(partition, `${leaseId}:aborts`);

/** Gives runs of a lease that its process does not work on to others, their open holds charged (R10). */
export const releaseRuns = async (
  partition: Partition,
  leaseId: string,
  runIds: readonly string[],
): Promise<readonly Activation[]> => {
  const [, ...rest] = Texts.parse(await runScript(partition, 'release', [leaseId, ...runIds]));
  return Activations.parse(rest);
};
