/**
 * The append-only file after a crash. Redis (seen with 7.0.15) that starts with a file cut within a transaction
 * forgets the half transaction but leaves it in the file; what is appended behind it is misread at the next start,
 * and half a commit comes back. A file written anew from memory holds nothing half: verification waits for it before
 * it lets anybody write again (Trust).
 */
import type { Clock } from '@signalbox/runtime';
import type { Partition } from './partition.ts';

/** `off`: there is no such file. `refused`: the provider does not allow it. `slow`: it goes on by itself. */
export type LogRewrite = 'written' | 'off' | 'refused' | 'slow';

const LOOK_MS = 20;
const PATIENCE_MS = 30_000;

const told = (info: string, name: string): string | undefined =>
  new RegExp(`^${name}:(\\w+)`, 'm').exec(info)?.[1];

const isRefusal = (error: unknown): boolean =>
  error instanceof Error && /^(NOPERM|ERR unknown command)/.test(error.message);

/** Never throws for what the server does not allow; other errors of the connection pass. */
export const rewriteAppendLog = async ({ redis }: Partition, clock: Clock): Promise<LogRewrite> => {
  try {
    if (told(await redis.info('persistence'), 'aof_enabled') !== '1') return 'off';
    await redis.bgrewriteaof();
  } catch (error) {
    if (isRefusal(error)) return 'refused';
    // One is under way already.
    if (!(error instanceof Error && error.message.includes('in progress'))) throw error;
  }
  const until = clock.monotonic() + PATIENCE_MS;
  while (clock.monotonic() < until) {
    const info = await redis.info('persistence');
    const busy = ['aof_rewrite_in_progress', 'aof_rewrite_scheduled'].some(
      (name) => told(info, name) === '1',
    );
    if (!busy) return 'written';
    await clock.sleep(LOOK_MS);
  }
  return 'slow';
};
