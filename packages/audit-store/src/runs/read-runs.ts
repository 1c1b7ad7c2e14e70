import type { ContentChoice, Entry, StoredRun } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { type RawBuilder, sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

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

const wantedContents = (wanted: Wanted): RawBuilder<unknown> => sql`
  unnest(${wanted.map((w) => w.run_id)}::text[], ${wanted.map((w) => w.ref)}::text[]) as x (run_id, ref)
  join contents c on c.run_id = x.run_id collate "C" and c.ref = x.ref collate "C"`;

const selectContents = async (
  db: Db,
  wanted: Wanted,
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> => {
  const contents = new Map<string, Map<string, string>>();
  if (wanted.length === 0) return contents;
  const { rows } = await sql<{ run_id: string; ref: string; sealed: Buffer }>`
    select c.run_id, c.ref, c.sealed from ${wantedContents(wanted)}`.execute(db);
  for (const { run_id, ref, sealed } of rows) {
    const ofRun = contents.get(run_id) ?? new Map<string, string>();
    contents.set(run_id, ofRun.set(ref, sealed.toString('base64')));
  }
  return contents;
};

const toStored = (
  row: RunRow | undefined,
  journal: Journal | undefined,
  contents: ReadonlyMap<string, string> = new Map<string, string>(),
): StoredRun[] => {
  if (row === undefined || journal === undefined || journal.entries.length === 0) return [];
  return [
    {
      runId: row.id,
      tenantId: row.tenant_id,
      wrappedKey: row.wrapped_key,
      contentErasedAt: row.erased_at?.toISOString() ?? null,
      entries: journal.entries,
      contents,
    },
  ];
};

const withBody = (entries: readonly Entry[]): readonly Entry[] =>
  entries.filter((entry) => entry.length > 64);

/** How many of the runs, in their order, have `maxBytes` of contents together: one at least, or no list would go on. */
const countWithin = async (
  db: Db,
  wanted: Wanted,
  { runIds, maxBytes }: { runIds: readonly string[]; maxBytes: number },
): Promise<number> => {
  const { rows } = await sql<{ run_id: string; bytes: number }>`
    select c.run_id, sum(octet_length(c.sealed))::bigint as bytes from ${wantedContents(wanted)}
    group by c.run_id`.execute(db);
  const bytes = new Map(rows.map((row) => [row.run_id, row.bytes]));
  let total = 0;
  const beyond = runIds.findIndex((id, index) => {
    total += bytes.get(id) ?? 0;
    return total > maxBytes && index > 0;
  });
  return beyond === -1 ? runIds.length : beyond;
};

/** Rows read before their contents; of a run that was erased in between, as it is now. */
const asErased = async (
  db: Db,
  rows: ReadonlyMap<string, RunRow>,
  { tenantId, lacking }: { tenantId: string; lacking: readonly string[] },
): Promise<ReadonlyMap<string, RunRow>> => {
  const doubtful = lacking.filter((id) => rows.get(id)?.wrapped_key !== null);
  if (doubtful.length === 0) return rows;
  const now = await selectRuns(db, tenantId, doubtful);
  return new Map([...rows, ...now.map((row) => [row.id, row] as const)]);
};

export interface RunsQuery {
  readonly tenantId: string;
  readonly runIds: readonly string[];
  /** Which contents come along; default: all that the events name. */
  readonly choose?: ContentChoice | undefined;
  /** Of sealed contents; default: no limit. */
  readonly maxBytes?: number;
}

export interface RunsWithin {
  readonly runs: StoredRun[];
  /** How many of `runIds` were looked for; those behind are to be asked for again. */
  readonly looked: number;
}

/**
 * The first of `runIds` whose contents fit, of those that are the tenant's and stored; not those whose events left with
 * their partition. Sizes are known before anything is read. Throws `audit_store_unavailable`.
 */
export const readRunsWithin = (
  db: Db,
  { tenantId, runIds, choose, maxBytes }: RunsQuery,
): Promise<RunsWithin> =>
  reaching(async () => {
    const ids = runIds.map(wellFormed);
    const rows = new Map((await selectRuns(db, tenantId, ids)).map((row) => [row.id, row]));
    if (rows.size === 0) return { runs: [], looked: ids.length };
    const journals = await selectJournals(db, [...rows.keys()]);
    const named = [...journals].flatMap(([run_id, { entries, refs }]) =>
      [...new Set(choose === undefined ? refs : choose(withBody(entries)))].map((ref) => ({ run_id, ref })),
    );
    const looked =
      maxBytes === undefined ? ids.length : await countWithin(db, named, { runIds: ids, maxBytes });
    const within = ids.slice(0, looked);
    const wanted = looked === ids.length ? named : named.filter(({ run_id }) => within.includes(run_id));
    const contents = await selectContents(db, wanted);
    const lacking = wanted.filter(({ run_id, ref }) => contents.get(run_id)?.has(ref) !== true);
    const known = await asErased(db, rows, { tenantId, lacking: lacking.map(({ run_id }) => run_id) });
    return {
      runs: within.flatMap((id) => toStored(known.get(id), journals.get(id), contents.get(id))),
      looked,
    };
  });

/** All of `readRunsWithin`, in the given order. */
export const readRuns = async (
  db: Db,
  tenantId: string,
  runIds: readonly string[],
  choose?: ContentChoice,
): Promise<StoredRun[]> => (await readRunsWithin(db, { tenantId, runIds, choose })).runs;

/** Null: no such run of this tenant. `choose` as for `readRuns`. */
export const readRun = async (
  db: Db,
  tenantId: string,
  runId: string,
  choose?: ContentChoice,
): Promise<StoredRun | null> => (await readRuns(db, tenantId, [runId], choose))[0] ?? null;
