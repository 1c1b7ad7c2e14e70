/**
 * Owns the promise that no child process outlives this one, even if this one dies by SIGKILL.
 * A small helper process (reaper-main.ts) holds the other end of a pipe; when the pipe closes, for whatever
 * reason, it stops every process group still entered with it and removes the temporary directories.
 */
import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';

export type StopSignal = 'SIGTERM' | 'SIGINT' | 'SIGQUIT';
export type ReaperOrder =
  | { readonly op: 'watch'; readonly pid: number; readonly signal: StopSignal }
  | { readonly op: 'forget'; readonly pid: number }
  | { readonly op: 'remove'; readonly dir: string };

interface Reaper {
  readonly pid: number;
  readonly input: Writable;
}
let reaper: Reaper | undefined;

function startReaper(): Reaper {
  const main = fileURLToPath(new URL('reaper-main.ts', import.meta.url));
  const child = spawn(process.execPath, [main], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
  if (child.pid === undefined) throw new Error('Could not start the process that cleans up after this one.');
  // Neither the child nor its pipe keeps this process running.
  child.unref();
  if ('unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref();
  child.stdin.on('error', () => undefined);
  return { pid: child.pid, input: child.stdin };
}

function order(message: ReaperOrder): void {
  reaper ??= startReaper();
  reaper.input.write(`${JSON.stringify(message)}\n`);
}

/** Stops the process group of `pid` with `signal` (SIGKILL 10 s later) once this process is gone. */
export const watchChild = (pid: number, signal: StopSignal): void => order({ op: 'watch', pid, signal });
export const forgetChild = (pid: number): void => order({ op: 'forget', pid });
/** Removes a temporary directory once this process and its children are gone. */
export const removeAtEnd = (dir: string): void => order({ op: 'remove', dir });
/** Runs until everything of this process is cleaned up: its pid tells others whether that is done. */
export const reaperPid = (): number => (reaper ??= startReaper()).pid;
