/**
 * BullMQ with the same number of jobs, producer and worker in one process. `raw`: nothing else, a run is an empty job.
 * `floor`: each step also writes its answer with one XADD and keeps its place with one EVALSHA, pipelined: less no
 * durable design on this queue can do.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Job, Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { offer } from '../offer.ts';
import { serveProgram } from '../program.ts';
import type { ProgramSettings } from '../subjects/program.ts';
import { MODEL_BYTES, prose, type Shape, TOOL_BYTES } from '../work.ts';

interface BullmqSettings extends ProgramSettings {
  readonly style: 'raw' | 'floor';
}

const STREAM = 'bench:steps';
/** Somebody reads the stream; here it is only kept short. */
const STREAM_LENGTH = 10_000;

/** KEYS[1] run; ARGV[1] epoch, ARGV[2] step, ARGV[3] '1' at the last. Returns the step, -1 for another epoch. */
const STEP = `
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and epoch ~= ARGV[1] then return -1 end
if ARGV[3] == '1' then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'step', ARGV[2]) end
return tonumber(ARGV[2])`;

const recorder = async (redis: Redis, shape: Shape): Promise<(runId: string) => Promise<void>> => {
  const sha = String(await redis.script('LOAD', STEP));
  const answers = Array.from({ length: shape.steps }, (_, n) => prose(MODEL_BYTES, n));
  const results = Array.from({ length: shape.steps }, (_, n) => prose(TOOL_BYTES, n));
  const record = (runId: string, step: number, text: string): Promise<unknown> =>
    Promise.all([
      redis.evalsha(sha, 1, `bench:run:${runId}`, '1', String(step), step === 2 * shape.steps ? '1' : '0'),
      redis.xadd(STREAM, 'MAXLEN', '~', STREAM_LENGTH, '*', 'run', runId, 'step', step, 'text', text),
    ]);
  return async (runId) => {
    for (let n = 0; n < shape.steps; n += 1) {
      if (shape.latencyMs > 0) await sleep(shape.latencyMs);
      await record(runId, 2 * n + 1, answers[n] ?? '');
      await record(runId, 2 * n + 2, results[n] ?? '');
    }
  };
};

const waiter =
  ({ steps, latencyMs }: Shape) =>
  async (): Promise<void> => {
    if (latencyMs > 0) await sleep(steps * latencyMs);
  };

serveProgram<BullmqSettings>(async ({ load, settings }) => {
  const connection = new Redis(settings.url, { maxRetriesPerRequest: null, enableAutoPipelining: true });
  const steps = settings.style === 'floor' ? await recorder(connection, load.shape) : waiter(load.shape);
  const ended = new Map<string, () => void>();
  const process = async (job: Job): Promise<void> => {
    await steps(String(job.id));
  };
  const queue = new Queue('bench', { connection });
  const worker = new Worker('bench', process, {
    connection,
    concurrency: load.inFlight,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  });
  worker.on('completed', ({ id }) => ended.get(String(id))?.());
  const prefix = Date.now().toString(36);
  const outcome = await offer(load, async (n) => {
    const jobId = `${prefix}-${n}`;
    const end = new Promise<void>((resolve) => ended.set(jobId, resolve));
    await queue.add('run', { n }, { jobId });
    await end;
    ended.delete(jobId);
  });
  await worker.close();
  await queue.close();
  connection.disconnect();
  return outcome;
});
