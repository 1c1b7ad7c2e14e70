import type { ContentChoice, Entry, RunStatus, StoredRun } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { sql } from 'kysely';
import { createdBefore, createdFrom } from './created-at.ts';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

interface RunRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly wrapped_key: string | null;
  readonly erased_at: Date | null;
}

const selectRuns = (db: Db, tenantId: string, runIds: readonly string[]): Promise<RunRow[]> =>
  db
    .selectFrom('runs')
    .leftJoin('run_keys', 'run_keys.run_id', 'runs.id')
    .leftJoin('erased_runs', 'erased_runs.run_id', 'runs.id')
    .select(['runs.id', 'runs.tenant_id', 'run_keys.wrapped_key', 'erased_runs.erased_at'])
    .where('runs.tenant_id', '=', tenantId)
    .where(sql<boolean>`runs.id = any(${runIds}::text[])`)
    .execute();

/** A run's journal and the contents its events name. */
interface Journal {
  readonly entries: Entry[];
  readonly refs: string[];
}

/** A stub has no body, so its entry is a hash alone, which no chain check takes for an event. */
const selectJournals = async (db: Db, runIds: readonly string[]): Promise<ReadonlyMap<string, Journal>> => {
  const rows = await db
    .selectFrom('audit_events')
    .select(['run_id', 'hash', 'body', 'refs'])
    .where(sql<boolean>`run_id = any(${runIds}::text[])`)
    .orderBy('run_id')
    .orderBy('seq')
    .execute();
  const journals = new Map<string, Journal>(runIds.map((id) => [id, { entries: [], refs: [] }]));
  for (const { run_id, hash, body, refs } of rows) {
    const journal = journals.get(run_id);
    journal?.entries.push(hash + (body ?? ''));
    // The column beside the body: nothing is parsed for its refs alone.
    journal?.refs.push(...Object.values((refs ?? {}) as Readonly<Record<string, string>>));
  }
  return journals;
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
 * The runs among `runIds` that are the tenant's and stored, in the given order; not those whose events left with
 * their partition. `choose` says which contents come along (default: all that its events name). Throws `audit_store_unavailable`.
 */
export const readRuns = (
  db: Db,
  tenantId: string,
  runIds: readonly string[],
  choose?: ContentChoice,
): Promise<StoredRun[]> =>
  reaching(async () => {
    const wanted = runIds.map(wellFormed);
    const rows = new Map((await selectRuns(db, tenantId, wanted)).map((row) => [row.id, row]));
    if (rows.size === 0) return [];
    const journals = await selectJournals(db, [...rows.keys()]);
    const wantedRefs = [...journals].flatMap(([run_id, { entries, refs }]) =>
      [...new Set(choose === undefined ? refs : choose(withBody(entries)))].map((ref) => ({ run_id, ref })),
    );
    const contents = await selectContents(db, wantedRefs);
    return wanted.flatMap((id): StoredRun[] => {
      const row = rows.get(id);
      const stored = journals.get(id)?.entries ?? [];
      if (row === undefined || stored.length === 0) return [];
      return [
        {
          runId: id,
          tenantId: row.tenant_id,
          wrappedKey: row.wrapped_key,
          contentErasedAt: row.erased_at?.toISOString() ?? null,
          entries: stored,
          contents: contents.get(id) ?? new Map<string, string>(),
        },
      ];
    });
  });

/** Null: no such run of this tenant. `choose` as for `readRuns`. */
export const readRun = async (
  db: Db,
  tenantId: string,
  runId: string,
  choose?: ContentChoice,
): Promise<StoredRun | null> => (await readRuns(db, tenantId, [runId], choose))[0] ?? null;

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
    const { tenantId, status, agent, userId, sessionId, limit, before } = query;
    const rows = await db
      .selectFrom('runs')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .$if(status !== undefined, (q) => q.where('status', '=', status ?? 'queued'))
      .$if(agent !== undefined, (q) => q.where('agent', '=', wellFormed(agent ?? '')))
      .$if(userId !== undefined, (q) => q.where('user_id', '=', wellFormed(userId ?? '')))
      .$if(sessionId !== undefined, (q) => q.where('session_id', '=', wellFormed(sessionId ?? '')))
      .$if(query.createdAfter !== undefined, (q) => q.where(createdFrom(query.createdAfter ?? '')))
      .$if(query.createdBefore !== undefined, (q) => q.where(createdBefore(query.createdBefore ?? '')))
      .$if(before !== undefined, (q) => q.where('id', '<', wellFormed(before ?? '')))
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => row.id);
  });
