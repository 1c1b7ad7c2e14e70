import { type RawBuilder, sql } from 'kysely';

/** As few statements as can be: an event is some hundred bytes, seldom more than some KB. */
export const EVENTS_PER_PAGE = 500;

/** Of bodies in a page of events: few have 100 KB, but those come together, and a page is worked through at one go. */
export const MAX_PAGE_BYTES = 2 * 1024 * 1024;

/** How large an event is, told without reading it. */
export const EVENT_BYTES = sql`coalesce(octet_length(body), 0) as bytes`;

/** Chain by chain, each in its order. */
export const IN_CHAINS = sql`run_id, seq`;

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
