import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { waitFor } from '@signalbox/local';
import {
  type Activation,
  type ActivationEnd,
  claimRun,
  consumeActivations,
  openActivationQueue,
  type Partition,
} from '../src/index.ts';
import { allKeys } from './inspect.ts';
import { freshPartition, lease, openRedis, submit } from './support.ts';

const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
});

const openQueue = async (partition: Partition) => {
  const queue = openActivationQueue(partition, await openRedis('queue'));
  closing.push(() => queue.close());
  return queue;
};

const consume = async (
  partition: Partition,
  onActivation: (activation: Activation) => Promise<ActivationEnd | void>,
  { lockMs = 30_000 } = {},
) => {
  const consumer = consumeActivations(partition, await openRedis('queue-worker'), {
    lockMs,
    slots: 4,
    onActivation: async (activation) => (await onActivation(activation)) ?? 'done',
    onError: () => undefined,
  });
  closing.push(() => consumer.close());
  return consumer;
};

const waitingJobs = (partition: Partition): Promise<number> =>
  partition.redis.llen(`${partition.root}:activations:wait`);

const until = (what: string, ask: () => Promise<boolean> | boolean) =>
  waitFor(async () => ((await ask()) ? true : undefined), { what, timeoutMs: 60_000 });

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

test('a job that lies in no list is added again, and one that does keeps its place', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  const list = `${partition.root}:activations:wait`;
  const again = ['run_1', 'run_2', 'run_3'].map((runId) => ({ runId, wakeSeq: 1, again: true }) as const);
  await queue.add(again.slice(0, 2));
  await partition.redis.lrem(list, 1, 'run_1_1');
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  assert.equal(await waitingJobs(partition), 1, 'its id is known');
  await queue.add(again);
  assert.deepEqual(await partition.redis.lrange(list, 0, -1), ['run_3_1', 'run_1_1', 'run_2_1']);
});

test('a queue that is closed has added what it was asked to add', async () => {
  const partition = await freshPartition();
  const queue = openActivationQueue(partition, await openRedis('queue'));
  const adding = Array.from({ length: 20 }, (_, n) => queue.add([{ runId: `run_${n}`, wakeSeq: 1 }]));
  await queue.close();
  await Promise.all(adding);
  assert.equal(await waitingJobs(partition), 20);
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

const jobKey = (partition: Partition, id: string): string => `${partition.root}:activations:${id}`;

test('a job that stalled often, and stalls once more, is delivered, not failed', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  // As a worker leaves it that dies: taken, and its lock ran out.
  await partition.redis.lmove(
    `${partition.root}:activations:wait`,
    `${partition.root}:activations:active`,
    'RIGHT',
    'LEFT',
  );
  await partition.redis.hset(jobKey(partition, 'run_1_1'), 'stc', 50, 'ats', 50);
  const got: Activation[] = [];
  await consume(partition, async (activation) => void got.push(activation), { lockMs: 1000 });
  await until('its delivery', () => got.length > 0);
  assert.deepEqual(got, [{ runId: 'run_1', wakeSeq: 1 }]);
  await until(
    'the job to be gone, and not among the failed',
    async () => (await partition.redis.exists(jobKey(partition, 'run_1_1'))) === 0,
  );
});

test('a job whose lock is lost comes twice, but the run is claimed once: the epoch fences, not the lock', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const queue = await openQueue(partition);
  const gate = Promise.withResolvers<void>();
  const outcomes: string[] = [];
  const work = async (activation: Activation): Promise<void> => {
    const leaseId = await lease(partition);
    const outcome = await claimRun(partition, { ...activation, leaseId, token: randomUUID() });
    outcomes.push(outcome.type === 'refused' ? outcome.why : outcome.type);
    if (outcome.type === 'claimed') await gate.promise;
  };
  const first = await openRedis('queue-worker');
  const options = { slots: 1, lockMs: 1000, onError: () => undefined };
  const frozen = consumeActivations(partition, first, {
    ...options,
    onActivation: async (activation) => {
      // Nothing reaches Redis any more from here, and the lock with it.
      first.disconnect();
      await work(activation);
      return 'done';
    },
  });
  closing.push(() => frozen.close());
  await queue.add([{ runId, wakeSeq: 1 }]);
  await until('the run to be claimed', () => outcomes.length === 1);
  await consume(partition, work, { lockMs: 1000 });
  await until('the second delivery', () => outcomes.length === 2);
  assert.deepEqual(outcomes, ['claimed', 'LEASED']);
  gate.resolve();
});

test('that BullMQ lost the lock of a job at work is no trouble of the queue', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  const gate = Promise.withResolvers<void>();
  const told: string[] = [];
  let delivered = 0;
  const consumer = consumeActivations(partition, await openRedis('queue-worker'), {
    slots: 2,
    lockMs: 1000,
    onError: ({ message }) => void told.push(message),
    onActivation: async () => {
      delivered += 1;
      const [lock] = await partition.redis.keys(`${partition.root}:activations:*:lock`);
      if (delivered === 1 && lock !== undefined) await partition.redis.del(lock);
      await gate.promise;
      return 'done';
    },
  });
  closing.push(() => consumer.close());
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  await until('the second delivery', () => delivered === 2);
  gate.resolve();
  await consumer.close();
  assert.deepEqual(told, []);
});

test('what is given back goes to another consumer, and leaves nothing behind', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  const got: string[] = [];
  const leaving = await consume(partition, async () => {
    got.push('leaving');
    await leaving.pause();
    return 'give_back';
  });
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  await until('it to be given back', async () => got.length === 1 && (await queue.waiting()) === 1);
  await leaving.close();
  await consume(partition, async () => void got.push('staying'));
  await until('it to be taken', () => got.length === 2);
  assert.deepEqual(got, ['leaving', 'staying']);
  await until(
    'the job to be gone',
    async () => (await partition.redis.exists(jobKey(partition, 'run_1_1'))) === 0,
  );
});

test('what waits is counted, unless somebody paused the queue', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  assert.equal(await queue.waiting(), 0);
  await queue.add([1, 2].map((wakeSeq) => ({ runId: 'run_1', wakeSeq })));
  assert.equal(await queue.waiting(), 2);
  await partition.redis.hset(`${partition.root}:activations:meta`, 'paused', 1);
  assert.equal(await queue.waiting(), 0);
});

test('every key of the queue carries the partition’s hash tag', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  const keys = (await allKeys(partition)).filter((key) => key.includes('activations'));
  assert.ok(keys.length >= 3, keys.join());
  assert.ok(keys.every((key) => key.startsWith(`${partition.root}:`) && partition.root.endsWith('{p0}')));
});

test('a consumer that offers fewer slots works on fewer at once, and on more when it offers them again', async () => {
  const partition = await freshPartition();
  const queue = await openQueue(partition);
  const gates: (() => void)[] = [];
  let most = 0;
  let active = 0;
  const consumer = await consume(partition, async () => {
    most = Math.max(most, (active += 1));
    await new Promise<void>((resolve) => gates.push(resolve));
    active -= 1;
  });
  consumer.offer(1);
  await queue.add(Array.from({ length: 8 }, (_, n) => ({ runId: `run_${n}`, wakeSeq: 1 })));
  const next = async (): Promise<void> => {
    await until('one to be taken', () => gates.length > 0);
    gates.shift()?.();
  };
  for (let n = 0; n < 4; n += 1) await next();
  assert.equal(most, 1);
  consumer.offer(4);
  await next();
  await until('three at once', () => active === 3);
  for (let n = 0; n < 3; n += 1) await next();
});
