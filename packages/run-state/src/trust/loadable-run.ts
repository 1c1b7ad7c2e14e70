import type { Entry, Nano } from '@signalbox/contracts';
import type { AbortFlag } from '../abort/abort.ts';

/** A run as Postgres has it, and how load.lua and awaken.lua are told of it. */
export interface LoadableRun {
  readonly runId: string;
  readonly tenantId: string;
  readonly userId: string | null;
  readonly agent: string | null;
  readonly rootRunId: string;
  readonly priority: 'high' | 'normal' | 'low';
  readonly capNano: Nano | null;
  /** Null: erased, of a run that has ended. */
  readonly wrappedKey: string | null;
  readonly epoch: number;
  readonly seq: number;
  readonly head: string;
  /** The highest its journal knows; the next activation is another. */
  readonly wakeSeq: number;
  readonly createdMs: number;
  readonly status: string;
  readonly waitingFor: string | null;
  readonly dueMs: number | null;
  /** When it parked; null unless it waits. */
  readonly parkedMs: number | null;
  /** The run was asked to stop. */
  readonly abort: AbortFlag | null;
  readonly entries: readonly Entry[];
  readonly holds: readonly LoadableHold[];
  readonly contents: ReadonlyMap<string, string>;
}

export interface LoadableHold {
  readonly id: string;
  readonly amountNano: Nano;
  readonly day: string;
  /** Null: still held. */
  readonly settled: { readonly observedNano: Nano; readonly expired: boolean } | null;
}

/** Of a priority, as the scripts know it. */
export const RANK = { high: '0', normal: '1', low: '2' } as const;

export const holdArgs = (holds: readonly LoadableHold[]): string[] =>
  holds.flatMap((hold) => [hold.id, holdValue(hold)]);

const holdValue = ({ amountNano, day, settled }: LoadableHold): string => {
  if (settled === null) return `held ${amountNano} ${day}`;
  return `${settled.expired ? 'expired' : 'settled'} ${amountNano} ${day} ${settled.observedNano}`;
};

const headerOf = (run: LoadableRun, more: object): string =>
  JSON.stringify({
    run: run.runId,
    tenant: run.tenantId,
    user: run.userId ?? '',
    agent: run.agent ?? '',
    root: run.rootRunId,
    rank: RANK[run.priority],
    cap: run.capNano === null ? 'inf' : String(run.capNano),
    ...(run.wrappedKey === null ? {} : { key: run.wrappedKey }),
    epoch: run.epoch,
    seq: run.seq,
    head: run.head,
    created_ms: run.createdMs,
    wake_seq: run.wakeSeq,
    status: run.status,
    ...(run.waitingFor === null ? {} : { reason: run.waitingFor }),
    ...(run.dueMs === null ? {} : { due_ms: run.dueMs }),
    ...(run.parkedMs === null ? {} : { parked_ms: run.parkedMs }),
    ...(run.abort === null ? {} : { abort: run.abort }),
    ...more,
    entries: run.entries.length,
    holds: run.holds.length,
  });

/** The arguments of both scripts: header, entries, holds, contents. */
export const loadArgs = (run: LoadableRun, more: object = {}): string[] => [
  headerOf(run, more),
  ...run.entries,
  ...holdArgs(run.holds),
  ...[...run.contents].flat(),
];
