/**
 * What one race for money is to be, from its seed alone: runs of 20 users in two tenants, what each wants, the
 * caps in their way, and how the provider answers. Pure; the same seed gives the same plan.
 */
import { createHash } from 'node:crypto';
import type { CapScope } from '@signalbox/contracts';
import type { Behave } from '../support/fake-provider/index.ts';

export type Tenant = 'north' | 'south';

export interface RunPlan {
  readonly tag: string;
  readonly tenant: Tenant;
  readonly user: string;
  /** Model calls it makes unless it is stopped. */
  readonly calls: number;
  /** Null: bound by the caps of others only. */
  readonly capNano: number | null;
}

export interface CapPlan {
  readonly scope: CapScope;
  readonly name: string;
  readonly capNano: number;
  readonly tags: ReadonlySet<string>;
  /** So much is wanted here that the cap must be reached. */
  readonly contested: boolean;
}

export interface RacePlan {
  readonly seed: number;
  readonly runs: readonly RunPlan[];
  readonly caps: readonly CapPlan[];
  /** Null: none. */
  readonly tenants: Readonly<Record<Tenant, { dayNano: number | null; monthNano: number | null }>>;
}

const MILLI_USD = 1_000_000;
const USER_CAP = 400 * MILLI_USD;
const RUN_CAP = 300 * MILLI_USD;
/** Of `south`, for each of its runs. */
const SOUTH_CAP_PER_RUN = 30 * MILLI_USD;
export const MAX_OUTPUT_TOKENS = 4000;
/** An average call, with less input than any has. */
const LEAST_PER_CALL = 11 * MILLI_USD;
const USERS_PER_TENANT = 10;
/** The last users of `north` have no cap, but their runs have. */
const CAPPED_USERS = 8;
/** A cap is contested when this many times as much is wanted: near it, calls become smaller than planned. */
const CONTESTED = 1.3;

/** Uniform in [0, 1), the same for the same parts (mulberry32). */
export const seeded = (...parts: readonly (string | number)[]): (() => number) => {
  let state = createHash('sha256').update(parts.join('/')).digest().readUInt32LE();
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

export const isRunCapped = (user: string): boolean =>
  user.startsWith('north') && Number(user.split('-')[1]) >= CAPPED_USERS;

const planRuns = (seed: number, count: number): RunPlan[] => {
  const random = seeded(seed, 'runs');
  const runs = Array.from({ length: count }, (_, n): RunPlan => {
    const tenant = n % 2 === 0 ? 'north' : 'south';
    const user = `${tenant}-${Math.floor(n / 2) % USERS_PER_TENANT}`;
    const capped = isRunCapped(user);
    return {
      tag: `s${seed}-n${n}`,
      tenant,
      user,
      calls: capped ? 60 : 4 + Math.floor(random() * 9),
      capNano: capped ? RUN_CAP : null,
    };
  });
  return runs
    .map((run) => ({ run, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ run }) => run);
};

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const wantedBy = ({ calls, capNano }: RunPlan): number =>
  Math.min(calls * LEAST_PER_CALL, capNano ?? Number.POSITIVE_INFINITY);
const wanted = (runs: readonly RunPlan[]): number => sum(runs.map(wantedBy));

type Capped = Omit<CapPlan, 'tags' | 'contested'> & { runs: readonly RunPlan[]; wantedNano: number };

const userCaps = (runs: readonly RunPlan[]): Capped[] =>
  [...Map.groupBy(runs, ({ user }) => user)]
    .filter(([user]) => user.startsWith('north') && !isRunCapped(user))
    .map(([user, own]) => ({
      scope: 'user_day',
      name: user,
      capNano: USER_CAP,
      runs: own,
      wantedNano: wanted(own),
    }));

const runCaps = (runs: readonly RunPlan[]): Capped[] =>
  runs.flatMap((run) =>
    run.capNano === null
      ? []
      : [
          {
            scope: 'run',
            name: run.tag,
            capNano: run.capNano,
            runs: [run],
            wantedNano: run.calls * LEAST_PER_CALL,
          },
        ],
  );

/**
 * South is bound by its day or, with odd seeds, by its month. North is bound by the day of each user and by the
 * caps of single runs; with odd seeds its own day comes before them, so that all three are in the way at once.
 */
export const planRace = (seed: number, count: number): RacePlan => {
  const odd = seed % 2 === 1;
  const runs = planRuns(seed, count);
  const north = runs.filter(({ tenant }) => tenant === 'north');
  const south = runs.filter(({ tenant }) => tenant === 'south');
  const inner = [...userCaps(north), ...runCaps(north)];
  const reachable = sum(inner.map(({ capNano, wantedNano }) => Math.min(capNano, wantedNano)));
  const northDay = Math.floor(reachable * (odd ? 0.7 : 1.2));
  const southCap = south.length * SOUTH_CAP_PER_RUN;
  const tenantCaps: Capped[] = [
    { scope: 'tenant_day', name: 'north', capNano: northDay, runs: north, wantedNano: reachable },
    {
      scope: odd ? 'tenant_month' : 'tenant_day',
      name: 'south',
      capNano: southCap,
      runs: south,
      wantedNano: wanted(south),
    },
  ];
  const isContested = ({ capNano, wantedNano }: Capped): boolean => wantedNano >= capNano * CONTESTED;
  const finish = (cap: Capped, contested: boolean): CapPlan => ({
    scope: cap.scope,
    name: cap.name,
    capNano: cap.capNano,
    tags: new Set(cap.runs.map(({ tag }) => tag)),
    contested,
  });
  return {
    seed,
    runs,
    caps: [
      ...inner.map((cap) => finish(cap, !odd && isContested(cap))),
      ...tenantCaps.map((cap) => finish(cap, isContested(cap))),
    ],
    tenants: {
      north: { dayNano: northDay, monthNano: null },
      south: { dayNano: odd ? southCap * 2 : southCap, monthNano: odd ? southCap : null },
    },
  };
};

export const USER_DAY_NANO = USER_CAP;

const TAG = /#tag ([\w-]+)/;

/** Random delays, and usage up to what was promised: one answer of four takes all of its limit. */
export const behaviour = (plan: RacePlan): Behave => {
  const byTag = new Map(plan.runs.map((run) => [run.tag, run]));
  const asked = new Map<string, number>();
  return ({ instructions, messages, maxTokens }) => {
    const run = byTag.get(TAG.exec(instructions)?.[1] ?? '');
    if (run === undefined || maxTokens === null) return { status: 400, text: 'not a run of this race' };
    const call = messages.filter(({ role }) => role === 'assistant').length + 1;
    const name = `${run.tag}/${call}`;
    asked.set(name, (asked.get(name) ?? 0) + 1);
    const random = seeded(plan.seed, name, asked.get(name) ?? 0);
    const input = Math.ceil(Buffer.byteLength(instructions + JSON.stringify(messages)) / 4);
    const cache = random() * 3;
    const output = random() < 0.25 ? maxTokens : 1 + Math.floor(random() * (maxTokens - 1));
    const common = {
      delayMs: 5 + random() * 120,
      chunkDelayMs: random() * 10,
      usage: {
        input_tokens: input,
        output_tokens: output,
        cache_write_tokens: cache < 1 ? input : 0,
        cache_read_tokens: cache >= 2 ? Math.floor(input / 2) : 0,
      },
    };
    if (call >= run.calls) return { ...common, text: 'done' };
    const expression = `${call} * 7`;
    const tool = { id: `call-${call}`, name: 'calculator', arguments: JSON.stringify({ expression }) };
    return { ...common, toolCalls: [tool] };
  };
};
