/**
 * Owns one child process: it leads its own process group (Ctrl-C in the terminal does not reach it, the
 * parent decides the order of stopping), writes its output to a log file, and never outlives the parent.
 * States: running -> exited. stop and kill do nothing once it has exited.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { signalGroup } from './pids.ts';
import { forgetChild, type StopSignal, watchChild } from './reaper.ts';

export interface ChildOptions {
  /** For messages. */
  readonly name: string;
  readonly command: readonly [file: string, ...args: string[]];
  readonly logFile: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Asks the process to end in good order; SIGTERM unless told. */
  readonly stopSignal?: StopSignal;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly logFile: string;
  /** Settles when the process is gone. */
  readonly exited: Promise<Exit>;
  exit(): Exit | undefined;
  /** What this process has written so far. */
  output(): string;
  /** Signals, waits; SIGKILL after `graceMs` (default 15 s). */
  stop(options?: { readonly signal?: StopSignal; readonly graceMs?: number }): Promise<Exit>;
  kill(): Promise<Exit>;
  /** SIGSTOP, SIGCONT and the like. */
  signal(signal: NodeJS.Signals): void;
}

/** Of compiled modules, by their content: a service starts in half the time. */
export const COMPILE_CACHE = fileURLToPath(new URL('../../../node_modules/.cache/compiled', import.meta.url));

function open(options: ChildOptions): { process: ChildProcess; offset: number } {
  mkdirSync(dirname(options.logFile), { recursive: true });
  const log = openSync(options.logFile, 'a');
  try {
    const offset = statSync(options.logFile).size;
    const [file, ...args] = options.command;
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', log, log],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { NODE_COMPILE_CACHE: COMPILE_CACHE, ...(options.env ?? process.env) },
    });
    return { process: child, offset };
  } finally {
    closeSync(log);
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone since we looked; `exited` tells.
  }
}

/** Its process id. */
async function spawned(child: ChildProcess, name: string): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (cause) => reject(new Error(`Could not start ${name}: ${cause.message}`, { cause })));
  });
  if (child.pid === undefined) throw new Error(`Could not start ${name}: it has no process id.`);
  return child.pid;
}

export async function startChild(options: ChildOptions): Promise<Child> {
  const { name, logFile } = options;
  const { process: child, offset } = open(options);
  let exit: Exit | undefined;
  const exited = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) => {
      exit = { code, signal };
      if (child.pid !== undefined) forgetChild(child.pid);
      resolve(exit);
    });
  });
  const pid = await spawned(child, name);
  watchChild(pid, options.stopSignal ?? 'SIGTERM');
  child.unref(); // the reaper ends it; it must not keep this process (a finished test file) running

  const ended = async (): Promise<Exit> => {
    child.ref();
    return await exited;
  };
  const kill = (): Promise<Exit> => {
    signalGroup(pid, 'SIGKILL');
    return ended();
  };
  return {
    name,
    pid,
    logFile,
    exited,
    exit: () => exit,
    output: () => readFileSync(logFile).subarray(offset).toString('utf8'),
    stop: async ({ signal = options.stopSignal ?? 'SIGTERM', graceMs = 15_000 } = {}) => {
      if (exit !== undefined) return exit;
      send(pid, signal);
      const timer = new AbortController();
      const late = sleep(graceMs, undefined, { signal: timer.signal }).catch(() => undefined);
      const done = await Promise.race([ended(), late]);
      timer.abort();
      return done ?? (await kill());
    },
    kill,
    signal: (signal) => void signalGroup(pid, signal),
  };
}
