import { type Entry, type IdempotencyMark, type Nano, type SealedContent } from '@signalbox/contracts';
import { IDEMPOTENCY_TTL_MS, keyReused } from './idempotency.ts';
import { RANK } from '../trust/loadable-run.ts';
import type { Partition } from '../redis/partition.ts';
import { refusedByPressure } from '../queue/pressure.ts';
import { type Activation, Activations, Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

export interface Submission {
  readonly runId: string;
  readonly tenantId: string;
  readonly userId: string | null;
  readonly agent: string | null;
  readonly rootRunId: string;
  readonly priority: 'high' | 'normal' | 'low';
  /** Null: the run tree has no cap of its own. */
  readonly capNano: Nano | null;
  readonly wrappedKey: string;
  /** Epoch milliseconds before which the run must not start. */
  readonly dueMs: number | null;
  /** Under each key of the keyring, the current first; empty without an Idempotency-Key. */
  readonly idempotency: readonly IdempotencyMark[];
  /** `run.submitted` and, of a fork, the steps it takes over. */
  readonly entries: readonly Entry[];
  readonly contents: readonly SealedContent[];
}

export type SubmitOutcome =
  | { readonly type: 'created'; readonly activations: readonly Activation[] }
  /** The same request came before (or this one again after a lost reply). */
  | { readonly type: 'exists'; readonly runId: string };

const headerOf = (submission: Submission, backlogLimit: number): string =>
  JSON.stringify({
    run: submission.runId,
    tenant: submission.tenantId,
    user: submission.userId ?? '',
    agent: submission.agent ?? '',
    root: submission.rootRunId,
    rank: RANK[submission.priority],
    cap: submission.capNano === null ? 'inf' : String(submission.capNano),
    key: submission.wrappedKey,
    ...(submission.dueMs === null ? {} : { due_ms: submission.dueMs }),
    idem: submission.idempotency,
    idem_ttl_ms: IDEMPOTENCY_TTL_MS,
    backlog_limit: backlogLimit,
    entries: submission.entries.length,
  });

/**
 * Creates a run. Throws `idempotency_mismatch`, `audit_backlog` (R9) or `state_unavailable`; then nothing was written.
 */
export const submitRun = async (
  partition: Partition,
  submission: Submission,
  { backlogLimit }: { backlogLimit: number },
): Promise<SubmitOutcome> => {
  const [code, detail = '', ...rest] = Texts.parse(
    await runScript(partition, 'submit', [
      headerOf(submission, backlogLimit),
      ...submission.entries,
      ...submission.contents.flat(),
    ]),
  );
  switch (code) {
    case 'CREATED':
      return { type: 'created', activations: Activations.parse(rest) };
    case 'EXISTS':
      return { type: 'exists', runId: detail };
    case 'MISMATCH':
      throw keyReused(detail);
    default:
      throw refusedByPressure({ backlog: Number(detail), limit: backlogLimit, share: Number(rest[0]) });
  }
};
