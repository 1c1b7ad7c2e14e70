/** The network between processes and stores, and wake-ups that come twice, late, or for nothing. */
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@signalbox/local';
import {
  type Activation,
  connect,
  disconnect,
  openActivationQueue,
  openPartition,
  runKey,
  wakeRun,
} from '@signalbox/run-state';
import { between, choose, type Fault, type Injected } from '../fault.ts';
import type { Member } from '../fleet.ts';
import { LEASE_MS, type World } from '../world.ts';

const some = (random: () => number, members: readonly Member[], count: number): Member[] =>
  members.toSorted(() => random() - 0.5).slice(0, count);

export const netCut: Fault = {
  name: 'net-cut',
  lane: 'network',
  inject: async ({ fleet }, random): Promise<Injected> => {
    const links = some(random, fleet.members, 4).flatMap(({ redis, postgres }) => [redis, postgres]);
    const before = links.map(({ counts }) => counts.connections);
    const cut = links.reduce((sum, link) => sum + link.cut(), 0);
    const returned = (): number =>
      links.reduce((sum, { counts }, n) => sum + counts.connections - (before[n] ?? 0), 0);
    return Promise.resolve({
      holdMs: 0,
      heal: () => Promise.resolve(),
      exercised: async () => {
        await waitFor(() => (returned() > 0 ? true : undefined), { what: 'reconnections', timeoutMs: 5000 });
        return cut === 0 ? null : `${cut} connections reset, ${returned()} opened again`;
      },
    });
  },
};

const RESEND_MS = 4000;

export const netSwallow: Fault = {
  name: 'net-swallow',
  lane: 'network',
  inject: async ({ fleet }, random): Promise<Injected> => {
    // All workers and one api: whoever has a commit under way loses its reply.
    const links = [...fleet.of('worker'), choose(random, fleet.of('api'))].map(({ redis }) => redis);
    const total = (name: 'swallowedBytes' | 'resent'): number =>
      links.reduce((sum, { counts }) => sum + counts[name], 0);
    const [swallowed, resent] = [total('swallowedBytes'), total('resent')];
    for (const link of links) link.setMode({ kind: 'swallow' });
    return Promise.resolve({
      holdMs: between(random, 80, 500),
      heal: () => {
        for (const link of links) {
          link.setMode({ kind: 'pass' });
          link.cut();
        }
        return Promise.resolve();
      },
      exercised: async () => {
        const again = (): number => total('resent') - resent;
        await waitFor(() => again() || undefined, { what: 'a resend', timeoutMs: RESEND_MS }).catch(() => 0);
        const lost = total('swallowedBytes') - swallowed;
        return again() === 0 ? null : `${lost} bytes of replies lost, ${again()} commits sent again`;
      },
    });
  },
};

export const netHole: Fault = {
  name: 'net-hole',
  lane: 'network',
  inject: async ({ fleet }, random): Promise<Injected> => {
    const members = [choose(random, fleet.of('worker')), choose(random, fleet.members)];
    const links = [...new Set(members)].flatMap(({ redis, postgres }) => [redis, postgres]);
    const held = (): number => links.reduce((sum, { counts }) => sum + counts.heldBytes, 0);
    const before = held();
    for (const link of links) link.setMode({ kind: 'hole' });
    return Promise.resolve({
      holdMs: LEASE_MS * between(random, 0.5, 2.5),
      heal: () => {
        for (const link of links) link.setMode({ kind: 'pass' });
        return Promise.resolve();
      },
      exercised: () => {
        const bytes = held() - before;
        return Promise.resolve(
          bytes === 0 ? null : `${bytes} bytes of ${members[0]?.name} and others arrived late`,
        );
      },
    });
  },
};

export const netSlow: Fault = {
  name: 'net-slow',
  lane: 'network',
  inject: async ({ fleet }, random): Promise<Injected> => {
    const links = fleet.members.flatMap(({ redis, postgres }) => [redis, postgres]);
    const delayed = (): number => links.reduce((sum, { counts }) => sum + counts.delayedBytes, 0);
    const before = delayed();
    for (const link of links) link.setMode({ kind: 'slow', delayMs: 10, jitterMs: 60 });
    return Promise.resolve({
      holdMs: between(random, 800, 2000),
      heal: () => {
        for (const link of links) link.setMode({ kind: 'pass' });
        return Promise.resolve();
      },
      exercised: () => {
        const bytes = delayed() - before;
        return Promise.resolve(bytes === 0 ? null : `${bytes} bytes arrived late`);
      },
    });
  },
};

const MOST_RUNS = 30;
const LOOK_MS = 8000;

/** Of runs in any state: the current activation again, an old one, and one that is not due yet. */
const strayActivations = async ({ partition }: World, runIds: readonly string[]): Promise<Activation[]> => {
  const strays: Activation[] = [];
  for (const runId of runIds) {
    const wakeSeq = Number(await partition.redis.hget(runKey(partition, runId), 'wake_seq'));
    if (!Number.isInteger(wakeSeq) || wakeSeq < 1) continue;
    for (const wrong of [wakeSeq + 1, wakeSeq, Math.max(1, wakeSeq - 1)])
      strays.push({ runId, wakeSeq: wrong });
  }
  return strays;
};

export const wakes: Fault = {
  name: 'wakes',
  lane: 'network',
  inject: async (world, random): Promise<Injected> => {
    const { partition, redis, history } = world;
    const known = history.submissions.flatMap(({ runIds }) => [...runIds]).slice(-MOST_RUNS);
    const strays = (await strayActivations(world, known)).toSorted(() => random() - 0.5);
    const parkedNow = () => partition.redis.zrange(`${partition.root}:parked`, 0, String(MOST_RUNS));
    const parked = await waitFor(
      async () => {
        const found = await parkedNow().catch(() => []);
        return found.length > 0 ? found : undefined;
      },
      { what: 'a parked run', timeoutMs: LOOK_MS },
    ).catch(() => []);
    const connection = connect(redis.url, 'queue', { onError: () => undefined });
    const queue = openActivationQueue(openPartition(connection), connection);
    let woken = 0;
    try {
      await queue.add(strays);
      for (const runId of [...parked, ...parked]) {
        // The next one reaches no queue: a wake-up that was lost.
        const outcome = await wakeRun(partition, runId, 'timer').catch(() => null);
        if (outcome?.woken === true) woken += 1;
        await queue.add(random() < 0.7 ? (outcome?.activations ?? []) : []);
      }
      await sleep(100);
    } finally {
      await queue.close();
      await disconnect(connection);
    }
    return {
      holdMs: 0,
      heal: () => Promise.resolve(),
      exercised: () =>
        Promise.resolve(
          strays.length === 0 || woken === 0
            ? null
            : `${strays.length} false activations, ${woken} wake-ups that were early or double`,
        ),
    };
  },
};
