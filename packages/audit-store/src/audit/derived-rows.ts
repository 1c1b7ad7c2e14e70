/**
 * The rows that reports are made of, held against the events they were derived from: a run's own and those of its calls
 * in the ledger. Of runs that have ended, whose rows nobody changes any more; not of one with an event in quarantine,
 * since it told them something that nobody can read.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AuditRecord, Event, EventOf } from '@signalbox/contracts';
import type { FirstBad } from '@signalbox/engine';
import { sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';
import { ledgerAfter } from '../write/cost-changes.ts';
import { runChanges } from '../write/run-changes.ts';
import { identity } from '../write/apply-run-changes.ts';

type Row = Readonly<Record<string, unknown>>;

interface Derived {
  readonly runId: string;
  /** Of its last event. */
  readonly seq: number;
  readonly run: Row;
  readonly calls: ReadonlyMap<string, Row>;
}

/** In memory at once. */
const MOST_CALLS = 5000;

/** A run without a parent is the root of its tree; of others no event tells which is. */
const rootOf = ({ run_id, data }: EventOf<'run.submitted'>): string | null =>
  data.parent_run_id === null ? run_id : null;

/** Of a record its events do not tell everything; what they do not is not looked at. */
const recordOf = (submitted: EventOf<'run.submitted'>): AuditRecord => ({
  streamId: '',
  runId: submitted.run_id,
  tenantId: submitted.data.tenant_id,
  userId: submitted.data.user_id,
  agent: submitted.data.agent.name,
  rootRunId: rootOf(submitted) ?? '',
  wrappedKey: null,
  entries: [],
  contents: [],
});

/** As Postgres was given it. */
const stored = (row: Row): Row => (JSON.parse(toJsonParam([row])) as [Row])[0];

const derive = (submitted: EventOf<'run.submitted'>, events: readonly Event[]): Derived | null => {
  const [change] = runChanges(events, []);
  const seq = events.at(-1)?.seq;
  if (change === undefined || change.submitted === null || seq === undefined) return null;
  const record = recordOf(submitted);
  const ledger = ledgerAfter(
    new Map(),
    events.map((event) => ({ record, entry: '', event })),
  );
  const observed = [...ledger.values()].reduce((sum, { observed_nano: nano }) => sum + (nano ?? 0), 0);
  const { submitted: told, ...rest } = change;
  const { idempotency_key_digest: _key, idempotency_fingerprint: _print, ...own } = identity(told);
  const root = rootOf(submitted) === null ? {} : { root_run_id: submitted.run_id };
  const calls = [...ledger].map(
    ([id, { root_run_id: _, ...call }]) => [id, stored({ ...call, ...root })] as const,
  );
  const run = stored({ ...rest, ...own, ...root, cost_observed_nano: observed });
  return { runId: submitted.run_id, seq, run, calls: new Map(calls) };
};

const says = (found: unknown, told: unknown): boolean =>
  found instanceof Date ? found.getTime() === Date.parse(String(told)) : isDeepStrictEqual(found, told);

/** The first column that says something else. */
const strayIn = (found: Row, told: Row): string | undefined =>
  Object.keys(told).find((column) => !says(found[column], told[column]));

const callFault = (calls: ReadonlyMap<string, Row>, told: Derived['calls']): string | null => {
  for (const [id, call] of told) {
    const found = calls.get(id);
    if (found === undefined) return `call ${id} is not in the ledger`;
    const stray = strayIn(found, call);
    if (stray !== undefined) return `the ledger says another ${stray} of call ${id} than the events`;
  }
  const more = [...calls.keys()].find((id) => !told.has(id));
  return more === undefined ? null : `the ledger has call ${more}, which the events do not`;
};

export class DerivedRows {
  readonly #db: Db;
  #derived: Derived[] = [];
  #calls = 0;

  constructor(db: Db) {
    this.#db = db;
  }

  /** The whole journal of a run that has ended. */
  add(events: readonly Event[]): void {
    const [first] = events;
    const derived = first?.type === 'run.submitted' ? derive(first, events) : null;
    if (derived === null) return;
    this.#derived.push(derived);
    this.#calls += derived.calls.size;
  }

  get isFull(): boolean {
    return this.#calls >= MOST_CALLS;
  }

  /** The first run whose rows say something else; then begins anew. Throws `audit_store_unavailable`. */
  async firstBad(): Promise<FirstBad | null> {
    const derived = this.#derived;
    [this.#derived, this.#calls] = [[], 0];
    if (derived.length === 0) return null;
    const ids = derived.map(({ runId }) => runId);
    const [runs, calls] = await reaching(async () => [
      (await sql<Row>`select * from runs where id = any(${ids}::text[])`.execute(this.#db)).rows,
      (
        await sql<Row>`select * from cost_ledger where run_id = any(${ids}::text[]) order by hold_id`.execute(
          this.#db,
        )
      ).rows,
    ]);
    const runOf = new Map(runs.map((row) => [row['id'], row]));
    const callsOf = Map.groupBy(calls, (row) => row['run_id']);
    for (const { runId, seq, ...told } of derived) {
      const stray = strayIn(runOf.get(runId) ?? {}, told.run);
      if (stray !== undefined)
        return { run_id: runId, seq, why: `the row of the run says another ${stray} than its events` };
      const found = new Map((callsOf.get(runId) ?? []).map((row) => [String(row['hold_id']), row]));
      const why = callFault(found, told.calls);
      if (why !== null) return { run_id: runId, seq, why };
    }
    return null;
  }
}
