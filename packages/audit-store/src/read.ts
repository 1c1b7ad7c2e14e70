import { type Entry, isTerminal, type RunStatus, type StoredRun } from '@signalbox/contracts';
import { readEntry } from '@signalbox/engine';
import { wellFormed } from '@signalbox/runtime';
import { sql } from 'kysely';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

/** Which contents to read with a run, by its entries in order. */
export type ContentChoice = (entries: readonly Entry[]) => readonly string[];

/** Every content its events name. */
const allRefs: ContentChoice = (entries) => entries.flatMap((entry) => Object.values(readEntry(entry).refs));

interface RunRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly wrapped_key: string | null;
}

const selectRuns = (db: Db, tenantId: string, runIds: readonly string[]): Promise<RunRow[]> =>
  db
    .selectFrom('runs')
    .leftJoin('run_keys', 'run_keys.run_id', 'runs.id')
    .select(['runs.id', 'runs.tenant_id', 'run_keys.wrapped_key'])
    .where('runs.tenant_id', '=', tenantId)
    .where(sql<boolean>`runs.id = any(${runIds}::text[])`)
    .execute();

/** A stub has no body, so its entry is a hash alone, which no chain check takes for an event. */
const selectEntries = async (db: Db, runIds: readonly string[]): Promise<ReadonlyMap<string, Entry[]>> => {
  const rows = await db
    .selectFrom('audit_events')
    .select(['run_id', 'hash', 'body'])
    .where(sql<boolean>`run_id = any(${runIds}::text[])`)
    .orderBy('run_id')
    .orderBy('seq')
    .execute();
  const entries = new Map<string, Entry[]>(runIds.map((id) => [id, []]));
  for (const { run_id, hash, body } of rows) entries.get(run_id)?.push(hash + (body ?? ''));
  return entries;
};

type Wanted = readonly { readonly run_id: string; readonly ref: string }[];

const selectContents = async (
  db: Db,
  wanted: Wanted,
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> => {
  const contents = new Map<string, Map<string, string>>();
  if (wanted.length === 0) return contents;
  const { rows } = await sql<{ run_id: string; ref: string; sealed: Buffer }>`
    select c.run_id, c.ref, c.sealed
    from unnest(${wanted.map((w) => w.run_id)}::text[], ${wanted.map((w) => w.ref)}::text[]) as x (run_id, ref)
    join contents c on c.run_id = x.run_id collate "C" and c.ref = x.ref collate "C"`.execute(db);
  for (const { run_id, ref, sealed } of rows) {
    const ofRun = contents.get(run_id) ?? new Map<string, string>();
    contents.set(run_id, ofRun.set(ref, sealed.toString('base64')));
  }
  return contents;
};

const withBody = (entries: readonly Entry[]): readonly Entry[] =>
  entries.filter((entry) => entry.length > 64);

/**
 * The runs among `runIds` that are the tenant's and stored, in the given order. `choose` says which
 * contents come along (default: all). Throws `audit_store_unavailable`.
 */
export const readRuns = (
  db: Db,
  tenantId: string,
  runIds: readonly string[],
  choose: ContentChoice = allRefs,
): Promise<StoredRun[]> =>
  reaching(async () => {
    const wanted = runIds.map(wellFormed);
    const rows = new Map((await selectRuns(db, tenantId, wanted)).map((row) => [row.id, row]));
    if (rows.size === 0) return [];
    const entries = await selectEntries(db, [...rows.keys()]);
    const refs = [...entries].flatMap(([run_id, list]) =>
      [...new Set(choose(withBody(list)))].map((ref) => ({ run_id, ref })),
    );
    const contents = await selectContents(db, refs);
    return wanted.flatMap((id): StoredRun[] => {
      const row = rows.get(id);
      if (row === undefined) return [];
      return [
        {
          runId: id,
          tenantId: row.tenant_id,
          wrappedKey: row.wrapped_key,
          entries: entries.get(id) ?? [],
          contents: contents.get(id) ?? new Map<string, string>(),
        },
      ];
    });
  });

/** Null: no such run of this tenant. */
export const readRun = async (db: Db, tenantId: string, runId: string): Promise<StoredRun | null> =>
  (await readRuns(db, tenantId, [runId]))[0] ?? null;

export interface RunListQuery {
  readonly tenantId: string;
  readonly status?: RunStatus | undefined;
  /** Name of an agent. */
  readonly agent?: string | undefined;
  readonly userId?: string | undefined;
  readonly sessionId?: string | undefined;
  /** RFC 3339; from this instant on. */
  readonly createdAfter?: string | undefined;
  /** RFC 3339; before this instant. */
  readonly createdBefore?: string | undefined;
  readonly limit: number;
  /** Continue behind this run (the last of the page before). */
  readonly before?: string | undefined;
}

/** Ids, newest first. Throws `audit_store_unavailable`. */
export const listRunIds = (db: Db, query: RunListQuery): Promise<string[]> =>
  reaching(async () => {
    const { tenantId, status, agent, userId, sessionId, createdAfter, createdBefore, limit, before } = query;
    const rows = await db
      .selectFrom('runs')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .$if(status !== undefined, (q) => q.where('status', '=', status ?? 'queued'))
      .$if(agent !== undefined, (q) => q.where('agent', '=', wellFormed(agent ?? '')))
      .$if(userId !== undefined, (q) => q.where('user_id', '=', wellFormed(userId ?? '')))
      .$if(sessionId !== undefined, (q) => q.where('session_id', '=', wellFormed(sessionId ?? '')))
      .$if(createdAfter !== undefined, (q) => q.where('created_at', '>=', new Date(createdAfter ?? 0)))
      .$if(createdBefore !== undefined, (q) => q.where('created_at', '<', new Date(createdBefore ?? 0)))
      .$if(before !== undefined, (q) => q.where('id', '<', wellFormed(before ?? '')))
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => row.id);
  });

export interface RunHead {
  readonly seq: number;
  readonly hash: string;
  readonly terminal: boolean;
}

/** Up to where a run is stored without a gap; null when nothing of it is. Throws `audit_store_unavailable`. */
export const runHead = (db: Db, runId: string): Promise<RunHead | null> =>
  reaching(async () => {
    const row = await db
      .selectFrom('runs')
      .innerJoin('audit_events', (join) =>
        join.onRef('audit_events.run_id', '=', 'runs.id').onRef('audit_events.seq', '=', 'runs.last_seq'),
      )
      .select(['audit_events.seq', 'audit_events.hash', 'runs.status', 'runs.status_seq'])
      .where('runs.id', '=', wellFormed(runId))
      .executeTakeFirst();
    if (row === undefined) return null;
    return { seq: row.seq, hash: row.hash, terminal: isTerminal(row.status) && row.status_seq <= row.seq };
  });
