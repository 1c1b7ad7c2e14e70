/**
 * Owns one running service: `node services/<name>/src/main.ts`, ready when its /readyz answers 200.
 * The port is learned from the service's own log line `{"msg":"listening","port":N}`.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Child, startChild } from './child.ts';
import { LOOPBACK } from './ports.ts';
import { waitFor } from './wait.ts';

export const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

export interface ServiceOptions {
  /** For messages and the log file, e.g. `worker-1`. */
  readonly name: string;
  /** From the repository root, e.g. `services/worker/src/main.ts`. */
  readonly entry: string;
  readonly env: NodeJS.ProcessEnv;
  /** For node itself. */
  readonly flags?: readonly string[];
  /** Gets `<name>.log`. */
  readonly logDir: string;
  readonly readyTimeoutMs?: number;
}

export interface Service extends Omit<Child, 'output'> {
  /** Where it listens, e.g. `http://127.0.0.1:9464`. */
  readonly url: string;
  readonly port: number;
}

/** Only what hangs takes that long: a slow machine may start ten processes at once. */
const READY_MS = 120_000;

function listeningPort(output: string): number | undefined {
  for (const line of output.split('\n')) {
    if (!line.includes('"listening"')) continue;
    try {
      const entry = JSON.parse(line) as { msg?: unknown; port?: unknown };
      if (entry.msg === 'listening' && typeof entry.port === 'number') return entry.port;
    } catch {
      // A line still being written, or not JSON.
    }
  }
  return undefined;
}

async function answers(url: string): Promise<true | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    await response.body?.cancel();
    return response.ok ? true : undefined;
  } catch {
    return undefined;
  }
}

function assertRunning(child: Child): void {
  const exit = child.exit();
  if (exit === undefined) return;
  const how = exit.signal ?? `exit code ${exit.code}`;
  throw new Error(
    `${child.name} stopped before it was ready (${how}); see ${child.logFile}:\n${child.output().slice(-2000)}`,
  );
}

/** Resolves when the service is ready; throws with the end of its log when it stops before. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const child = await startChild({
    name: options.name,
    command: [process.execPath, ...(options.flags ?? []), join(REPOSITORY, options.entry)],
    cwd: REPOSITORY,
    env: options.env,
    logFile: join(options.logDir, `${options.name}.log`),
  });
  const timeoutMs = options.readyTimeoutMs ?? READY_MS;
  const log = `(log: ${child.logFile})`;
  try {
    const port = await waitFor(
      () => {
        const found = listeningPort(child.output());
        if (found === undefined) assertRunning(child);
        return found;
      },
      { what: `${options.name} to listen ${log}`, timeoutMs },
    );
    const url = `http://${LOOPBACK}:${port}`;
    await waitFor(
      () => {
        assertRunning(child);
        return answers(`${url}/readyz`);
      },
      { what: `${options.name} to be ready at ${url}/readyz ${log}`, timeoutMs },
    );
    return { ...child, url, port };
  } catch (error) {
    await child.kill();
    throw error;
  }
}

/** Runs a script to its end; throws with the end of its log unless it exits 0. */
export async function runToEnd(options: Omit<ServiceOptions, 'readyTimeoutMs' | 'flags'>): Promise<void> {
  const child = await startChild({
    name: options.name,
    command: [process.execPath, join(REPOSITORY, options.entry)],
    cwd: REPOSITORY,
    env: options.env,
    logFile: join(options.logDir, `${options.name}.log`),
  });
  const { code, signal } = await waitFor(() => child.exit(), {
    what: `${options.name} to end (log: ${child.logFile})`,
    timeoutMs: 120_000,
  });
  if (code === 0) return;
  throw new Error(
    `${options.name} failed (${signal ?? `exit code ${code}`}); see ${child.logFile}:\n${child.output().slice(-2000)}`,
  );
}
