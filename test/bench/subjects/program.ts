/** W on a program of program.ts with the server it needs. */
import { join } from 'node:path';
import { metered } from '../meter.ts';
import { startProgram } from '../program-process.ts';
import { benchPostgres, benchRedis, withStops } from '../servers.ts';
import { type Context, type Sample, type Trial, warmedUp, workSample } from '../trial.ts';
import type { Load, Outcome } from '../work.ts';

export interface ProgramSubject {
  readonly subject: string;
  /** From the repository's root. */
  readonly entry: string;
  readonly server: 'redis' | 'postgres' | 'its own';
  /** For the program, beside `url`, the server's, and `dir`, for what it keeps. */
  readonly settings?: object;
  /** What must be there before it can start. */
  readonly prepare?: () => Promise<void>;
}

export interface ProgramSettings {
  /** Of the server; empty when the program brings its own. */
  readonly url: string;
  readonly dir: string;
}

const serverFor = async (context: Context, kind: ProgramSubject['server']) => {
  if (kind === 'its own') return undefined;
  return kind === 'redis' ? await benchRedis(context) : await benchPostgres(context);
};

const measure = (context: Context, subject: ProgramSubject, load: Omit<Load, 'until'>): Promise<Sample> =>
  withStops(async (onStop) => {
    await subject.prepare?.();
    const server = await serverFor(context, subject.server);
    onStop(async () => server?.stop());
    const program = await startProgram<ProgramSettings>({
      name: 'program',
      entry: subject.entry,
      logDir: join(context.dir, 'logs'),
      ownNetwork: server === undefined,
    });
    onStop(() => program.child.stop());
    const settings = { ...subject.settings, url: server?.url ?? '', dir: join(context.dir, 'program') };
    const work = (order: Load): Promise<Outcome> => program.work({ load: order, settings });
    await warmedUp(load, context.until, work);
    const groups = [{ name: 'program', roots: [program.child.pid] }, ...(server ? [server.group] : [])];
    const measured = (): Promise<Outcome> => work({ ...load, until: context.until });
    return workSample(await metered(groups, measured, { looks: load.perSecond === undefined }));
  });

export const programTrial = (work: string, subject: ProgramSubject, load: Omit<Load, 'until'>): Trial => ({
  work,
  subject: subject.subject,
  measure: (context) => measure(context, subject, load),
});

const BULLMQ = { entry: 'test/bench/programs/bullmq.ts', server: 'redis' } as const;

/** Less no durable design on this queue can do. */
export const FLOOR: ProgramSubject = {
  ...BULLMQ,
  subject: 'BullMQ + XADD + EVALSHA per step',
  settings: { style: 'floor' },
};

/** The raw parts. */
export const PARTS: readonly ProgramSubject[] = [
  { ...BULLMQ, subject: 'BullMQ alone', settings: { style: 'raw' } },
  FLOOR,
];
