import { adminChainOf, type AdminEventDraft } from '@signalbox/contracts';
import { appendAdminDrafts, EMPTY_HEAD, type Head } from '@signalbox/engine';
import { sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { markDue } from './checkpoint-due.ts';
import { insertFree } from './events.ts';

/**
 * Gives administration events their seq, in the order they came, while their tenant's head is locked. An event that
 * is stored already, as its id says, keeps the seq it has.
 */

export interface PlacedAdminEvents {
  readonly inserted: number;
  readonly duplicates: number;
}

interface HeadRow {
  readonly tenant_id: string;
  readonly seq: number;
  readonly hash: string;
}

/**
 * The heads of these tenants' chains, locked until the transaction ends; in one order everywhere. A row that somebody
 * else put behind a head is taken for the end: the check of the chain shows it, and nothing has to wait for that.
 */
const lockChains = async (db: Db, tenantIds: readonly string[]): Promise<ReadonlyMap<string, Head>> => {
  await sql`
    insert into admin_chains (tenant_id, hash)
    select tenant_id, ${EMPTY_HEAD.hash} from unnest(${tenantIds}::text[]) as x (tenant_id) order by tenant_id
    on conflict (tenant_id) do nothing`.execute(db);
  const { rows } = await sql<HeadRow>`
    select c.tenant_id, coalesce(beyond.seq, c.seq) as seq, coalesce(beyond.hash, c.hash) as hash
    from admin_chains c left join lateral (
      select e.seq, e.hash from audit_events e
      where e.run_id = 'admin_' || c.tenant_id and e.seq > c.seq order by e.seq desc limit 1
    ) beyond on true
    where c.tenant_id = any(${tenantIds}::text[]) order by c.tenant_id for update of c`.execute(db);
  return new Map(rows.map(({ tenant_id, seq, hash }) => [tenant_id, { seq, hash }]));
};

const storedIds = async (db: Db, drafts: readonly AdminEventDraft[]): Promise<Set<string>> => {
  const ids = drafts.map(({ tenant_id, event_id }) => ({ run_id: adminChainOf(tenant_id), event_id }));
  const { rows } = await sql<{ event_id: string }>`
    select a.event_id from json_to_recordset(${toJsonParam(ids)}::json) as x (run_id text, event_id text)
    join audit_events a on a.run_id = x.run_id collate "C" and a.event_id = x.event_id
    where a.category = 'admin'`.execute(db);
  return new Set(rows.map((row) => row.event_id));
};

const moveHeads = (db: Db, heads: readonly HeadRow[]): Promise<unknown> =>
  sql`
    with changed as (update admin_chains c set seq = x.seq, hash = x.hash
    from json_to_recordset(${toJsonParam(heads)}::json) as x (tenant_id text, seq int, hash text)
    where c.tenant_id = x.tenant_id
    returning c.tenant_id, c.seq)
    ${markDue(sql`(select tenant_id, 'admin_' || tenant_id as run_id, seq from changed)`)}`.execute(db);

export const insertAdminEvents = async (
  db: Db,
  drafts: readonly AdminEventDraft[],
): Promise<PlacedAdminEvents> => {
  if (drafts.length === 0) return { inserted: 0, duplicates: 0 };
  const byTenant = Map.groupBy(drafts, (draft) => draft.tenant_id);
  const heads = await lockChains(db, [...byTenant.keys()]);
  const seen = await storedIds(db, drafts);
  const moved: HeadRow[] = [];
  let inserted = 0;
  for (const [tenantId, own] of byTenant) {
    const fresh = own.filter(({ event_id }) => {
      const isFresh = !seen.has(event_id);
      seen.add(event_id);
      return isFresh;
    });
    if (fresh.length === 0) continue;
    const start = heads.get(tenantId) ?? EMPTY_HEAD;
    const { entries, head } = appendAdminDrafts(start, fresh);
    const rows = fresh.map(({ event_id }, i) => ({
      run_id: adminChainOf(tenantId),
      seq: start.seq + 1 + i,
      event_id,
      tenant_id: tenantId,
      category: 'admin' as const,
      entry: entries[i] ?? '',
    }));
    await insertFree(db, rows);
    inserted += rows.length;
    moved.push({ tenant_id: tenantId, seq: head.seq, hash: head.hash });
  }
  await moveHeads(db, moved);
  return { inserted, duplicates: drafts.length - inserted };
};
