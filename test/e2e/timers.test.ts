/** A run that waits for a time starts when it has come: not before, once, and whatever was restarted meanwhile. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Service, startService, temporaryDir, waitFor, until } from '@signalbox/local';
import { readTrust } from '@signalbox/run-state';
import { metric } from './failing-workers.ts';
import { settled, startSystem, violations } from './stack.ts';

const DUE_MS = 12_000;
const RUNS = 20;

const system = await startSystem({ killsRedis: true });
const schedulers: Service[] = [];
after(async () => {
  await Promise.all(schedulers.map((one) => one.stop()));
  await system.stop();
});

const startScheduler = async (): Promise<Service> => {
  const scheduler = await startService({
    name: `scheduler-${schedulers.length + 2}`,
    entry: 'services/scheduler/src/main.ts',
    env: { ...process.env, ...system.env, ENCRYPTION_KEYS: `k1:${'A'.repeat(43)}=`, METRICS_PORT: '0' },
    logDir: await temporaryDir(),
  });
  schedulers.push(scheduler);
  return scheduler;
};

const leads = (scheduler: Service): Promise<true> =>
  until(`${scheduler.name} to lead`, async () => (await metric(scheduler, 'scheduler_leader')) === 1);

const submit = async (runAt: string): Promise<string[]> =>
  Promise.all(
    Array.from({ length: RUNS }, async (_, n) => {
      const body = { agent: { model: 'mock/echo' }, input: `run ${n}`, run_at: runAt };
      return (await system.api.submit(body)).id;
    }),
  );

test('the scheduler is killed, another leads, Redis is killed and comes back: every timer fires once and not early', async () => {
  const runAt = new Date(Date.now() + DUE_MS).toISOString();
  const ids = await submit(runAt);
  const second = await startScheduler();
  await system.stack.scheduler.kill();
  await leads(second);
  await system.redis.kill();
  await system.redis.start();
  await waitFor(
    async () => ((await readTrust(system.partition).catch(() => null)) === null ? undefined : true),
    {
      what: 'run state to be verified',
      timeoutMs: 60_000,
    },
  );
  await second.kill();
  const third = await startScheduler();
  await leads(third);

  assert.deepEqual([...(await settled(system, ids))], [['succeeded', RUNS]]);
  for (const id of ids) {
    const events = await system.api.events(id);
    assert.deepEqual(events.map(({ type }) => type).slice(0, 3), [
      'run.submitted',
      'run.claimed',
      'run.woken',
    ]);
    assert.equal(events.filter(({ type }) => type === 'run.claimed').length, 1);
    assert.ok((events[1]?.ts ?? '') >= runAt, `${id} started at ${events[1]?.ts}, before ${runAt}`);
  }
  assert.deepEqual(await violations(system), []);
});
