/** Owns a data directory for one stack at a time: `<dir>/stack.json` names the processes that use it. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isAlive } from './pids.ts';
import { reaperPid } from './reaper.ts';
import { waitFor } from './wait.ts';

const CLEANUP_MS = 20_000;

interface Holder {
  readonly pid: number;
  /** Lives until everything that `pid` started is gone. */
  readonly reaper: number;
}

/** Takes the directory, after a holder that died has been cleaned up; throws if a live one holds it. */
export async function lockDir(dir: string): Promise<() => void> {
  mkdirSync(dir, { recursive: true });
  const file = join(dir, 'stack.json');
  if (existsSync(file)) {
    const holder = JSON.parse(readFileSync(file, 'utf8')) as Holder;
    if (isAlive(holder.pid) && isAlive(holder.reaper)) {
      throw new Error(
        `Another local stack (process ${holder.pid}) uses ${dir}: stop it first. If that is another program, delete ${file}.`,
      );
    }
    await waitFor(() => (isAlive(holder.reaper) ? undefined : true), {
      what: `process ${holder.reaper} to stop the servers of a stack that died (or delete ${file})`,
      timeoutMs: CLEANUP_MS,
    });
  }
  writeFileSync(file, JSON.stringify({ pid: process.pid, reaper: reaperPid() } satisfies Holder));
  return () => rmSync(file, { force: true });
}
