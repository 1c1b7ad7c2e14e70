/**
 * Owns one redis-server process with its data directory: append-only file, fsync every second, never evicts
 * (run state is not a cache), loopback only.
 */
import { mkdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Child, startChild } from './child.ts';
import { freePort, LOOPBACK } from './ports.ts';
import { waitFor } from './wait.ts';

const READY_MS = 120_000;

export interface RedisOptions {
  /** Holds the data and the log; kept between starts. */
  readonly dir: string;
  /** Preferred port; the next free one if taken. */
  readonly port?: number;
  /**
   * Default everysec: while an fsync is under way a write waits for it up to 2 s, also past its reply, so on a slow
   * disk SIGKILL loses what was acknowledged. `no`: written before the reply and never fsynced, which a kill of
   * the process survives and a power failure does not. For tests that kill Redis and look for what it had.
   */
  readonly fsync?: 'everysec' | 'no';
}

export interface LocalRedis {
  readonly url: string;
  readonly port: number;
  /** Saves and stops. */
  stop(): Promise<void>;
  /** SIGKILL, as in a crash. */
  kill(): Promise<void>;
  /** Starts again on the same port and data after stop or kill. */
  start(): Promise<void>;
}

function ping(port: number): Promise<true | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: LOOPBACK });
    const answer = (value: true | undefined): void => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(1000, () => answer(undefined));
    socket.once('error', () => answer(undefined));
    socket.once('connect', () => socket.write('PING\r\n'));
    // -LOADING while it reads its data back.
    socket.once('data', (data) => answer(data.toString().startsWith('+PONG') ? true : undefined));
  });
}

async function launch(options: RedisOptions, port: number): Promise<Child | 'port taken'> {
  const { dir, fsync = 'everysec' } = options;
  const settings = ['--bind', LOOPBACK, '--port', String(port), '--dir', dir, '--save', ''];
  const durable = ['--appendonly', 'yes', '--appendfsync', fsync, '--maxmemory-policy', 'noeviction'];
  // Sealed contents do not compress, and rewriting the append-only file would spend a core on trying.
  const rewrites = ['--rdbcompression', 'no', '--auto-aof-rewrite-min-size', '256mb'];
  const child = await startChild({
    name: 'redis-server',
    command: ['redis-server', ...settings, ...durable, ...rewrites],
    logFile: join(dir, 'redis.log'),
  });
  return await waitFor(
    async () => {
      if (child.exit() !== undefined) {
        if (child.output().includes('Address already in use')) return 'port taken';
        throw new Error(
          `redis-server stopped at once; see ${child.logFile}:\n${child.output().slice(-1000)}`,
        );
      }
      return (await ping(port)) && child;
    },
    { what: `redis-server on port ${port} (log: ${child.logFile})`, timeoutMs: READY_MS },
  );
}

/** Throws when there is no redis-server on the PATH or it does not come up. */
export async function startRedis(options: RedisOptions): Promise<LocalRedis> {
  mkdirSync(options.dir, { recursive: true });
  let port = await freePort(options.port);
  let child = await launch(options, port);
  while (child === 'port taken') {
    port = await freePort(port + 1);
    child = await launch(options, port);
  }
  let current = child;
  return {
    url: `redis://${LOOPBACK}:${port}`,
    port,
    stop: async () => void (await current.stop()),
    kill: async () => void (await current.kill()),
    start: async () => {
      if (current.exit() === undefined) return;
      const next = await launch(options, port);
      if (next === 'port taken')
        throw new Error(`Port ${port} of redis-server was taken while it was stopped.`);
      current = next;
    },
  };
}
