/**
 * Owns one PostgreSQL server with its data directory, loopback only, password in `<dir>/password`.
 * States: running <-> stopped (same data, same port).
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Child, startChild } from './child.ts';
import { createDatabase, type CreateDatabaseOptions } from './database.ts';
import { isAlive } from './pids.ts';
import { freePort, LOOPBACK } from './ports.ts';
import { commandAs, postgresAccount, postgresBinaries } from './postgres-binaries.ts';
import { waitFor } from './wait.ts';

const READY_MS = 120_000;
const PREVIOUS_MS = 15_000;

export interface PostgresOptions {
  /** Holds the data, the password and the log; kept between starts. */
  readonly dir: string;
  /** Preferred port; the next free one if taken. */
  readonly port?: number;
  /** false: survives no power failure, but is faster; for tests. Default true. */
  readonly durable?: boolean;
}

export interface LocalPostgres {
  /** The maintenance database `postgres`. */
  readonly url: string;
  readonly port: number;
  /** fast: rolls back and closes; immediate: as in a crash, recovery at the next start. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
  /** Starts again on the same port and data after stop. */
  start(): Promise<void>;
  createDatabase(name: string, options?: CreateDatabaseOptions): Promise<string>;
}

interface Cluster {
  readonly dir: string;
  readonly data: string;
  readonly durable: boolean;
}

async function initialise({ dir, data }: Cluster): Promise<void> {
  const done = join(dir, 'initialised');
  if (existsSync(done)) return;
  rmSync(data, { recursive: true, force: true }); // what an interrupted initdb left
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const password = join(dir, 'password');
  writeFileSync(password, randomBytes(18).toString('hex'), { mode: 0o600 });
  const account = postgresAccount();
  if (account !== undefined) for (const path of [data, password]) chownSync(path, account.uid, account.gid);
  const flags = ['--username=postgres', '--auth=scram-sha-256', `--pwfile=${password}`, '--no-sync'];
  const args = [`--pgdata=${data}`, ...flags, '--encoding=UTF8', '--locale=C'];
  const [file, ...rest] = commandAs(account, postgresBinaries().initdb, args);
  await promisify(execFile)(file, rest);
  writeFileSync(done, '');
}

function statusFile(data: string): { pid: number; status: string } | undefined {
  try {
    const lines = readFileSync(join(data, 'postmaster.pid'), 'utf8').split('\n');
    return { pid: Number(lines[0]), status: lines[7]?.trim() ?? '' };
  } catch {
    return undefined;
  }
}

/** A server whose parent has just died may still be closing. */
async function previousServerGone(data: string): Promise<void> {
  await waitFor(
    () => {
      const previous = statusFile(data);
      return previous === undefined || !isAlive(previous.pid) ? true : undefined;
    },
    { what: `the PostgreSQL server that already uses ${data} to stop`, timeoutMs: PREVIOUS_MS },
  );
}

async function launch({ dir, data, durable }: Cluster, port: number): Promise<Child | 'port taken'> {
  const settings = [`listen_addresses=${LOOPBACK}`, 'unix_socket_directories=', 'max_connections=400'];
  const fast = ['fsync=off', 'full_page_writes=off', 'synchronous_commit=off'];
  const flags = [...settings, ...(durable ? [] : fast)].flatMap((setting) => ['-c', setting]);
  const child = await startChild({
    name: 'postgres',
    command: commandAs(postgresAccount(), postgresBinaries().postgres, [
      '-D',
      data,
      '-p',
      String(port),
      ...flags,
    ]),
    logFile: join(dir, 'postgres.log'),
    stopSignal: 'SIGINT',
  });
  return await waitFor(
    () => {
      if (child.exit() !== undefined) {
        if (child.output().includes('Address already in use')) return 'port taken';
        throw new Error(`PostgreSQL stopped at once; see ${child.logFile}:\n${child.output().slice(-1000)}`);
      }
      // What pg_ctl waits for.
      const current = statusFile(data);
      return current?.pid === child.pid && current.status === 'ready' ? child : undefined;
    },
    { what: `PostgreSQL on port ${port} (log: ${child.logFile})`, timeoutMs: READY_MS },
  );
}

/** Creates the data directory if needed and starts the server; resolves when it accepts connections. */
export async function startPostgres(options: PostgresOptions): Promise<LocalPostgres> {
  const cluster = { dir: options.dir, data: join(options.dir, 'data'), durable: options.durable ?? true };
  mkdirSync(cluster.dir, { recursive: true });
  await initialise(cluster);
  await previousServerGone(cluster.data);
  let port = await freePort(options.port);
  let child = await launch(cluster, port);
  while (child === 'port taken') {
    port = await freePort(port + 1);
    child = await launch(cluster, port);
  }
  let current = child;
  const password = readFileSync(join(cluster.dir, 'password'), 'utf8');
  const url = `postgres://postgres:${password}@${LOOPBACK}:${port}/postgres`;
  return {
    url,
    port,
    stop: async (mode = 'fast') =>
      void (await current.stop({ signal: mode === 'fast' ? 'SIGINT' : 'SIGQUIT', graceMs: 30_000 })),
    start: async () => {
      if (current.exit() === undefined) return;
      const next = await launch(cluster, port);
      if (next === 'port taken')
        throw new Error(`Port ${port} of PostgreSQL was taken while it was stopped.`);
      current = next;
    },
    createDatabase: (name, createOptions) => createDatabase(url, name, createOptions),
  };
}
