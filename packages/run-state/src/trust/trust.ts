import { randomUUID } from 'node:crypto';
import { SignalboxError } from '@signalbox/contracts';
import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

/**
 * Whether what this Redis holds may be believed (Trust). A marker names the server whose data was
 * verified against Postgres; the scripts compare it with the server they run on, so a restart, a restore, a
 * failover or a flush stops every write until the scheduler has verified again and written the marker last.
 * So does a change of the replication id that loses nothing: a master's first replica, or an hour without any.
 */

const trustKey = (partition: Partition): string => `${partition.root}:trust`;

/** A process and the data it holds: `server` changes with every start, `replid` whenever a replica becomes master. */
export interface ServerId {
  readonly server: string;
  readonly replid: string;
}

const serverIdOf = (info: string): ServerId => {
  const server = /^run_id:(\w+)/m.exec(info)?.[1];
  const replid = /^master_replid:(\w+)/m.exec(info)?.[1];
  if (server === undefined || replid === undefined) {
    const what = 'The Redis server does not tell its run_id and master_replid; use Redis 7 or later.';
    throw new SignalboxError('internal', what);
  }
  return { server, replid };
};

/** Of the server behind the connection. Throws `state_unavailable`. */
export const readServerId = async ({ redis }: Partition): Promise<ServerId> =>
  serverIdOf(await reachingState(() => redis.info('server', 'replication')));

export interface TrustMarker extends ServerId {
  readonly incarnation: number;
}

export interface Trust extends TrustMarker {
  /** Batches of the audit stream that Postgres was seen to have. */
  readonly batches: number;
}

/** As the scripts judge it (lib/base.lua). */
const MOST_INCARNATIONS = 2 ** 21;

const incarnationOf = (text: string | null | undefined): number | null => {
  const incarnation = Number.parseInt(text ?? '', 10);
  return incarnation < MOST_INCARNATIONS ? incarnation : null;
};

/** The marker, if it names the server it lies on; null while the data is not verified. Throws `state_unavailable`. */
export const readTrust = async (partition: Partition): Promise<Trust | null> => {
  const [server, replid, marked, batches] = await reachingState(() =>
    partition.redis.hmget(trustKey(partition), 'server', 'replid', 'incarnation', 'batches'),
  );
  const here = await readServerId(partition);
  const incarnation = incarnationOf(marked);
  return incarnation !== null && server === here.server && replid === here.replid
    ? { ...here, incarnation, batches: Number(batches) }
    : null;
};

/** Throws `state_untrusted`: what is missing here may only be lost, and what is here may be old. */
export const assertTrusted = async (partition: Partition): Promise<void> => {
  if ((await readTrust(partition)) !== null) return;
  throw new SignalboxError(
    'state_untrusted',
    'Run state is being verified against Postgres, so not all of it may be known. Try again in a moment.',
    { retryAfter: 1 },
  );
};

/** A verification under way: who began last may restore, until the server restarts or is emptied. */
export interface Verification extends ServerId {
  readonly token: string;
  /** What was known here before, of the last verification and of Postgres; nothing: -1 and 0. */
  readonly seen: { readonly incarnation: number; readonly batches: number };
  /** Names of the keys that were set aside since the last one (strange.lua): what they held is gone. */
  readonly strange: readonly string[];
}

/** First step: a marker left by an earlier verification no longer counts. Throws `state_unavailable`. */
export const beginVerification = async (partition: Partition): Promise<Verification> => {
  const token = randomUUID();
  const [info = '', incarnation, batches, strange = ''] = Texts.parse(
    await runScript(partition, 'trust', ['begin', token]),
  );
  const seen = { incarnation: incarnationOf(incarnation) ?? -1, batches: Number(batches) || 0 };
  return { token, ...serverIdOf(info), seen, strange: strange.split(' ').filter((name) => name !== '') };
};

/** What a verification that was overtaken throws: it is to be begun again. */
export const overtaken = (): SignalboxError =>
  new SignalboxError(
    'state_untrusted',
    'Redis was restarted or emptied, or another scheduler began, while run state was verified: it begins again.',
    { retryAfter: 1 },
  );

/** Last step: from here on the scripts write again. Throws `state_untrusted` when something came between. */
export const endVerification = async (
  partition: Partition,
  { token, server, replid }: Verification,
  { incarnation, batches }: { readonly incarnation: number; readonly batches: number },
): Promise<void> => {
  const args = ['end', token, server, replid, incarnation, batches];
  if ((await runScript(partition, 'trust', args)) !== 'OK') throw overtaken();
};

/** Believes a server as it is, without looking: for one that is known to be empty. */
export const markTrusted = async (partition: Partition, marker: TrustMarker): Promise<void> => {
  await partition.redis.hset(trustKey(partition), {
    server: marker.server,
    replid: marker.replid,
    incarnation: String(marker.incarnation),
  });
};

/** Everybody waits until the partition is verified again. Throws `state_unavailable`. */
export const withdrawTrust = (partition: Partition): Promise<void> =>
  reachingState(async () => void (await partition.redis.hdel(trustKey(partition), 'server', 'verifying')));
