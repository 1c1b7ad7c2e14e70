/**
 * Does faults to a running world: lanes side by side, the faults of a lane one after the other, each healed and looked
 * at before the next; at the end a worker is killed while nothing else is broken. Which, when and how long comes from
 * the seed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@signalbox/runtime';
import { seeded } from '../e2e/cap-race-plan.ts';
import { between, type Fault, type Injected, type Lane, type Strike } from './fault.ts';
import { lastCommitMs, type World } from './world.ts';

const LANES: readonly Lane[] = ['stores', 'workers', 'services', 'network'];
const RECOVERY_MS = 40_000;
const POLL_MS = 20;

/** Ms until run state is written again. */
const untilCommit = async (world: World): Promise<number | null> => {
  const healedAt = Date.now();
  while (Date.now() - healedAt < RECOVERY_MS) {
    if ((await lastCommitMs(world)) >= healedAt) return Date.now() - healedAt;
    await sleep(POLL_MS);
  }
  return null;
};

/** How many faults were begun, and how many are under way. */
interface Trouble {
  begun: number;
  open: number;
}

type Done = Pick<Strike, 'evidence' | 'recoveryMs' | 'breaches'> & {
  readonly breachesAlone: readonly string[];
};

const nothing: Done = { evidence: null, recoveryMs: null, breaches: [], breachesAlone: [] };

/** A fault that cannot be done, because another one is in its way, is done again; one that cannot be undone fails. */
const inject = async (world: World, fault: Fault, random: () => number): Promise<Done> => {
  const injected = await fault.inject(world, random).catch(() => null);
  if (injected === null) return nothing;
  try {
    return await endure(world, injected);
  } catch (error) {
    return { ...nothing, breaches: [`${fault.name}: ${messageOf(error)}`] };
  }
};

const endure = async (world: World, injected: Injected): Promise<Done> => {
  await sleep(injected.holdMs);
  await injected.heal();
  const recoveryMs = await (injected.recovered?.() ?? untilCommit(world));
  const evidence = await injected.exercised();
  return {
    evidence,
    recoveryMs,
    breaches: injected.breaches?.() ?? [],
    breachesAlone: injected.breachesAlone?.() ?? [],
  };
};

const strike = async (
  world: World,
  fault: Fault,
  { random, trouble }: { random: () => number; trouble: Trouble },
): Promise<Strike> => {
  const at = Date.now();
  trouble.begun += 1;
  trouble.open += 1;
  const [begun, quiet] = [trouble.begun, trouble.open === 1];
  const done = await inject(world, fault, random);
  trouble.open -= 1;
  const alone = quiet && trouble.begun === begun;
  const { evidence, recoveryMs, breaches, breachesAlone } = done;
  return {
    fault: fault.name,
    lane: fault.lane,
    at,
    endedAt: Date.now(),
    evidence,
    recoveryMs,
    alone,
    breaches: [...breaches, ...(alone ? breachesAlone : [])],
  };
};

export interface NemesisOptions {
  readonly seed: number;
  readonly faults: readonly Fault[];
  /** After every fault was done once, random ones follow until then. */
  readonly untilMs: number;
  readonly onStrike: (strike: Strike) => void;
}

/** A fault that met nothing to break is done again. */
const TRIES = 8;
/** With the others over, it shows how long a lost worker's runs wait. */
const LAST = 'worker-kill';
const CALM_MS = 1500;

export const runNemesis = async (world: World, options: NemesisOptions): Promise<Strike[]> => {
  const strikes: Strike[] = [];
  const trouble: Trouble = { begun: 0, open: 0 };
  const attempt = async (fault: Fault, random: () => number): Promise<Strike> => {
    await sleep(between(random, 100, 700));
    const done = await strike(world, fault, { random, trouble });
    strikes.push(done);
    options.onStrike(done);
    return done;
  };
  const untilExercised = async (fault: Fault, random: () => number): Promise<void> => {
    for (let n = 1; n <= TRIES; n += 1) {
      const { evidence, breaches } = await attempt(fault, random);
      if (evidence !== null || breaches.length > 0) return;
    }
  };
  const last = options.faults.filter(({ name }) => name === LAST);
  const lane = async (name: Lane): Promise<void> => {
    const random = seeded(options.seed, 'nemesis', name);
    const faults = options.faults.filter((fault) => fault.lane === name);
    for (const fault of faults) if (!last.includes(fault)) await untilExercised(fault, random);
    while (faults.length > 0 && performance.now() < options.untilMs) {
      const fault = faults[Math.floor(random() * faults.length)];
      if (fault !== undefined) await attempt(fault, random);
    }
  };
  await Promise.all(LANES.map(lane));
  await sleep(CALM_MS);
  for (const fault of last) await untilExercised(fault, seeded(options.seed, 'nemesis', 'last'));
  return strikes;
};
