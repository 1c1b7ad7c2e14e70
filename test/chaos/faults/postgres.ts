/** Postgres dies, stays away, or comes back with less. */
import { execFile } from 'node:child_process';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { waitFor } from '@signalbox/local';
import { between, type Fault, type Injected } from '../fault.ts';
import type { World } from '../world.ts';
import { incarnationOf, verified, VERIFY_MS } from './redis.ts';

const storedEvents = async ({ db }: World): Promise<number> => {
  const count = db.selectFrom('audit_events').select(({ fn }) => fn.countAll<string>().as('n'));
  return Number((await count.executeTakeFirstOrThrow()).n);
};

/** Ms from the healing to the first rows that are stored again. */
const untilStored = (world: World, healedAt: () => number) => async (): Promise<number | null> => {
  const known = await waitFor(() => storedEvents(world).catch(() => undefined), {
    what: 'Postgres to answer',
    timeoutMs: VERIFY_MS,
  });
  await waitFor(async () => ((await storedEvents(world)) > known ? true : undefined), {
    what: 'events to be stored again',
    timeoutMs: VERIFY_MS,
  });
  return performance.now() - healedAt();
};

const backlogOf = ({ partition: { redis, root } }: World): Promise<number> =>
  redis.xlen(`${root}:audit`).catch(() => 0);

export const postgresDown: Fault = {
  name: 'postgres-down',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    await world.postgres.stop('immediate');
    let [backlog, healedAt] = [0, 0];
    return {
      holdMs: between(random, 1000, 2500),
      heal: async () => {
        backlog = await backlogOf(world);
        await world.postgres.start();
        healedAt = performance.now();
      },
      recovered: untilStored(world, () => healedAt),
      exercised: () => Promise.resolve(backlog === 0 ? null : `${backlog} commits waited to be stored`),
    };
  },
};

const AWAY_MS = 15_000;

/** Hours, with an hour's backlog made small: it stays away until new runs are refused, and a while longer (R9). */
export const postgresAway: Fault = {
  name: 'postgres-away',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    const refusals = (): number =>
      world.history.submissions.flatMap((one) => one.refusals).filter((code) => code === 'audit_backlog')
        .length;
    const before = refusals();
    await world.postgres.stop('immediate');
    await waitFor(() => (refusals() > before ? true : undefined), {
      what: 'the backlog to be full',
      timeoutMs: AWAY_MS,
    }).catch(() => undefined);
    let healedAt = 0;
    return {
      holdMs: between(random, 1000, 3000),
      heal: async () => {
        await world.postgres.start();
        healedAt = performance.now();
      },
      recovered: untilStored(world, () => healedAt),
      exercised: () => {
        const refused = refusals() - before;
        return Promise.resolve(refused === 0 ? null : `the backlog was full: ${refused} submissions refused`);
      },
    };
  },
};

const storedBatches = async ({ partition: { redis, root } }: World): Promise<number> =>
  Number(await redis.hget(`${root}:trust`, 'batches').catch(() => 0));

const untilMoreStored = (world: World, than: number): Promise<number> =>
  waitFor(
    async () => {
      const now = await storedBatches(world);
      return now > than ? now : undefined;
    },
    { what: 'batches to be stored', timeoutMs: VERIFY_MS },
  );

/** As after a failover to a replica that was behind: what was committed and acknowledged meanwhile is gone. */
export const postgresOlder: Fault = {
  name: 'postgres-older',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    const before = await verified(world);
    const data = join(world.dir, 'postgres', 'data');
    const copy = `${data}-older`;
    await untilMoreStored(world, await storedBatches(world));
    await world.postgres.stop('fast');
    // Not cp of Node: the server refuses data that another account owns.
    await promisify(execFile)('cp', ['-a', data, copy]);
    const copied = await storedBatches(world);
    await world.postgres.start();
    await untilMoreStored(world, copied);
    await sleep(between(random, 500, 2000));
    const lost = (await storedBatches(world)) - copied;
    await world.postgres.stop('immediate');
    await rm(data, { recursive: true });
    await rename(copy, data);
    let healedAt = 0;
    // Until the first batch, or look, run state is trusted as it was.
    const verifiedAgain = (): Promise<number> =>
      waitFor(
        async () => {
          const now = await incarnationOf(world);
          return now !== null && now > before ? now : undefined;
        },
        { what: 'run state to be verified again', timeoutMs: 2 * VERIFY_MS },
      );
    let incarnation = before;
    return {
      holdMs: between(random, 100, 500),
      heal: async () => {
        await world.postgres.start();
        healedAt = performance.now();
      },
      recovered: async () => {
        incarnation = await verifiedAgain();
        return untilStored(world, () => healedAt)();
      },
      exercised: () =>
        Promise.resolve(
          `${lost} batches that were acknowledged were gone; verified again, incarnation ${before} to ${incarnation}`,
        ),
    };
  },
};
