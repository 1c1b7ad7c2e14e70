/**
 * R8 at its narrowest: the writer dies after its Postgres transaction committed and before the stream knows. The next
 * one gets the same batch again, and nothing of it is doubled, lost, or kept in Redis for ever.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { withVerificationLock } from '@signalbox/audit-store';
import { waitFor } from '@signalbox/local';
import { runKey } from '@signalbox/run-state';
import { check, gatherEvidence } from '../support/checker.ts';
import { EVENTS_PER_MIX, isDrained, load, logged, pending, startAuditWorld, totalOf } from './audit-world.ts';

const EVENTS = 4 * EVENTS_PER_MIX;

const world = await startAuditWorld();
/** Ends the transaction that holds the writer's up. */
const free = Promise.withResolvers<void>();
after(async () => {
  free.resolve();
  await world.stop();
});

const until = (what: string, condition: () => Promise<boolean> | boolean): Promise<true> =>
  waitFor(async () => ((await condition()) ? true : undefined), { what, timeoutMs: 60_000, everyMs: 5 });

const countEvents = async (): Promise<number> => {
  const row = await world.db
    .selectFrom('audit_events')
    .select(({ fn }) => fn.countAll<number>().as('n'))
    .executeTakeFirstOrThrow();
  return row.n;
};

test('killed between COMMIT and XACK: stored once, acknowledged by the next one', async () => {
  const { db, partition } = world;
  const { redis } = partition;
  // The writer's transaction waits for this lock with a batch in hand ...
  const locked = Promise.withResolvers<void>();
  const lock = withVerificationLock(db, partition.index, async () => {
    locked.resolve();
    await free.promise;
  });
  await locked.promise;
  await load(world, EVENTS);
  const victim = await world.startWriter();
  await until('a batch to be in hand', async () => (await pending(world)) > 0);
  // ... and when it goes on and commits, Redis takes no writes, so the acknowledgement cannot arrive.
  await redis.client('PAUSE', 600_000, 'WRITE');
  free.resolve();
  await lock;
  await until('its transaction to commit', async () => (await countEvents()) > 0);
  await victim.kill();
  await redis.client('UNPAUSE');
  const [stored, left] = [await countEvents(), await pending(world)];
  assert.ok(left > 0, 'it was acknowledged before it died');
  // Its first batch: a writer begins with a small one.
  assert.ok(stored > 0 && stored <= EVENTS, `${stored} stored`);

  const next = await world.startWriter();
  await until('the next one to acknowledge it', () => isDrained(world));
  assert.equal(await pending(world), 0);
  assert.deepEqual(await next.stop(), { code: 0, signal: null });
  const evidence = await gatherEvidence(world);
  assert.equal(
    evidence.runs.reduce((sum, { rows }) => sum + rows.length, 0),
    EVENTS,
  );
  assert.deepEqual(check(evidence), []);
  assert.equal(totalOf(logged(world, 'batch stored'), 'duplicates'), stored);
  for (const { id } of evidence.runs) {
    assert.ok((await redis.ttl(runKey(partition, id))) > 0, `${id} would stay in Redis for ever`);
  }
  process.stdout.write(`killed with ${stored} events committed and ${left} commits not acknowledged\n`);
});
