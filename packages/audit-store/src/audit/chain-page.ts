import { type RawBuilder, sql } from 'kysely';

/** Where a walk through chains, each in its order, has come to. */
export interface ChainPlace {
  readonly run_id: string;
  readonly seq: number;
}

/**
 * A condition on audit events: of these chains, behind this place. Of a single chain, which may be of millions, the seq
 * is compared alone: an index goes there at once, while for a pair beside `run_id = any` it goes through all before it.
 */
export const behindInChains = (chains: readonly string[], last: ChainPlace | null): RawBuilder<boolean> => {
  const seq = last?.seq ?? 0;
  const [only, ...others] = chains;
  return others.length === 0
    ? sql`run_id = ${only ?? ''} and seq > ${seq}::int`
    : sql`run_id = any(${chains}::text[]) and (run_id, seq) > (${last?.run_id ?? ''} collate "C", ${seq}::int)`;
};
