import type { Run } from '@signalbox/contracts';
import { waitFor } from '@signalbox/local';
import type { LedgerEntry } from '../support/fake-provider/index.ts';
import { type System, taggedAgent } from './stack.ts';

/** Runs whose provider streams so slowly that only an abort ends them in time. */
const SLOW = /#tag slow-/;
export const SLOW_STREAM = { text: 'slow... '.repeat(1000), chunkDelayMs: 100 } as const;
export const isSlow = (instructions: string): boolean => SLOW.test(instructions);

export interface SlowRun {
  readonly id: string;
  readonly tag: string;
}

export const submitSlow = (
  system: System,
  name: string,
  count: number,
  body: object = {},
): Promise<SlowRun[]> =>
  Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const tag = `slow-${name}-${String(n).padStart(4, '0')}`;
      const agent = taggedAgent(tag, { tools: [] });
      const { id } = await system.api.submit({ agent, input: 'go', ...body });
      return { id, tag };
    }),
  );

/** What the provider was asked for these runs. */
export const requestsOf = (system: System, runs: readonly SlowRun[]): LedgerEntry[] => {
  const tags = new Set(runs.map(({ tag }) => tag));
  return system.provider.ledger.filter(({ body }) =>
    tags.has(/#tag (slow-[\w.-]+)/.exec(JSON.stringify(body))?.[1] ?? ''),
  );
};

/** Waits until the provider streams for all of them. */
export const streaming = (system: System, runs: readonly SlowRun[]): Promise<LedgerEntry[]> =>
  waitFor(
    () => {
      const open = requestsOf(system, runs).filter((entry) => entry.finishedAt === null);
      const longEnough = open.every(({ startedAt }) => Date.now() - startedAt > 300);
      return open.length === runs.length && longEnough ? open : undefined;
    },
    { what: `${runs.length} streams`, timeoutMs: 60_000 },
  );

export interface Stopped {
  readonly run: SlowRun;
  /** From before the POST to its answer. */
  readonly answeredMs: number;
  /** From before the POST to the provider seeing its socket closed. */
  readonly closedMs: number;
}

/** Aborts all over HTTP, `lanes` at a time, and waits until the provider saw each socket closed. */
export const abortAll = async (
  system: System,
  runs: readonly SlowRun[],
  lanes: number,
): Promise<Stopped[]> => {
  const postedAt = new Map<string, { at: number; answeredMs: number }>();
  const waiting = runs.values();
  const lane = async (): Promise<void> => {
    for (const { id, tag } of waiting) {
      const at = Date.now();
      const { status } = await system.api.request(`/v1/runs/${id}/abort`, { method: 'POST' });
      if (status !== 202) throw new Error(`the abort of ${id} answered ${status}`);
      postedAt.set(tag, { at, answeredMs: Date.now() - at });
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return Promise.all(
    runs.map(async (run) => {
      const finishedAt = await waitFor(() => requestsOf(system, [run])[0]?.finishedAt ?? undefined, {
        what: `the provider to see ${run.tag} closed`,
        timeoutMs: 60_000,
      });
      const posted = postedAt.get(run.tag) ?? { at: 0, answeredMs: 0 };
      return { run, answeredMs: posted.answeredMs, closedMs: finishedAt - posted.at };
    }),
  );
};

export const percentile = (values: readonly number[], percent: number): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((sorted.length * percent) / 100) - 1)] ?? 0;
};

export const receiptOf = ({ abort }: Run) =>
  abort === null
    ? null
    : { caught: abort.caught, call_closed: abort.call_closed, settled_usd: abort.settled_usd };
