/**
 * Must show 4: the memory of Redis stays under its limit through an outage of Postgres of any length, and every
 * accepted run ends afterwards (R9). The hours are made short by a small maxmemory: what counts is that all of it
 * that may be filled is filled, and that then nothing grows any more, however long clients keep asking.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { SignalboxError } from '@signalbox/contracts';
import { waitFor, until } from '@signalbox/local';
import {
  demandOf,
  keepSubmitting,
  logged,
  parkedByPressure,
  readMemory,
  setMaxMemory,
  storedStatuses,
  type Submitted,
  talk,
  watch,
} from './pressure-world.ts';
import { allFrames, frames } from './sse-reader.ts';
import { FULL, providerRequests, startSystem, violations } from './stack.ts';

const MB = 1024 * 1024;
const MAX_MEMORY = FULL ? 128 * MB : 24 * MB;
/** How long nothing may grow after all has come to rest. */
const REST_MS = FULL ? 60_000 : 2000;
const TIMEOUT_MS = FULL ? 900_000 : 150_000;

/** Runs are in the middle, with most of their answers before them, when the first level is reached. */
const OPEN_CALLS = FULL ? 4 : 2;
const levelOne = Promise.withResolvers<void>();

const system = await startSystem({
  ownPostgres: true,
  leaseSeconds: 30,
  env: { WORKER_CONCURRENCY: FULL ? '150' : '30' },
  provider: {
    behave: talk({
      calls: FULL ? 10 : 8,
      answerBytes: FULL ? 16_000 : 10_000,
      pause: (call) => (call < OPEN_CALLS ? sleep(20) : levelOne.promise),
    }),
  },
});
/** Clients and lookers. Whatever becomes of the test: they would keep the system, and this process, at work. */
const [watching, submitting] = [new AbortController(), new AbortController()];
after(async () => {
  for (const each of [watching, submitting]) each.abort();
  await system.stop();
});

/** Nothing runs: what was accepted is parked, or waits for its start. */
const atRest = async (): Promise<true | undefined> => {
  const { active, pressureLevel } = await demandOf(system);
  if (pressureLevel >= 1) levelOne.resolve();
  return active === 0 && pressureLevel >= 2 && (await parkedByPressure(system)) > 0 ? true : undefined;
};

/** A look that a busy machine answers too late says nothing. */
const soonAtRest = (): Promise<true | undefined> =>
  atRest().catch((error: unknown) => {
    if (error instanceof SignalboxError && error.code === 'state_unavailable') return undefined;
    throw error;
  });

/** What is no new work is served all the while. Returns the run it stopped. */
const assertServed = async (): Promise<string> => {
  const ready = await system.api.request('/readyz');
  assert.deepEqual([ready.status, ready.json['status']], [200, 'degraded'], 'only because of Postgres');
  const scale = await system.api.request('/v1/autoscale');
  assert.deepEqual([scale.status, scale.json['runnable']], [200, 0], 'more workers would not help');
  const { redis, root } = system.partition;
  const [parkedId = ''] = await redis.zrange(`${root}:pressured`, 0, '0');
  const parked = await system.api.run(parkedId);
  assert.deepEqual([parked.status, parked.waiting_for], ['waiting', 'capacity']);
  const park = (await system.api.events(parkedId)).at(-1);
  assert.deepEqual(park?.data, { reason: 'capacity', until: null, cause: 'audit_backlog' });
  for await (const { event } of frames(system.api, { runId: parkedId })) {
    assert.equal(event, 'run.submitted');
    break;
  }
  const aborted = await system.api.request(`/v1/runs/${parkedId}/abort`, { method: 'POST' });
  assert.ok(aborted.status < 300, JSON.stringify(aborted.json));
  assert.equal((await system.api.end(parkedId)).status, 'aborted');
  assert.equal((await allFrames(system.api, { runId: parkedId })).at(-2)?.event, 'run.aborted');
  return parkedId;
};

const allStored = (submitted: Submitted) =>
  waitFor(
    async () => {
      const statuses = await storedStatuses(system);
      const ended = [...submitted.accepted.values()].every((id) =>
        ['succeeded', 'failed', 'aborted'].includes(statuses.get(id) ?? ''),
      );
      return ended && (await demandOf(system)).auditBacklog === 0 ? statuses : undefined;
    },
    { what: 'all accepted runs to end', timeoutMs: TIMEOUT_MS, everyMs: 250 },
  );

test(`Postgres away with ${MAX_MEMORY / MB} MB of Redis: it is never full, and every accepted run ends`, async () => {
  await setMaxMemory(system, MAX_MEMORY);
  const { seen, done: watched } = watch(system, watching.signal);
  await system.postgres?.stop('immediate');
  const clients = { clients: 4, pauseMs: 20, stop: submitting.signal };
  const { submitted, done: clientsDone } = keepSubmitting(system, clients);

  await waitFor(soonAtRest, { what: 'all to park', timeoutMs: TIMEOUT_MS }).catch(async (error: unknown) => {
    const found = [await demandOf(system), await readMemory(system), submitted];
    throw new Error(`what was found: ${inspect(found)}`, { cause: error });
  });
  const [before, refusedBefore] = [await readMemory(system), submitted.refused];
  await sleep(REST_MS);
  const [rest, refusedAfter] = [await readMemory(system), submitted.refused];
  assert.ok(refusedAfter > refusedBefore, 'clients went on asking');
  assert.ok(rest.used < before.used + MB, `at rest memory grew from ${before.used} to ${rest.used}`);
  assert.ok(await atRest());
  const stopped = await assertServed();

  submitting.abort();
  await clientsDone;
  await system.postgres?.start();
  const startedAt = performance.now();
  const statuses = await allStored(submitted);
  const drainSeconds = (performance.now() - startedAt) / 1000;
  // Ended runs are soon forgotten when memory is short.
  await until('memory to be free again', async () => (await demandOf(system)).pressureLevel === 0);
  watching.abort();
  await watched;

  assert.deepEqual(submitted.strange, []);
  const ends = Array.from(submitted.accepted.values(), (id) => statuses.get(id));
  const others = [...submitted.accepted.values()].filter((id) => id !== stopped);
  assert.deepEqual(
    others.filter((id) => statuses.get(id) !== 'succeeded'),
    [],
  );
  assert.equal(ends.length - others.length, 1);
  const levels = [...seen.levels].toSorted((a, b) => a - b);
  assert.deepEqual(levels.slice(0, 3), [0, 1, 2]);
  assert.ok(seen.mostShare < 1, `${seen.mostShare} of maxmemory`);
  assert.deepEqual(await logged(system, /OOM/), []);
  // No completed call is missing or was made again; a busy machine may lose an open one, which is announced anew.
  const requests = providerRequests(system.provider, submitted.accepted);
  assert.deepEqual(await violations(system, requests, { crashes: true }), []);
  process.stdout.write(
    `levels ${levels.join(' ')}; at most ${(seen.mostShare * 100).toFixed(1)} % of memory in ${seen.looks} looks; ` +
      `${submitted.accepted.size} accepted, ${submitted.refused} refused, ${seen.mostParked} parked at once; ` +
      `all ended ${drainSeconds.toFixed(1)} s after Postgres was back\n`,
  );
});
