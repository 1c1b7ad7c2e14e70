import { isTerminal, type RunStatus } from '@signalbox/contracts';

/** How far a run is stored without a gap, and whether that is its end. */
export interface StoredHead {
  readonly seq: number;
  readonly terminal: boolean;
}

/** Where an event stands. */
export interface Position {
  readonly run_id: string;
  readonly seq: number;
}

export const eventIdOf = ({ run_id, seq }: Position): string => `${run_id}.${seq}`;

/**
 * Whether a position may still be free. Up to its head a run is stored, wherever the rows are now: those of an old
 * run left with their partition, and a redelivery must not count them again.
 */
export const isBeyond = (known: ReadonlyMap<string, StoredHead>, { run_id, seq }: Position): boolean =>
  seq > (known.get(run_id)?.seq ?? 0);

export interface HeadRow {
  readonly id: string;
  readonly last_seq: number;
  readonly status: RunStatus;
  readonly status_seq: number;
}

export const headsOf = (rows: readonly HeadRow[]): Map<string, StoredHead> =>
  new Map(
    rows.map(({ id, last_seq, status, status_seq }) => [
      id,
      { seq: last_seq, terminal: isTerminal(status) && status_seq <= last_seq },
    ]),
  );

/** Runs that are locked until the transaction ends. */
export interface KnownRuns {
  readonly heads: ReadonlyMap<string, StoredHead>;
  /** Those of which something is stored behind a gap; of the others every position beyond the head is free. */
  readonly ragged: ReadonlySet<string>;
}

/**
 * Up to where runs are stored without a gap when these positions are filled too. Not of ragged ones: there Postgres must
 * look what they join.
 */
export const endsAfter = (
  { heads: known, ragged }: KnownRuns,
  filled: readonly Position[],
): ReadonlyMap<string, number> => {
  const ends = new Map<string, number>();
  for (const [id, positions] of Map.groupBy(filled, ({ run_id }) => run_id)) {
    if (ragged.has(id)) continue;
    let end = known.get(id)?.seq ?? 0;
    for (const { seq } of positions.toSorted((a, b) => a.seq - b.seq)) if (seq === end + 1) end = seq;
    ends.set(id, end);
  }
  return ends;
};
