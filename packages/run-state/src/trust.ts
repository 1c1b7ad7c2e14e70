import { SignalboxError } from '@signalbox/contracts';
import type { Partition } from './partition.ts';

/**
 * Whether what this Redis holds may be believed (design §6, Trust). A marker names the server whose data was
 * verified against Postgres; the scripts compare it with the server they run on, so a restart, a restore, a
 * failover or a flush stops every write until the scheduler has verified again and written the marker last.
 */
const trustKey = (partition: Partition): string => `${partition.root}:trust`;

/** The run id of the server behind the connection; it changes with every start. Throws `state_unavailable`. */
export const readServerId = async (partition: Partition): Promise<string> => {
  const info = await partition.redis.info('server').catch((error: unknown) => {
    throw new SignalboxError('state_unavailable', 'Run state cannot be reached. Try again in a moment.', {
      cause: error,
      retryAfter: 1,
    });
  });
  const id = /run_id:([0-9a-f]+)/.exec(info)?.[1];
  if (id === undefined)
    throw new SignalboxError('internal', 'The Redis server does not tell its run_id; use Redis 7 or later.');
  return id;
};

export interface TrustMarker {
  readonly server: string;
  readonly incarnation: number;
}

/** The marker, if it names the server it lies on; null while the data is not verified. */
export const readTrust = async (partition: Partition): Promise<TrustMarker | null> => {
  const [server, incarnation] = await partition.redis.hmget(trustKey(partition), 'server', 'incarnation');
  if (server === null || server === undefined || server !== (await readServerId(partition))) return null;
  return { server, incarnation: Number(incarnation) };
};

/** Last step of a verification: from here on the scripts write again. */
export const markTrusted = async (partition: Partition, marker: TrustMarker): Promise<void> => {
  await partition.redis.hset(trustKey(partition), {
    server: marker.server,
    incarnation: String(marker.incarnation),
  });
};

/** First step of a verification, so that a marker left by an earlier one cannot count. */
export const withdrawTrust = async (partition: Partition): Promise<void> => {
  await partition.redis.del(trustKey(partition));
};
