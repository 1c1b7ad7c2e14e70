/** Processes die, stand still, are replaced one after the other, or have a wrong clock. */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@signalbox/local';
import { metric } from '../../e2e/failing-workers.ts';
import { FULL } from '../../e2e/stack.ts';
import { between, choose, type Fault, type Injected } from '../fault.ts';
import type { Member } from '../fleet.ts';
import { bodiesOf, type StreamEntries } from '../losses.ts';
import { type Takeover, watchTakeover } from '../takeover.ts';
import { LEASE_MS, type World } from '../world.ts';

/** From the end of the lease to the next claim: 5 s are promised, on a machine that has nothing else to do. */
const TAKEOVER_MS = FULL ? 5000 : 20_000;
const PATIENCE_MS = LEASE_MS + TAKEOVER_MS + 8000;
const LOOK_MS = 6000;

/** A worker with runs in hand, else any. */
const busyWorker = async ({ fleet }: World, random: () => number): Promise<Member> => {
  const running = (): Member[] => fleet.of('worker').filter((member) => member.service() !== null);
  const busy = async (): Promise<Member[]> => {
    const found = await Promise.all(
      running().map(async (member) => {
        const service = member.service();
        const active = service === null ? 0 : await metric(service, 'runs_active').catch(() => 0);
        return active >= 2 ? [member] : [];
      }),
    );
    return found.flat();
  };
  const found = await waitFor(async () => ((await busy()).length > 0 ? busy() : undefined), {
    what: 'a worker with runs',
    timeoutMs: LOOK_MS,
  }).catch(running);
  return choose(random, found.length > 0 ? found : fleet.of('worker'));
};

const late = (what: string, seen: Takeover | null): string[] =>
  seen === null
    ? []
    : [
        ...seen.waits
          .filter((ms) => ms > LEASE_MS + TAKEOVER_MS)
          .map(
            (ms) =>
              `${what}: a run went on after ${Math.round(ms)} ms, later than the lease and ${TAKEOVER_MS / 1000} s`,
          ),
        ...seen.stranded.map((runId) => `${what}: ${runId} was with nobody after ${PATIENCE_MS} ms`),
      ];

const worst = ({ waits }: Takeover): number | null => (waits.length === 0 ? null : Math.max(...waits));

const shown = ({ held, waits }: Takeover, how: string): string | null =>
  waits.length === 0 ? null : `${waits.length} of ${held} runs of a ${how} worker went on elsewhere`;

export const workerKill: Fault = {
  name: 'worker-kill',
  lane: 'workers',
  inject: async (world, random): Promise<Injected> => {
    const victim = await busyWorker(world, random);
    const takeover = await watchTakeover(world, () => victim.kill(), PATIENCE_MS);
    let seen: Takeover | null = null;
    return {
      holdMs: 0,
      heal: async () => void (seen = await takeover()),
      recovered: () => Promise.resolve(seen === null ? null : worst(seen)),
      exercised: () => Promise.resolve(seen === null ? null : shown(seen, 'killed')),
      breachesAlone: () => late(victim.name, seen),
    };
  },
};

export const workerPause: Fault = {
  name: 'worker-pause',
  lane: 'workers',
  inject: async (world, random): Promise<Injected> => {
    const victim = await busyWorker(world, random);
    const service = await victim.ready();
    let thaw = (): void => undefined;
    const freeze = (): Promise<void> => {
      thaw = victim.freeze();
      return Promise.resolve();
    };
    const takeover = await watchTakeover(world, freeze, PATIENCE_MS);
    let seen: Takeover | null = null;
    return {
      holdMs: LEASE_MS * choose(random, [1.3, 2, 3]),
      heal: async () => {
        seen = await takeover();
        thaw();
      },
      recovered: () => Promise.resolve(seen === null ? null : worst(seen)),
      exercised: async () => {
        // It notices that it lost its runs, or has been restarted for standing still.
        const fenced = await waitFor(
          async () => (await metric(service, 'fenced_writes_total').catch(() => 1)) || undefined,
          { what: 'the worker to see that its runs are lost', timeoutMs: LOOK_MS },
        ).catch(() => 0);
        const what = seen === null ? null : shown(seen, 'stopped');
        return what === null || fenced === 0 ? null : `${what}, and it was refused when it came back`;
      },
      breachesAlone: () => late(victim.name, seen),
    };
  },
};

const leaderOf = ({ partition: { redis, root } }: World): Promise<string | null> =>
  redis.get(`${root}:leader:scheduler`).catch(() => null);

export const schedulerKill: Fault = {
  name: 'scheduler-kill',
  lane: 'services',
  inject: async (world, random): Promise<Injected> => {
    const leader = await leaderOf(world);
    const startedAt = performance.now();
    // Who of them leads does not show, so both go when the first was not it.
    const order = world.fleet.of('scheduler').toSorted(() => random() - 0.5);
    let next: string | null = null;
    for (const member of order) {
      await member.kill();
      const changed = async () => {
        const now = await leaderOf(world);
        return now !== null && now !== leader ? now : undefined;
      };
      next = await waitFor(changed, { what: 'another leader', timeoutMs: 3000 }).catch(() => null);
      if (next !== null) break;
    }
    const tookMs = performance.now() - startedAt;
    return {
      holdMs: 0,
      heal: () => Promise.resolve(),
      recovered: () => Promise.resolve(next === null ? null : tookMs),
      exercised: async () => {
        const now = next ?? (await leaderOf(world));
        return leader !== null && now !== null && now !== leader ? 'another scheduler leads' : null;
      },
    };
  },
};

const pendingEntries = async ({ partition: { redis, root } }: World): Promise<number> => {
  const [count] = (await redis.xpending(`${root}:audit`, 'audit-writer').catch(() => [0])) as [number];
  return count;
};

export const writerKill: Fault = {
  name: 'writer-kill',
  lane: 'services',
  inject: async (world): Promise<Injected> => {
    const taken = await waitFor(async () => (await pendingEntries(world)) || undefined, {
      what: 'entries that a writer has taken and not stored',
      timeoutMs: LOOK_MS,
      everyMs: 1,
    }).catch(() => 0);
    // Both: the one that holds them must be among them.
    const writers = world.fleet.of('audit-writer');
    await Promise.all(writers.map((member) => member.kill()));
    const left = await pendingEntries(world);
    const startedAt = performance.now();
    let tookMs: number | null = null;
    return {
      holdMs: 0,
      heal: async () => {
        await Promise.all(writers.map((member) => member.ready()));
        await waitFor(async () => ((await pendingEntries(world)) < left || left === 0 ? true : undefined), {
          what: 'what the dead writers had taken to be stored',
          timeoutMs: 60_000,
        });
        tookMs = performance.now() - startedAt;
      },
      recovered: () => Promise.resolve(tookMs),
      exercised: () =>
        Promise.resolve(taken === 0 || left === 0 ? null : `${left} entries were taken and not yet stored`),
    };
  },
};

export const apiKill: Fault = {
  name: 'api-kill',
  lane: 'services',
  inject: async (world, random): Promise<Injected> => {
    const victim = choose(random, world.fleet.of('api'));
    const { url } = await victim.ready();
    const at = Date.now();
    await victim.kill();
    const startedAt = performance.now();
    let tookMs: number | null = null;
    return {
      holdMs: 0,
      heal: async () => {
        await victim.ready();
        tookMs = performance.now() - startedAt;
      },
      recovered: () => Promise.resolve(tookMs),
      exercised: () => {
        const broken = world.history.broken.filter((one) => one.url === url && one.at >= at).length;
        return Promise.resolve(broken === 0 ? null : `${broken} requests got no answer`);
      },
    };
  },
};

const replace = async (member: Member): Promise<string[]> => {
  await member.ready();
  const exit = await member.terminate();
  await sleep(10);
  await member.ready();
  if (exit === 'killed' || exit.code === 0) return [];
  return [`${member.name} did not stop in good order: ${exit.signal ?? `exit code ${exit.code}`}`];
};

export const rolling: Fault = {
  name: 'rolling',
  lane: 'services',
  inject: async (world, random): Promise<Injected> => {
    const kinds = ['worker', 'scheduler', 'audit-writer', 'api'] as const;
    const order = new Set(kinds.map((kind) => choose(random, world.fleet.of(kind))));
    const breaches: string[] = [];
    for (const member of order) breaches.push(...(await replace(member)));
    return {
      holdMs: 0,
      heal: () => Promise.resolve(),
      exercised: () => Promise.resolve(`${order.size} processes were replaced by SIGTERM`),
      breaches: () => breaches,
    };
  },
};

const PRELOAD = fileURLToPath(new URL('../skewed-clock.ts', import.meta.url));
const SKEW_MS = 20_000;
/** Events that bear a time far from the one of the server that took them. */
const MISDATED_MS = SKEW_MS / 2;

const misdated = (entries: StreamEntries): number =>
  entries.filter(([id, fields]) =>
    bodiesOf(fields).some(({ ts }) => Math.abs(Date.parse(ts) - Number(id.split('-')[0])) > MISDATED_MS),
  ).length;

export const clockSkew: Fault = {
  name: 'clock-skew',
  lane: 'workers',
  inject: async (world, random): Promise<Injected> => {
    const victim = choose(random, world.fleet.of('worker'));
    const skewMs = choose(random, [-SKEW_MS, SKEW_MS]);
    victim.setEnv({ NODE_OPTIONS: `--import=${PRELOAD}`, CHAOS_CLOCK_SKEW_MS: String(skewMs) });
    await victim.kill();
    const { redis, root } = world.partition;
    const look = async () =>
      misdated(await redis.xrevrange(`${root}:audit`, '+', '-', 'COUNT', 200).catch(() => []));
    const service = await victim.ready();
    const worked = await waitFor(async () => (await metric(service, 'runs_active')) || undefined, {
      what: 'the worker to work',
      timeoutMs: LOOK_MS,
      everyMs: 5,
    }).catch(() => 0);
    let found = 0;
    return {
      holdMs: between(random, 1500, 4000),
      heal: async () => {
        found = await look();
        victim.setEnv({});
        await victim.kill();
      },
      exercised: () =>
        Promise.resolve(
          worked === 0 ? null : `a worker was ${skewMs / 1000} s off, and went by the time of Redis`,
        ),
      breaches: () => (found === 0 ? [] : [`${victim.name} misdated ${found} commits`]),
    };
  },
};
