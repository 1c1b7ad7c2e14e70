/**
 * What a loss of Redis takes with it for good (Trust): commits that were acknowledged to their writers, and
 * are not in Postgres. The stream is read at the moment of the loss; what of it is not stored at the end was lost, so
 * the checker forgives exactly this and no more.
 */
import type { Partition } from '@signalbox/run-state';

export interface LostEvent {
  readonly runId: string;
  readonly seq: number;
  readonly hash: string;
  readonly type: string;
  /** Worst case of the call it announces. */
  readonly holdNano: number;
}

export interface Loss {
  readonly at: number;
  /** Nothing from before was lost, epoch ms; for what is in no journal yet. */
  readonly since: number;
  /** What waited to be stored. */
  readonly unstored: readonly LostEvent[];
}

export type StreamEntries = readonly (readonly [id: string, fields: readonly string[]])[];

interface Body {
  readonly run_id: string;
  readonly seq: number;
  readonly type: string;
  readonly ts: string;
  readonly data: { readonly hold?: { readonly amount_nano: number } | null };
}

const HASH_LENGTH = 64;

const entriesOf = (fields: readonly string[]): string[] =>
  fields.filter((_, i) => i % 2 === 1 && fields[i - 1] === 'e');

export const bodiesOf = (fields: readonly string[]): Body[] =>
  entriesOf(fields).map((entry) => JSON.parse(entry.slice(HASH_LENGTH)) as Body);

export const lossOf = (entries: StreamEntries, since: number): Loss => ({
  at: Date.now(),
  since,
  unstored: entries.flatMap(([, fields]) => {
    const hashes = entriesOf(fields).map((entry) => entry.slice(0, HASH_LENGTH));
    return bodiesOf(fields).map(({ run_id: runId, seq, type, data }, n) => ({
      runId,
      seq,
      type,
      hash: hashes[n] ?? '',
      holdNano: data.hold?.amount_nano ?? 0,
    }));
  }),
});

export const readStream = ({ redis, root }: Partition): Promise<StreamEntries> =>
  redis.xrange(`${root}:audit`, '-', '+');

/** All that was lost, known once the system is at rest. */
export interface Lost {
  /** Some of their events are gone. */
  readonly runs: ReadonlySet<string>;
  /** Even their submission is. */
  readonly submitted: ReadonlySet<string>;
  /** `run/seq/hash` of every lost event. */
  readonly events: ReadonlySet<string>;
  /** Worst cases of calls that only Redis knew of. */
  readonly announcedNano: number;
}

export const eventKey = ({ runId, seq, hash }: Pick<LostEvent, 'runId' | 'seq' | 'hash'>): string =>
  `${runId}/${seq}/${hash}`;

/** `stored`: keys of all events in Postgres. */
export const lostOf = (losses: readonly Loss[], stored: ReadonlySet<string>): Lost => {
  const lost = losses.flatMap(({ unstored }) => unstored).filter((event) => !stored.has(eventKey(event)));
  return {
    runs: new Set(lost.map(({ runId }) => runId)),
    submitted: new Set(lost.flatMap(({ runId, type }) => (type === 'run.submitted' ? [runId] : []))),
    events: new Set(lost.map(eventKey)),
    announcedNano: lost.reduce((sum, { holdNano }) => sum + holdNano, 0),
  };
};
