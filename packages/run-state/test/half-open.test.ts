/** Connections whose other end is gone without a word: they are given up and made anew, and nobody has to restart. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { testRedisUrl, until } from '@signalbox/local';
import { consumeActivations, openActivationQueue } from '../src/index.ts';
import { freshPartition, openRedis } from './support.ts';
import { startProxy } from './tcp-proxy.ts';

const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing.toReversed()) await close();
});

const proxied = async () => {
  const url = new URL(await testRedisUrl());
  const proxy = await startProxy({ host: url.hostname, port: Number(url.port) });
  closing.push(() => proxy.close());
  return proxy;
};

describe('a half-open connection', { concurrency: true }, () => {
  for (const role of ['state', 'queue'] as const) {
    test(`of ${role} answers again without a restart`, async () => {
      const proxy = await proxied();
      const redis = await openRedis(role, proxy.url);
      await redis.ping();
      proxy.freeze();
      await assert.rejects(redis.ping());
      await until('it to answer', async () => (await redis.ping().catch(() => null)) === 'PONG');
    });
  }

  test('of a consumer of the queue fetches again without a restart', async () => {
    const proxy = await proxied();
    const partition = await freshPartition();
    const queue = openActivationQueue(partition, await openRedis('queue'));
    closing.push(() => queue.close());
    const got: string[] = [];
    const consumer = consumeActivations(partition, await openRedis('queue-worker', proxy.url), {
      lockMs: 30_000,
      slots: 2,
      onActivation: async ({ runId }) => {
        got.push(runId);
        return 'done';
      },
      onError: () => undefined,
    });
    closing.push(() => consumer.close());
    await queue.add([{ runId: 'run_before', wakeSeq: 1 }]);
    await until('it to fetch', () => got.includes('run_before'));
    proxy.freeze();
    await queue.add([{ runId: 'run_after', wakeSeq: 1 }]);
    await until('it to fetch over a new connection', () => got.includes('run_after'));
  });
});
