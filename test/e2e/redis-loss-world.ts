/**
 * Runs that hammer their caps while Redis loses what it held: what they want, how the provider answers, how Redis
 * is lost, when its counters were not trusted, and the books afterwards.
 */
import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withCapsLocked } from '@signalbox/audit-store';
import { toUsd } from '@signalbox/contracts';
import { temporaryDir, waitFor, until } from '@signalbox/local';
import { readTrust } from '@signalbox/run-state';
import { allStored } from '../support/all-stored.ts';
import { type Behave, type LedgerEntry, totalNano } from '../support/fake-provider/index.ts';
import { type System, taggedAgent } from './stack.ts';

const USERS = 6;
const CALLS = 8;
const MILLI_USD = 1_000_000;
/** Of each user, for each of its runs: about half of what its calls want. */
const CAP_PER_RUN = 22 * MILLI_USD;
const MAX_OUTPUT_TOKENS = 2000;

export interface Plan {
  readonly runs: number;
  readonly random: () => number;
}

export const userOf = (n: number): string => `user-${n % USERS}`;
const tagOf = (n: number): string => `loss-${String(n).padStart(3, '0')}-${userOf(n)}`;

export const capsOf = ({ runs }: Plan) => {
  const userNano = Math.ceil(runs / USERS) * CAP_PER_RUN;
  return { userNano, tenantNano: Math.floor(USERS * userNano * 0.9) };
};

/** Random delays, and usage up to what was promised. */
export const behaviour =
  ({ random }: Plan): Behave =>
  ({ messages, maxTokens }) => {
    const call = messages.filter(({ role }) => role === 'assistant').length + 1;
    const limit = maxTokens ?? 1;
    const common = {
      // Long enough that calls are open, and more to come, when Redis is lost.
      delayMs: 800 + random() * 1200,
      usage: {
        input_tokens: 100,
        output_tokens: random() < 0.25 ? limit : 1 + Math.floor(random() * (limit - 1)),
      },
    };
    if (call >= CALLS) return { ...common, text: 'done' };
    const tool = {
      id: `call-${call}`,
      name: 'calculator',
      arguments: JSON.stringify({ expression: `${call} * 7` }),
    };
    return { ...common, toolCalls: [tool] };
  };

/** Caps as an operator sets them: in Postgres, and mirrored. */
export const setCaps = async ({ api }: System, plan: Plan): Promise<void> => {
  const { userNano, tenantNano } = capsOf(plan);
  const { status, json } = await api.request('/v1/caps/tenant', {
    method: 'PUT',
    body: { run_usd: null, daily_usd: toUsd(tenantNano), user_daily_usd: toUsd(userNano) },
  });
  if (status !== 200) throw new Error(`caps: ${status} ${JSON.stringify(json)}`);
};

/** Run id by tag. */
export const submitAll = async ({ api }: System, { runs }: Plan): Promise<Map<string, string>> =>
  new Map(
    await Promise.all(
      Array.from({ length: runs }, async (_, n): Promise<[string, string]> => {
        const limits = { max_steps: 100, max_output_tokens: MAX_OUTPUT_TOKENS };
        const agent = taggedAgent(tagOf(n), { limits });
        return [tagOf(n), (await api.submit({ agent, input: 'Spend.', user_id: userOf(n) })).id];
      }),
    ),
  );

export const untilStored = ({ db }: System, runOfTag: ReadonlyMap<string, string>): Promise<true> =>
  until('all submissions to be stored', async () => {
    const rows = await db.selectFrom('runs').select('id').execute();
    return rows.length >= runOfTag.size;
  });

/** Every run has ended in Postgres, and nothing is on the way there. */
export const allEnded = async ({ db, partition }: System, ids: readonly string[]) => {
  const left = (): Promise<{ id: string; status: string; error_code: string | null }[]> =>
    db.selectFrom('runs').select(['id', 'status', 'error_code']).execute();
  const live = ['queued', 'running', 'waiting'];
  await waitFor(async () => ((await left()).some(({ status }) => live.includes(status)) ? undefined : true), {
    what: `${ids.length} runs to end`,
    timeoutMs: 90_000,
    everyMs: 100,
  }).catch(async (error: unknown) => {
    const rows = (await left()).filter(({ status }) => live.includes(status));
    const here = await Promise.all(
      rows.slice(0, 3).map(({ id }) => partition.redis.hgetall(`${partition.root}:run:${id}`)),
    );
    const shown = here.map(({ key: _key, ...record }) => record);
    throw new Error(`${String(error)} ${rows.length}: ${JSON.stringify([rows.slice(0, 3), shown])}`, {
      cause: error,
    });
  });
  await allStored(partition);
  const rows = await left();
  return new Map(rows.map((row) => [row.id, row]));
};

export interface Window {
  /** Epoch ms: after it was first seen untrusted or away; before it was last seen untrusted. */
  readonly from: number;
  to: number;
}

/** Looks again and again whether the counters are trusted, until told to stop. */
export const watchTrust = ({ partition }: System): (() => Promise<Window[]>) => {
  const stop = new AbortController();
  const windows: Window[] = [];
  const watching = (async () => {
    let open: Window | null = null;
    while (!stop.signal.aborted) {
      const at = Date.now();
      const seen = await readTrust(partition).then(
        (marker) => (marker === null ? 'untrusted' : 'trusted'),
        () => 'away',
      );
      if (seen === 'trusted') open = null;
      else if (open === null) windows.push((open = { from: Date.now(), to: at }));
      else if (seen === 'untrusted') open.to = at;
      await sleep(5);
    }
  })();
  return async () => {
    stop.abort();
    await watching;
    return windows;
  };
};

/** Verifications wait for this lock, so that the time without trust is long enough to see something in it. */
export const delayVerification = async ({ db }: System, ms: number): Promise<() => Promise<void>> => {
  const locked = Promise.withResolvers<void>();
  const holding = withCapsLocked(db, async () => {
    locked.resolve();
    await sleep(ms);
  });
  await locked.promise;
  return () => holding;
};

/** Worst cases of the calls that were announced, but not stored. */
const announcedNano = (rows: readonly (readonly [string, readonly string[]])[]): number => {
  const bodies = rows
    .flatMap(([, fields]) => fields.filter((_, i) => i % 2 === 1 && fields[i - 1] === 'e'))
    .map((entry) => JSON.parse(entry.slice(64)) as { data: { hold?: { amount_nano: number } | null } });
  return bodies.reduce((sum, { data }) => sum + (data.hold?.amount_nano ?? 0), 0);
};

/** Redis is lost; answers the worst cases of the calls that only the audit stream knew of. */
export type Lose = (system: System) => Promise<number>;

export const restart: Lose = async ({ redis }) => {
  await redis.kill();
  await redis.start();
  return 0;
};

export const empty: Lose = async ({ partition: { redis, root } }) => {
  const replies = await redis.multi().xrange(`${root}:audit`, '-', '+').flushall().exec();
  return announcedNano(replies?.[0]?.[1] as [string, string[]][]);
};

const APPEND_ONLY = 'appendonlydir';
const dataOf = async ({ partition: { redis } }: System): Promise<string> => {
  const [, dir = ''] = await redis.config('GET', 'dir');
  return join(dir, APPEND_ONLY);
};

export const backUp = async (system: System): Promise<string> => {
  const copy = join(await temporaryDir(), APPEND_ONLY);
  await cp(await dataOf(system), copy, { recursive: true });
  return copy;
};

const PAUSE_MS = 5_000;

/** Nobody writes any more from the look at the stream to the end of the server. */
export const replaceBy =
  (copy: string): Lose =>
  async (system) => {
    const { redis, root } = system.partition;
    const data = await dataOf(system);
    await redis.client('PAUSE', PAUSE_MS, 'WRITE');
    const lost = announcedNano(await redis.xrange(`${root}:audit`, '-', '+'));
    await system.redis.kill();
    await rm(data, { recursive: true });
    await cp(copy, data, { recursive: true });
    await system.redis.start();
    return lost;
  };

/**
 * Calls that reached the provider while run state was not trusted, without those that were announced before: these may
 * be on their way for as long as a busy machine takes. Their announcements may be lost with what Redis lost.
 */
export const startedUntrusted = async (
  { provider, db }: System,
  windows: readonly Window[],
  runOfTag: ReadonlyMap<string, string>,
): Promise<LedgerEntry[]> => {
  const rows = await db
    .selectFrom('audit_events')
    .select(['run_id', 'ts'])
    .where('type', '=', 'llm.requested')
    .execute();
  const announced = Map.groupBy(rows, (row) => row.run_id);
  return provider.ledger.filter((entry) => {
    const within = windows.find(({ from, to }) => entry.startedAt > from && entry.startedAt < to);
    if (within === undefined) return false;
    const before = (announced.get(runOfTag.get(tagIn(entry)) ?? '') ?? [])
      .map(({ ts }) => ts.getTime())
      .filter((ms) => ms <= entry.startedAt);
    return Math.max(...before) > within.from;
  });
};

const tagIn = ({ body }: LedgerEntry): string => /#tag ([\w-]+)/.exec(JSON.stringify(body))?.[1] ?? '';

export interface CapBook {
  readonly cap: string;
  readonly capNano: number;
  /** By the provider. */
  readonly billedNano: number;
  readonly overshootNano: number;
}

export interface Books {
  readonly caps: readonly CapBook[];
  /** Billed for calls that our ledger does not know of. */
  readonly unknownNano: number;
}

/** Every cap by the provider's own ledger. */
export const closeBooks = async (
  { provider, db }: System,
  plan: Plan,
  runOfTag: ReadonlyMap<string, string>,
): Promise<Books> => {
  const { userNano, tenantNano } = capsOf(plan);
  const book = (cap: string, capNano: number, entries: readonly LedgerEntry[]): CapBook => {
    const billedNano = totalNano(entries);
    return { cap, capNano, billedNano, overshootNano: Math.max(0, billedNano - capNano) };
  };
  const users = Map.groupBy(provider.ledger, (entry) => tagIn(entry).split('-').slice(2).join('-'));
  const charged = new Map<string, number>();
  for (const row of await db.selectFrom('cost_ledger').select(['run_id', 'observed_nano']).execute())
    charged.set(row.run_id, (charged.get(row.run_id) ?? 0) + (row.observed_nano ?? 0));
  let unknownNano = 0;
  for (const [tag, entries] of Map.groupBy(provider.ledger, tagIn))
    unknownNano += Math.max(0, totalNano(entries) - (charged.get(runOfTag.get(tag) ?? '') ?? 0));
  return {
    caps: [
      book('tenant', tenantNano, provider.ledger),
      ...[...users].map(([user, entries]) => book(user, userNano, entries)),
    ],
    unknownNano,
  };
};
