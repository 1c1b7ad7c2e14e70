import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { waitFor } from '@signalbox/local';
import { type Activation, consumeActivations, openActivationQueue, type Partition } from '../src/index.ts';
import { allKeys } from './inspect.ts';
import { freshPartition, openRedis } from './support.ts';

const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
});

const openQueue = async (partition: Partition) => {
  const queue = openActivationQueue(partition, await openRedis('queue'));
  closing.push(() => queue.close());
  return queue;
};

const consume = async (partition: Partition, onActivation: (activation: Activation) => Promise<void>) => {
  const consumer = consumeActivations(partition, await openRedis('queue-worker'), {
    lockMs: 30_000,
    concurrency: 4,
    onActivation,
    onError: () => undefined,
  });
  closing.push(() => consumer.close());
  return consumer;
};

const waitingJobs = (partition: Partition): Promise<number> =>
  partition.redis.llen(`${partition.root}:activations:wait`);

const until = (what: string, ask: () => Promise<boolean> | boolean) =>
  waitFor(async () => ((await ask()) ? true : undefined), { what, timeoutMs: 10_000 });

test('the same activation added twice is one job; another wakeSeq is another', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  await queue.add([]);
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  await queue.add([
    { runId: 'run_1', wakeSeq: 1 },
    { runId: 'run_1', wakeSeq: 2 },
  ]);
  assert.equal(await waitingJobs(partition), 2);
});

test('a job is delivered, and what is done leaves nothing, so that it can be added again', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  const got: Activation[] = [];
  await consume(partition, async (activation) => void got.push(activation));
  const activation = { runId: 'run_1', wakeSeq: 7 };
  for (const times of [1, 2]) {
    await queue.add([activation]);
    await until(`delivery ${times}`, () => got.length === times);
    await until(
      'the job to be gone',
      async () => (await partition.redis.exists(`${partition.root}:activations:run_1_7`)) === 0,
    );
  }
  assert.deepEqual(got, [activation, activation]);
});

test('an activation that throws is neither tried again nor kept', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  let times = 0;
  await consume(partition, async ({ runId }) => {
    if (runId !== 'run_bad') return;
    times += 1;
    throw new Error('broken');
  });
  await queue.add([{ runId: 'run_bad', wakeSeq: 1 }]);
  await until(
    'the failed job to be gone',
    async () => times > 0 && (await partition.redis.exists(`${partition.root}:activations:run_bad_1`)) === 0,
  );
  assert.equal(times, 1);
});

test('pause stops fetching but for one fetch that waits already, and what was fetched goes on', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  const gate = Promise.withResolvers<void>();
  const started: string[] = [];
  const ended: string[] = [];
  const consumer = await consume(partition, async ({ runId }) => {
    started.push(runId);
    await gate.promise;
    ended.push(runId);
  });
  await queue.add([{ runId: 'run_first', wakeSeq: 1 }]);
  await until('the first to start', () => started.length === 1);
  await consumer.pause();
  await queue.add(Array.from({ length: 5 }, (_, i) => ({ runId: `run_${i}`, wakeSeq: 1 })));
  gate.resolve();
  await until('the first to end', () => ended.includes('run_first'));
  await until(
    'the first to leave the queue',
    async () => (await partition.redis.exists(`${partition.root}:activations:run_first_1`)) === 0,
  );
  await until('all that started to end', () => started.length === ended.length);
  assert.ok((await waitingJobs(partition)) >= 4, started.join());
});

test('every key of the queue carries the partition’s hash tag (design §7)', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  const keys = (await allKeys(partition)).filter((key) => key.includes('activations'));
  assert.ok(keys.length >= 3, keys.join());
  assert.ok(keys.every((key) => key.startsWith(`${partition.root}:`) && partition.root.endsWith('{p0}')));
});
