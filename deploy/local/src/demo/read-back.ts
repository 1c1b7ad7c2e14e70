/** Part 2: the same run, read with SQL as an auditor would, and its hash chain checked by Postgres itself. */
import { Client } from 'pg';
import { waitFor } from '../wait.ts';
import { check, line, NANO, table } from './show.ts';
import type { ShownRun } from './three-steps.ts';

const STORED_MS = 15_000;

const RUN = `select status, agent, steps, last_seq, cost_observed_usd::text, finished_at from runs where id = $1`;

const CHAIN = `
  select count(*)::int as events, min(seq) as first, max(seq) as last,
    bool_and(hash = encode(sha256(convert_to(body, 'UTF8')), 'hex')) as hashes_match,
    bool_and(prev = before) as chained
  from (select *, lag(hash, 1, repeat('0', 64)) over (order by seq) as before
        from audit_events where run_id = $1) as journal`;

const REPLAY = `
  select step_index as step, attempt, kind, coalesce(model, tool) as call,
    cost_estimate_usd::float8 as held_usd, cost_observed_usd::float8 as observed_usd,
    left(output_ref, 15) as output_ref
  from replay_records where run_id = $1 order by step_index, attempt`;

const LEDGER = `
  select count(*)::int as holds, count(*) filter (where state = 'held')::int as open,
    sum(held_nano)::int as held_nano, sum(observed_nano)::int as observed_nano
  from cost_ledger where run_id = $1`;

type Row = Record<string, unknown>;

/** Throws when the run has not arrived after a while: the audit-writer is behind or does not run. */
async function stored(db: Client, id: string, lastSeq: number): Promise<Row> {
  return await waitFor(
    async () => {
      const row = (await db.query<Row>(RUN, [id])).rows[0];
      return row?.['last_seq'] === lastSeq ? row : undefined;
    },
    { what: `the ${lastSeq} events of ${id} to arrive in Postgres`, timeoutMs: STORED_MS },
  );
}

export async function readBack(databaseUrl: string, { run, events }: ShownRun): Promise<void> {
  const db = new Client({ connectionString: databaseUrl });
  await db.connect();
  const rows = async (sql: string): Promise<Row[]> => (await db.query<Row>(sql, [run.id])).rows;
  try {
    line('runs:');
    const row = await stored(db, run.id, events.length);
    table([row]);
    check(
      'the row says what the api said',
      row['status'] === run.status && Number(row['cost_observed_usd']) === run.cost.observed_usd,
    );

    line('audit_events, with the chain recomputed (hash = sha256(body), prev = hash of the row before):');
    const chain = await rows(CHAIN);
    table(chain);
    const [found] = chain;
    check(
      'no event is missing, every hash matches and they chain',
      found?.['events'] === events.length && found['hashes_match'] === true && found['chained'] === true,
    );
    const hashes = await rows('select seq, hash from audit_events where run_id = $1 order by seq');
    check(
      'they are the very events that were streamed',
      hashes.length === events.length && events.every(({ hash }, index) => hashes[index]?.['hash'] === hash),
    );

    line('replay_records:');
    const records = await rows(REPLAY);
    table(records);
    check(
      `one row per attempt, each with its output`,
      records.length === 5 && records.every((r) => r['output_ref']),
    );

    line('cost_ledger, summed:');
    const ledger = await rows(LEDGER);
    table(ledger);
    const [sums] = ledger;
    check(
      'three holds, all settled, and their sum is the cost of the run',
      sums?.['holds'] === 3 &&
        sums['open'] === 0 &&
        sums['observed_nano'] === Math.round(run.cost.observed_usd * NANO),
    );
  } finally {
    await db.end();
  }
}
