/** Every byte that a system leaves behind, by the store it lies in. */
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Db } from '@signalbox/audit-store';
import { monitorRedis } from '../support/redis-monitor.ts';
import type { ApiClient } from './client.ts';
import type { World } from './secrets-world.ts';

export interface Piece {
  readonly where: string;
  readonly data: Buffer | string;
}

export interface Store {
  readonly name: string;
  readonly pieces: readonly Piece[];
}

const filesBelow = async (dir: string): Promise<Piece[]> => {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Promise.all(
    files.map(async (file) => ({ where: relative(dirname(dir), file), data: await readFile(file) })),
  );
};

/** What TOAST or an index could hold in another form: every value of every row, as SQL gives it. */
const tableRows = async (db: Db): Promise<Piece[]> => {
  const pieces: Piece[] = [];
  for (const { name, schema } of await db.introspection.getTables()) {
    const rows = await db
      .selectFrom(`${schema}.${name}` as 'runs')
      .selectAll()
      .execute();
    const values = rows.flatMap((row) => Object.values<unknown>(row));
    const data = values.map((value) =>
      Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
    );
    pieces.push({ where: `table ${name}, ${rows.length} rows`, data: Buffer.concat(data) });
  }
  return pieces;
};

export interface RedisTraffic {
  heard(): readonly Piece[];
  stop(): void;
}

/** Everything that any client says to Redis from here on. */
export const listenToRedis = async (url: string): Promise<RedisTraffic> => {
  const pieces: Piece[] = [];
  const monitor = await monitorRedis(url, (args) => {
    pieces.push({ where: `command ${args[0]}`, data: args.join(' ') });
  });
  return {
    heard: () => pieces,
    stop: () => monitor.close(),
  };
};

/** With LZF a text could lie in the dump in pieces. */
export const dumpUncompressed = async (world: World): Promise<void> => {
  const { redis } = world.system.partition;
  await redis.config('SET', 'rdbcompression', 'no');
};

/** Not the runs and agents themselves: input, output and spec are part of what these answer. */
const PAGES = [
  '/v1/audit?limit=1000',
  '/v1/audit/export',
  '/v1/costs?group_by=day,user_id,agent,model',
  '/v1/providers',
  '/v1/caps/tenant',
  '/v1/autoscale',
  '/openapi.json',
];

const page = async (url: string, headers: Record<string, string> = {}): Promise<Piece> => {
  const response = await fetch(url, { headers });
  const data = `${response.status} ${JSON.stringify([...response.headers])} ${await response.text()}`;
  return { where: url, data };
};

/** What a key can get that may read runs and the audit log, but not what was said. */
export const answersTo = async ({ url, key }: ApiClient, runs: readonly string[]): Promise<Piece[]> => {
  const headers = { authorization: `Bearer ${key}` };
  const pieces: Piece[] = [];
  for (const path of PAGES) pieces.push(await page(url + path, headers));
  for (const id of runs) {
    const run = `${url}/v1/runs/${id}`;
    pieces.push(await page(`${run}/events?limit=1000`, headers));
    pieces.push(await page(`${run}/events`, { ...headers, accept: 'text/event-stream' }));
    pieces.push(await page(`${run}/steps`, headers));
    pieces.push(await page(`${url}/v1/audit?run_id=${id}&limit=1000`, headers));
  }
  return pieces;
};

export const metricsPages = ({ system: { stack } }: World): Promise<Piece[]> =>
  Promise.all(
    [stack.api, stack.scheduler, stack.auditWriter, ...stack.workers].map(({ url }) =>
      page(`${url}/metrics`),
    ),
  );

/** Stops whatever writes, each after those it hears from, and reads what is left. */
export const gather = async (world: World, traffic: RedisTraffic): Promise<Store[]> => {
  const { system, otlp } = world;
  const { dir, stack, postgres, redis } = system;
  await stack.stop();
  traffic.stop();
  const rows = await tableRows(system.db);
  await system.partition.redis.save();
  await redis.stop();
  await postgres?.stop();
  const logs = [
    ...(await filesBelow(stack.logDir)),
    ...(await filesBelow(dirname(system.env['CHECKPOINT_FILE'] ?? ''))),
    { where: 'redis.log', data: await readFile(join(dir, 'redis/redis.log')) },
    { where: 'postgres.log', data: await readFile(join(dir, 'postgres/postgres.log')) },
  ];
  return [
    { name: 'Postgres, every row', pieces: rows },
    { name: 'Postgres, data files and WAL', pieces: await filesBelow(join(dir, 'postgres/data')) },
    { name: 'Redis, dump and append-only file', pieces: await filesBelow(join(dir, 'redis')) },
    { name: 'logs and checkpoint file', pieces: logs },
    { name: 'Redis, every command', pieces: traffic.heard() },
    {
      name: 'OTLP',
      pieces: otlp.received.flatMap(({ path, headers, body }) => [
        { where: path, data: body },
        { where: `headers of ${path}`, data: JSON.stringify(headers) },
      ]),
    },
  ];
};
