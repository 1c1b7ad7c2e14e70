/**
 * Events into Postgres: the audit-writer is frozen while runs fill the stream, then it works that off and nothing else
 * happens. Beside it, on the same server: the same bodies through one bare `json_to_recordset` insert per 1,000 rows.
 */
import { waitFor } from '@signalbox/local';
import pg from 'pg';
import { metered } from '../meter.ts';
import type { Context, Sample, Trial } from '../trial.ts';
import { publishAgent, scriptOf } from './signalbox-agent.ts';
import { submitAll, unfinished } from './signalbox-runs.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

const SHAPE = { steps: 5, latencyMs: 0 };
const IN_FLIGHT = 200;
const DRAIN_MS = 300_000;
const BATCH = 1000;

const until = (
  signalbox: Signalbox,
  what: string,
  left: (counts: { runs: number; backlog: number }) => number,
) =>
  waitFor(async () => (left(await unfinished(signalbox)) === 0 ? true : undefined), {
    what,
    timeoutMs: DRAIN_MS,
    everyMs: 20,
  });

const drain = async (signalbox: Signalbox): Promise<number> => {
  const started = performance.now();
  signalbox.stack.auditWriter.signal('SIGCONT');
  await until(signalbox, 'the stream to be stored', ({ backlog }) => backlog);
  return (performance.now() - started) / 1000;
};

interface Row {
  readonly run_id: string;
  readonly seq: number;
  readonly body: string;
}

/** Rows per second. */
const rawRate = async (
  databaseUrl: string,
): Promise<{ readonly rows: number; readonly perSecond: number }> => {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<Row>(
      'select run_id, seq, body from audit_events where body is not null',
    );
    await client.query(
      'create table bench_raw (run_id text, seq int, body text, data jsonb, primary key (run_id, seq))',
    );
    const started = performance.now();
    for (let at = 0; at < rows.length; at += BATCH) {
      await client.query(
        `insert into bench_raw select run_id, seq, body, body::jsonb
         from json_to_recordset($1::json) as x (run_id text, seq int, body text) on conflict do nothing`,
        [JSON.stringify(rows.slice(at, at + BATCH))],
      );
    }
    return { rows: rows.length, perSecond: rows.length / ((performance.now() - started) / 1000) };
  } finally {
    await client.end();
  }
};

const measure = (context: Context): Promise<Sample> =>
  withSignalbox(context, {}, async (signalbox) => {
    await publishAgent(signalbox, scriptOf(SHAPE));
    signalbox.stack.auditWriter.signal('SIGSTOP');
    const runs = await submitAll(signalbox, { shape: SHAPE, inFlight: IN_FLIGHT, until: context.until });
    await until(signalbox, 'the runs to end', (counts) => counts.runs);
    const { value: seconds, cpu, window } = await metered(signalbox.groups, () => drain(signalbox));
    const raw = await rawRate(signalbox.databaseUrl);
    const perThousand = (name: string): number => ((cpu.get(name) ?? 0) * 1e6) / raw.rows;
    return {
      window,
      figures: {
        'events/s': raw.rows / seconds,
        'bare json_to_recordset rows/s': raw.perSecond,
        'audit-writer CPU ms/1,000': perThousand('audit-writer'),
        'Postgres CPU ms/1,000': perThousand('postgres'),
        'events/run': raw.rows / runs,
      },
    };
  });

export const auditTrial = (work: string): Trial => ({ work, subject: 'Signalbox', measure });
