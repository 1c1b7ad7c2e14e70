/**
 * Events into Postgres: the audit-writer is frozen while runs fill the stream, then it works that off and nothing else
 * happens. Beside it, on the same server: bare inserts of the same rows, of which ours makes runs, costs and chains too.
 */
import { waitFor } from '@signalbox/local';
import { metered } from '../meter.ts';
import type { Context, Sample, Trial } from '../trial.ts';
import { insertBare } from './bare-inserts.ts';
import { publishAgent, scriptOf } from './signalbox-agent.ts';
import { submitAll, unfinished } from './signalbox-runs.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

const SHAPE = { steps: 5, latencyMs: 0 };
const IN_FLIGHT = 200;
const DRAIN_MS = 300_000;

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

const measure = (context: Context): Promise<Sample> =>
  withSignalbox(context, {}, async (signalbox) => {
    await publishAgent(signalbox, scriptOf(SHAPE));
    signalbox.stack.auditWriter.signal('SIGSTOP');
    const runs = await submitAll(signalbox, { shape: SHAPE, inFlight: IN_FLIGHT, until: context.until });
    await until(signalbox, 'the runs to end', (counts) => counts.runs);
    const { value: seconds, cpu, window } = await metered(signalbox.groups, () => drain(signalbox));
    const { events, contents } = await insertBare(signalbox.databaseUrl);
    const bareSeconds = events.seconds + contents.seconds;
    const perThousand = (name: string): number => ((cpu.get(name) ?? 0) * 1e6) / events.rows;
    return {
      window,
      figures: {
        'events/s': events.rows / seconds,
        'rows/s': (events.rows + contents.rows) / seconds,
        'bare rows/s': (events.rows + contents.rows) / bareSeconds,
        'bare events alone/s': events.rows / events.seconds,
        '% of bare': (100 * bareSeconds) / seconds,
        'audit-writer CPU ms/1,000': perThousand('audit-writer'),
        'Postgres CPU ms/1,000': perThousand('postgres'),
        'events/run': events.rows / runs,
      },
    };
  });

export const auditTrial = (work: string): Trial => ({ work, subject: 'Signalbox', measure });
