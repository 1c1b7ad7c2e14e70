/** Two real servers: what a replica took over is not what was verified, whoever becomes master again later. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type LocalRedis, startRedis, temporaryDir, waitFor } from '@signalbox/local';
import type { Redis } from 'ioredis';
import { openPartition, type Partition, readTrust, submitRun } from '../src/index.ts';
import { DAY } from './drafts.ts';
import { money } from './inspect.ts';
import { ask, settled } from './steps.ts';
import { cap, code, makeSubmission, openRedis, running, trust } from './support.ts';

const untrusted = code('state_untrusted');

interface Server extends LocalRedis {
  readonly redis: Redis;
  readonly partition: Partition;
}

const startServer = async (): Promise<Server> => {
  const server = await startRedis({ dir: join(await temporaryDir(), 'redis'), fsync: 'no' });
  after(() => server.stop());
  const redis = await openRedis('state', server.url);
  await redis.config('SET', 'repl-diskless-sync-delay', '0');
  return { ...server, redis, partition: openPartition(redis) };
};

const follow = async (replica: Server, master: Server): Promise<void> => {
  await replica.redis.replicaof('127.0.0.1', master.port);
  await waitFor(
    async () => {
      const [mine, its] = await Promise.all([
        replica.redis.info('replication'),
        master.redis.info('replication'),
      ]);
      const at = /master_repl_offset:(\d+)/.exec(its)?.[1];
      return (
        (mine.includes('master_link_status:up') && mine.includes(`slave_repl_offset:${at}\r`)) || undefined
      );
    },
    { what: 'the replica to have all', timeoutMs: 30_000 },
  );
};

const spend = async ({ partition }: Server, nano: number): Promise<void> => {
  const owner = await running(partition);
  await ask(owner, nano);
  await settled(owner, nano);
};

const promote = (server: Server): Promise<unknown> => server.redis.replicaof('NO', 'ONE');

test('a server that is master again after two failovers is not trusted for what it held before them', async () => {
  const [a, b] = [await startServer(), await startServer()];
  await follow(b, a);
  await cap(a.partition);
  await trust(a.partition);
  const spent = async () => (await money(a.partition, `spend:tenant:acme:${DAY}`)).spent;
  await spend(a, 100);
  await follow(b, a);

  await promote(b);
  await spend(a, 800);
  assert.equal(await spent(), 900);
  const submitTo = ({ partition }: Server) =>
    submitRun(partition, makeSubmission().submission, { backlogLimit: 10 });
  await assert.rejects(submitTo(b), untrusted);

  await follow(a, b);
  assert.equal(await readTrust(a.partition), null);
  await promote(a);
  assert.equal(await spent(), 100, 'rolled back without a restart');
  await assert.rejects(submitTo(a), untrusted);
  assert.equal(await readTrust(a.partition), null);

  await trust(a.partition);
  await submitTo(a);
});

test('a marker of a version that named the process only is not believed', async () => {
  const a = await startServer();
  await cap(a.partition);
  await trust(a.partition);
  await a.redis.hdel(`${a.partition.root}:trust`, 'replid');
  await assert.rejects(submitRun(a.partition, makeSubmission().submission, { backlogLimit: 10 }), untrusted);
  assert.equal(await readTrust(a.partition), null);
});
