import assert from 'node:assert/strict';
import { chainBreak } from '@signalbox/engine';
import { type Partition, readDemand, runKey } from '../src/index.ts';
import { DAY } from './drafts.ts';

/** Looks behind the scripts: what the keys of a partition say. */
export const keyOf = (partition: Partition, name: string): string => `${partition.root}:${name}`;

export const allKeys = async ({ redis, root }: Partition): Promise<string[]> => {
  const keys: string[] = [];
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${root}*`, 'COUNT', 1000);
    keys.push(...found);
    cursor = next;
  } while (cursor !== '0');
  return keys;
};

const membersOf = async ({ redis }: Partition, key: string): Promise<string[]> => {
  switch (await redis.type(key)) {
    case 'zset':
      return redis.zrange(key, '0', '-1');
    case 'set':
      return redis.smembers(key);
    case 'list':
      return redis.lrange(key, 0, -1);
    case 'hash':
      return Object.entries(await redis.hgetall(key)).flat();
    case 'string':
      return [(await redis.get(key)) ?? ''];
    default:
      return [];
  }
};

/** Nothing but the record of the run itself, its money and its audit trail may name an ended run. */
export const assertNoTraces = async (partition: Partition, runId: string): Promise<void> => {
  const own = [
    runKey(partition, runId),
    ...(['events', 'contents', 'holds'] as const).map((part) => runKey(partition, runId, part)),
  ];
  const mayName = (key: string): boolean =>
    own.includes(key) || key.startsWith(keyOf(partition, 'idem:')) || key === keyOf(partition, 'audit');
  const traces: string[] = [];
  for (const key of await allKeys(partition)) {
    if (mayName(key)) continue;
    if (key.includes(runId) || (await membersOf(partition, key)).some((m) => m.includes(runId)))
      traces.push(key);
  }
  assert.deepEqual(traces, [], `${runId} has ended but is still named`);
};

export const record = async (
  { redis, ...partition }: Partition,
  runId: string,
): Promise<Record<string, string>> => redis.hgetall(runKey({ redis, ...partition }, runId));

/** Who waits for room in the scope a parked run waits on; as if of no scope when it waits on none. */
export const waitersKey = (partition: Partition, run: Readonly<Record<string, string>>): string => {
  const { waits_on: scope, waits_day: day = '', tenant, user, root } = run;
  const month = day.slice(0, 7);
  const keys: Readonly<Record<string, string>> = {
    run: `run:${root}`,
    user_day: `spend:user:${tenant}:${day}:${user}`,
    user_month: `spend:user_month:${tenant}:${month}:${user}`,
    tenant_day: `spend:tenant:${tenant}:${day}`,
    tenant_month: `spend:tenant_month:${tenant}:${month}`,
  };
  return keyOf(partition, `waiters:${keys[scope ?? ''] ?? 'none'}`);
};

export const journal = (partition: Partition, runId: string): Promise<string[]> =>
  partition.redis.lrange(runKey(partition, runId, 'events'), 0, -1);

/** The types of a run's events in order; asserts that the chain is whole (R5). */
export const eventTypes = async (partition: Partition, runId: string): Promise<string[]> => {
  const entries = await journal(partition, runId);
  assert.equal(chainBreak(entries), null);
  return entries.map((entry) => String((JSON.parse(entry.slice(64)) as { type: unknown }).type));
};

/** All entries of a run in the order of the audit stream. */
export const auditedEntries = async ({ redis, root }: Partition, runId: string): Promise<string[]> => {
  const rows = await redis.xrange(`${root}:audit`, '-', '+');
  return rows
    .filter(([, fields]) => fields[fields.indexOf('r') + 1] === runId)
    .flatMap(([, fields]) => fields.filter((_, i) => i % 2 === 1 && fields[i - 1] === 'e'));
};

/** The scope of what the tenant `acme` spends on the day. */
export const TENANT_DAY = `spend:tenant:acme:${DAY}`;

/** Spent and held under a key of a scope, relative to the root. */
export const money = async (
  partition: Partition,
  scope: string,
): Promise<{ spent: number; held: number }> => {
  const [spent, held] = await partition.redis.hmget(keyOf(partition, scope), 'spent', 'held');
  return { spent: Number(spent ?? 0), held: Number(held ?? 0) };
};

export const levelOf = async (partition: Partition): Promise<number> =>
  (await readDemand(partition, Date.now())).pressureLevel;

/** Everything of a partition by key but how full it was found, to show that something wrote nothing. */
export const snapshot = async (partition: Partition): Promise<Record<string, unknown>> => {
  const { redis } = partition;
  const all: Record<string, unknown> = {};
  const keys = (await allKeys(partition)).filter((key) => key !== keyOf(partition, 'pressure'));
  for (const key of keys.toSorted()) {
    const type = await redis.type(key);
    if (type === 'zset') all[key] = await redis.zrange(key, '0', '-1', 'WITHSCORES');
    else if (type === 'stream') all[key] = await redis.xrange(key, '-', '+');
    else all[key] = (await membersOf(partition, key)).toSorted();
  }
  return all;
};
