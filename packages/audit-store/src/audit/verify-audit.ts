/**
 * Checks what Postgres holds of a tenant's audit log against itself and against the checkpoints: hashes, seqs,
 * links, columns, heads; and what reports are made of against the log. Page by page and without a transaction, so it
 * holds nothing and takes little memory: what it reads never changes, and events that are added meanwhile lie behind
 * the heads it started from.
 */
import { adminChainOf, type Event, isAdminChain } from '@signalbox/contracts';
import { ChainWalk, type FirstBad } from '@signalbox/engine';
import { type RawBuilder, sql } from 'kysely';
import { behindInChains, EVENT_BYTES, EVENTS_PER_PAGE, IN_CHAINS, MAX_PAGE_BYTES } from './chain-page.ts';
import { DerivedRows } from './derived-rows.ts';
import { type EventColumns, strayColumn } from './event-columns.ts';
import { CHAINS_PER_PAGE, chainsBehind, type Expected, expectedOf, isKnown } from './expected-chains.ts';
import { pagesOf, pagesWithin } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { readWithin, type RowsWithin } from '../db/read-within.ts';
import { reaching } from '../db/store-errors.ts';
import { strayRuns } from './stray-runs.ts';
import { verifyCheckpoints } from './verify-checkpoints.ts';
import { verifyDays } from './verify-days.ts';

export interface AuditVerdict {
  readonly ok: boolean;
  /** Events. */
  readonly checked: number;
  /** Of these, events that lie in quarantine: their seq and hash were checked, or their columns spared. */
  readonly quarantined: number;
  readonly checkpoints: number;
  readonly first_bad: FirstBad | null;
}

interface EventRow extends EventColumns {
  readonly hash: string;
  readonly body: string | null;
  readonly signed_hash: string | null;
  readonly in_quarantine: boolean;
}

const eventsBehind = (
  db: Db,
  tenantId: string,
  { chains, last }: { chains: readonly string[]; last: EventRow | null },
): Promise<RowsWithin<EventRow>> => {
  const found = sql`
    select *, ${EVENT_BYTES} from audit_events
    where ${behindInChains(chains, last)} order by ${IN_CHAINS} limit ${EVENTS_PER_PAGE}`;
  const and = (page: RawBuilder<unknown>) => sql`
    select e.*, l.hash as signed_hash,
      e.data ? 'quarantine_id' and exists (
        select from audit_quarantine q
        where q.id = e.data ->> 'quarantine_id' and q.run_id = e.run_id
          -- Of one that keeps its text: as an entry begins, not as the next one names it.
          and (e.body is null or position(convert_to(e.hash || '{', 'UTF8') in q.raw) > 0)
      ) as in_quarantine
    from (${page}) e
    left join checkpoint_leaves l on l.tenant_id = ${tenantId} and l.run_id = e.run_id and l.seq = e.seq`;
  return readWithin(db, found, { order: IN_CHAINS, maxBytes: MAX_PAGE_BYTES, and });
};

type Fault = { readonly seq: number; readonly why: string } | null;

class AuditCheck {
  readonly #db: Db;
  readonly #tenantId: string;
  checked = 0;
  quarantined = 0;

  constructor(db: Db, tenantId: string) {
    this.#db = db;
    this.#tenantId = tenantId;
  }

  /** The first bad event of these chains, in their order; else the first bad row that was derived from them. */
  async chains(ids: readonly string[]): Promise<FirstBad | null> {
    const expected = await reaching(() => expectedOf(this.#db, this.#tenantId, ids));
    const events = this.#events(expected.map(({ id }) => id));
    const derived = new DerivedRows(this.#db);
    let next = await events.next();
    for (const chain of expected) {
      const walk = new ChainWalk(chain.id, this.#tenantId);
      const told: Event[] = [];
      let toBeSigned = 0;
      for (; next.done !== true && next.value.run_id === chain.id; next = await events.next()) {
        const row = next.value;
        // What was added since, and is in nobody's way.
        if (row.seq > Math.max(chain.last_seq ?? 0, chain.signed_seq) && chain.beyond === null) continue;
        const fault = this.#event(walk, row);
        if (fault !== null) return { run_id: chain.id, ...fault };
        // A checkpoint writes itself down; that alone is no reason for the next one.
        if (row.type !== 'checkpoint.written') toBeSigned = row.seq;
        if (!isAdminChain(chain.id) && row.body !== null && !row.in_quarantine)
          told.push({ ...(JSON.parse(row.body) as Event), hash: row.hash });
      }
      const fault = endFault(walk, chain) ?? signingFault(toBeSigned, chain);
      if (fault !== null) return { run_id: chain.id, ...fault };
      if (walk.ended && told.length === walk.head.seq) derived.add(told);
      const stray = derived.isFull ? await derived.firstBad() : null;
      if (stray !== null) return stray;
    }
    return derived.firstBad();
  }

  async *#events(chains: readonly string[]): AsyncGenerator<EventRow, undefined> {
    const read = (last: EventRow | null): Promise<RowsWithin<EventRow>> =>
      reaching(() => eventsBehind(this.#db, this.#tenantId, { chains, last }));
    for await (const page of pagesWithin(EVENTS_PER_PAGE, read)) yield* page;
    return undefined;
  }

  #event(walk: ChainWalk, row: EventRow): Fault {
    this.checked += 1;
    const fault = walk.step(row, row.signed_hash);
    if (fault !== null) return fault;
    if (row.in_quarantine) this.quarantined += 1;
    if (row.body === null) {
      return row.in_quarantine ? null : { seq: row.seq, why: 'the body is gone, and not in quarantine' };
    }
    const stray = strayColumn(row, {
      body: row.body,
      tenantId: this.#tenantId,
      spared: row.in_quarantine,
    });
    return stray === null
      ? null
      : { seq: row.seq, why: `the column ${stray} does not say what the body says` };
  }
}

/** The writer's mark in checkpoint_due, which leaves when the event is signed, or with its month. */
const TO_BE_SIGNED = 'the mark that it is to be signed names';

const endFault = (walk: ChainWalk, chain: Expected): Fault => {
  if (chain.has_left) return null;
  const cut = walk.cut(chain.signed_seq) ?? walk.cut(chain.due_seq, TO_BE_SIGNED);
  if (cut !== null) return cut;
  const { seq, hash } = walk.head;
  // The administration chain of a tenant of which nothing is stored yet; a run without a row was signed, or not asked
  // for.
  if (chain.last_seq === null)
    return seq === 0 ? null : { seq: 1, why: 'the run is gone; its events are there' };
  if (seq < chain.last_seq) {
    return {
      seq: seq + 1,
      why: `the chain was cut; ${isAdminChain(chain.id) ? 'its head' : 'the run'} has ${chain.last_seq} events`,
    };
  }
  if (seq > chain.last_seq) return { seq: chain.last_seq + 1, why: 'an event behind the head' };
  return chain.head_hash === null || seq === 0 || chain.head_hash === hash
    ? null
    : { seq, why: 'the head of the chain has another hash' };
};

/** Each event is signed, or marked to be: who takes the mark away would have all the time there is to change it. */
const signingFault = (seq: number, { signed_seq, due_seq }: Expected): Fault => {
  const known = Math.max(signed_seq, due_seq);
  return seq <= known ? null : { seq: known + 1, why: 'no checkpoint holds it, and none is going to' };
};

const everyChain = async (db: Db, check: AuditCheck, tenantId: string): Promise<FirstBad | null> => {
  const bad = await check.chains([adminChainOf(tenantId)]);
  if (bad !== null) return bad;
  const pages = pagesOf<string>(CHAINS_PER_PAGE, (last) =>
    reaching(() => chainsBehind(db, tenantId, last ?? '')),
  );
  for await (const ids of pages) {
    const found = await check.chains(ids);
    if (found !== null) return found;
  }
  for await (const ids of strayRuns(db, tenantId)) {
    const found = await check.chains(ids);
    if (found !== null) return found;
  }
  return verifyDays(db, tenantId);
};

/**
 * Verifies a tenant's chains, or one of them; null: the tenant has no such run. Checkpoints first, since the chains
 * are held against them. Throws `audit_store_unavailable`.
 */
export const verifyAudit = async (
  db: Db,
  tenantId: string,
  runId: string | null,
): Promise<AuditVerdict | null> => {
  if (runId !== null && !(await isKnown(db, tenantId, runId))) return null;
  const check = new AuditCheck(db, tenantId);
  const { checkpoints, bad } = await verifyCheckpoints(db, tenantId, runId);
  const first = bad ?? (await (runId === null ? everyChain(db, check, tenantId) : check.chains([runId])));
  const { checked, quarantined } = check;
  return { ok: first === null, checked, quarantined, checkpoints, first_bad: first };
};
