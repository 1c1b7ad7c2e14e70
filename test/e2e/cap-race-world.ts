/**
 * One race for money on real processes: submits a plan's runs to four workers, kills workers at random, and
 * closes the books against the provider's own ledger.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createApiKey } from '@signalbox/api';
import { type CapScope, toUsd } from '@signalbox/contracts';
import { setTenantCaps, setUserCaps } from '@signalbox/run-state';
import { KNOWN_RATES, type LedgerEntry, totalNano } from '../support/fake-provider/index.ts';
import {
  type CapPlan,
  isRunCapped,
  MAX_OUTPUT_TOKENS,
  type RacePlan,
  type RunPlan,
  seeded,
  type Tenant,
  USER_DAY_NANO,
} from './cap-race-plan.ts';
import { type ApiClient, createClient } from './client.ts';
import { type System, taggedAgent } from './stack.ts';

const SUBMITTERS = 16;

/** A zone in which it is about noon, so that no race runs past the end of a day. */
export const zoneAtNoon = (): string => {
  const ahead = 12 - new Date().getUTCHours();
  return ahead === 0 ? 'UTC' : `Etc/GMT${ahead > 0 ? '-' : '+'}${Math.abs(ahead)}`;
};

/** Makes the tenants with their caps. */
export const openTenants = async (system: System, plan: RacePlan): Promise<Record<Tenant, ApiClient>> => {
  const { partition, db, stack } = system;
  const none = { runNano: null, userDailyNano: null, userMonthlyNano: null };
  const open = async (tenant: Tenant): Promise<ApiClient> => {
    const defaultCaps = { runNano: 1, userDailyNano: 1, tenantDailyNano: 1 };
    const key = { tenantId: tenant, scopes: ['runs:read', 'runs:write'] as const };
    const { secret } = await createApiKey({ partition, db, defaultCaps }, key);
    await setTenantCaps(partition, tenant, {
      ...none,
      userDailyNano: tenant === 'north' ? USER_DAY_NANO : null,
      tenantDailyNano: plan.tenants[tenant].dayNano,
      tenantMonthlyNano: plan.tenants[tenant].monthNano,
      timeZone: zoneAtNoon(),
    });
    return createClient(stack.apiUrl, secret);
  };
  const [north, south] = await Promise.all([open('north'), open('south')]);
  for (const userId of new Set(plan.runs.map(({ user }) => user).filter(isRunCapped)))
    await setUserCaps(partition, { tenantId: 'north', userId }, { dailyNano: null });
  return { north, south };
};

const bodyOf = ({ tag, user, capNano }: RunPlan): object => ({
  agent: taggedAgent(tag, {
    limits: {
      max_steps: 200,
      max_output_tokens: MAX_OUTPUT_TOKENS,
      ...(capNano === null ? {} : { cost_usd: toUsd(capNano) }),
    },
  }),
  input: 'Spend what you may.',
  user_id: user,
});

/** Run id by tag. */
export const submitRace = async (
  plan: RacePlan,
  apis: Readonly<Record<Tenant, ApiClient>>,
): Promise<Map<string, string>> => {
  const runOfTag = new Map<string, string>();
  const left = [...plan.runs];
  const lane = async (): Promise<void> => {
    for (let run = left.shift(); run !== undefined; run = left.shift())
      runOfTag.set(run.tag, (await apis[run.tenant].submit(bodyOf(run))).id);
  };
  await Promise.all(Array.from({ length: SUBMITTERS }, lane));
  return runOfTag;
};

/** Between two kills, ms for each run of the race: more of them take longer, and each must get somewhere. */
const KILL_AFTER = { least: 2.5, spread: 7 };

/** SIGKILLs a random worker again and again, and starts another in its place. Returns how to stop: kills made. */
export const killAtRandom = (system: System, { seed, runs }: RacePlan): (() => Promise<number>) => {
  const random = seeded(seed, 'kills');
  const stop = new AbortController();
  const { stack } = system;
  let killed = 0;
  const killing = (async () => {
    while (!stop.signal.aborted) {
      const pauseMs = (KILL_AFTER.least + random() * KILL_AFTER.spread) * runs.length;
      await sleep(pauseMs, undefined, stop).catch(() => undefined);
      if (stop.signal.aborted) return;
      const alive = stack.workers.filter((worker) => worker.exit() === undefined);
      const victim = alive[Math.floor(random() * alive.length)];
      if (victim === undefined) continue;
      await stack.killWorker(stack.workers.indexOf(victim));
      killed += 1;
      await stack.startWorker();
    }
  })();
  return async () => {
    stop.abort();
    await killing;
    return killed;
  };
};

const PICO_PER_USD_PER_MILLION = 1_000_000;

/** The most a request can be billed at by its own promise: what its input cost and all of its limit. */
const promisedNano = (entry: LedgerEntry): number => {
  const rate = (KNOWN_RATES[entry.model]?.output ?? 0) * PICO_PER_USD_PER_MILLION;
  const limit = entry.status < 400 ? (entry.maxTokens ?? 0) : 0;
  return (entry.costNano ?? 0) + Math.ceil(((limit - entry.outputTokens) * rate) / 1000);
};

/** The most that was billed, or could still have been of what was open, at any one time. */
const highestExposure = (entries: readonly LedgerEntry[]): number => {
  const moments = entries.flatMap((entry) => [
    { at: entry.startedAt, change: promisedNano(entry) },
    {
      at: entry.finishedAt ?? Number.POSITIVE_INFINITY,
      change: (entry.costNano ?? 0) - promisedNano(entry),
    },
  ]);
  let [now, most] = [0, 0];
  for (const { change } of moments.toSorted((a, b) => a.at - b.at || a.change - b.change)) {
    now += change;
    most = Math.max(most, now);
  }
  return most;
};

export interface CapBook {
  readonly cap: CapPlan;
  /** By the provider. */
  readonly billedNano: number;
  readonly exposedNano: number;
  /** By our ledger. */
  readonly chargedNano: number;
  /** Runs that failed because of this cap. */
  readonly refused: number;
}

interface Failure {
  readonly code: string;
  readonly details?: { readonly scope?: CapScope };
}

export interface Books {
  readonly caps: readonly CapBook[];
  /** Codes of the runs that failed, and their ids. */
  readonly failures: ReadonlyMap<string, readonly string[]>;
}

const tagOf = ({ body }: LedgerEntry): string => /#tag ([\w-]+)/.exec(JSON.stringify(body))?.[1] ?? '';

export const closeBooks = async (
  system: System,
  plan: RacePlan,
  runOfTag: ReadonlyMap<string, string>,
): Promise<Books> => {
  const entries = Map.groupBy(system.provider.ledger, tagOf);
  const { db } = system;
  const rows = await db.selectFrom('cost_ledger').select(['run_id', 'observed_nano']).execute();
  const charged = Map.groupBy(rows, ({ run_id: id }) => id);
  const failed = await db
    .selectFrom('audit_events')
    .select(['run_id', 'body'])
    .where('type', '=', 'run.failed')
    .execute();
  const failures = new Map(
    failed.map(({ run_id: id, body }) => [id, (JSON.parse(body ?? '{}') as { data: Failure }).data]),
  );
  const caps = plan.caps.map((cap): CapBook => {
    const tags = [...cap.tags];
    const ids = tags.map((tag) => runOfTag.get(tag) ?? '');
    const own = tags.flatMap((tag) => entries.get(tag) ?? []);
    return {
      cap,
      billedNano: totalNano(own),
      exposedNano: highestExposure(own),
      chargedNano: ids
        .flatMap((id) => charged.get(id) ?? [])
        .reduce((sum, { observed_nano: nano }) => sum + (nano ?? 0), 0),
      refused: ids.filter((id) => failures.get(id)?.details?.scope === cap.scope).length,
    };
  });
  const codes = Map.groupBy(failures, ([, { code }]) => code);
  return { caps, failures: new Map([...codes].map(([code, list]) => [code, list.map(([id]) => id)])) };
};

const MAX_CLAIMS = 3;
const STEPS_ON = ['llm.completed', 'tool.completed', 'run.parked', 'run.handed_over'];

/**
 * Workers were lost with the run as often as makes it poison, and nothing came between. By epochs: each claim raises
 * it by one, and one lost before its first commit left no event.
 */
export const showsLostTooOften = (
  events: readonly { readonly type: string; readonly epoch: number | null }[],
): boolean => {
  const stepped = events.findLast(({ type }) => STEPS_ON.includes(type));
  return (events.at(-1)?.epoch ?? 0) - (stepped?.epoch ?? 0) > MAX_CLAIMS;
};

/** The journal proves it. */
export const isLostTooOften = async ({ db }: System, runId: string): Promise<boolean> => {
  const events = db.selectFrom('audit_events').select(['type', 'epoch']).where('run_id', '=', runId);
  return showsLostTooOften(await events.orderBy('seq').execute());
};

const LOOK_MS = 250;

/** Looks at the run that is parked longest until told to stop: the longest any run was parked, ms. */
export const watchParked = ({ partition: { redis, root } }: System): (() => Promise<number>) => {
  const stop = new AbortController();
  let longest = 0;
  const watching = (async () => {
    while (!stop.signal.aborted) {
      const [, since] = await redis.zrange(`${root}:parked`, 0, '0', 'WITHSCORES');
      if (since !== undefined) longest = Math.max(longest, Date.now() - Number(since));
      await sleep(LOOK_MS, undefined, stop).catch(() => undefined);
    }
  })();
  return async () => {
    stop.abort();
    await watching;
    return longest;
  };
};
