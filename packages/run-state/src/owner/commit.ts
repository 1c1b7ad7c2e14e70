import {
  CapScope,
  type Entry,
  type Hold,
  type Nano,
  type SealedContent,
  type TerminalStatus,
  type WaitReason,
} from '@signalbox/contracts';
import type { Head, ScopeRoom } from '@signalbox/engine';
import { type Note, parseNotes } from './note.ts';
import type { Partition } from '../redis/partition.ts';
import { type Activation, CommitCode, ReplyReader } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

export interface CommitSettlement {
  readonly holdId: string;
  readonly observedNano: Nano;
  /** Charged without knowing; a later settlement corrects it. */
  readonly expired: boolean;
}

export interface Results {
  readonly entries: readonly Entry[];
  readonly contents: readonly SealedContent[];
  readonly settlements: readonly CommitSettlement[];
  /** Inbox notes these entries turn into events, counted from the oldest. */
  readonly notes: number;
  /** True when a step got its result, so the run is no poison. */
  readonly progress: boolean;
}

/** What the run does once the announcement is written. */
export type After =
  | { readonly type: 'go' }
  /** `failed`: the activation broke, so the claim counts towards the poison limit. */
  | { readonly type: 'hand_over'; readonly failed: boolean }
  /** The worker could not open the run: that is noted (Claimed.unopened), and its claim does not count. */
  | { readonly type: 'hand_over'; readonly unopened: true }
  | { readonly type: 'finish'; readonly status: TerminalStatus }
  | {
      readonly type: 'park';
      readonly reason: WaitReason;
      /** The park happens only if no wake came since. */
      readonly wakeSeq: number;
      readonly dueMs: number | null;
      /** For `capacity`: the scope whose settlements wake the run, the amount it needs, the day it is for. */
      readonly capacity: { readonly scope: CapScope; readonly needNano: Nano; readonly day: string } | null;
      /** For `capacity` without a scope: it waits until Postgres has caught up (R9). */
      readonly pressure?: true;
    };

export interface Announcement {
  readonly entries: readonly Entry[];
  readonly contents: readonly SealedContent[];
  readonly hold: Hold | null;
  readonly after: After;
}

export interface Commit {
  readonly runId: string;
  readonly leaseId: string;
  readonly epoch: number;
  /** Where the writer believes the journal ends. */
  readonly head: Head;
  readonly results: Results | null;
  readonly announcement: Announcement | null;
}

export interface CommitReply {
  readonly code: CommitCode;
  /** Where the journal ends now. */
  readonly head: Head;
  readonly activations: readonly Activation[];
  /** All notes in the inbox. */
  readonly notes: readonly Note[];
  /** Of this moment, like the notes: what a park must name. */
  readonly wakeSeq: number;
  /** With DENIED: every capped scope. */
  readonly scopes: readonly ScopeRoom[];
  /** With CAP_MISSING: the scope without a cap. */
  readonly missing: CapScope | null;
}

const afterHeader = (after: After): object => {
  if (after.type === 'finish') return { after: 'finish', status: after.status };
  if (after.type === 'hand_over') return { ...after, after: 'hand_over' };
  if (after.type === 'go') return { after: 'go' };
  return {
    after: 'park',
    park: {
      reason: after.reason,
      wake_seq: after.wakeSeq,
      ...(after.dueMs === null ? {} : { due_ms: after.dueMs }),
      ...(after.pressure === true ? { pressure: true } : {}),
      ...(after.capacity === null
        ? {}
        : { scope: after.capacity.scope, need: after.capacity.needNano, day: after.capacity.day }),
    },
  };
};

const argsOf = ({ runId, leaseId, epoch, head, results, announcement }: Commit): string[] => {
  const resultContents = results?.contents.flat() ?? [];
  const hold = announcement?.hold ?? null;
  const header = {
    run: runId,
    lease: leaseId,
    epoch,
    seq: head.seq,
    head: head.hash,
    results: results?.entries.length ?? 0,
    announce: announcement?.entries.length ?? 0,
    result_contents: resultContents.length,
    settlements: (results?.settlements ?? []).map((s) => ({
      hold: s.holdId,
      observed: s.observedNano,
      expired: s.expired,
    })),
    notes: results?.notes ?? 0,
    progress: results?.progress ?? false,
    ...(hold === null ? {} : { hold: { id: hold.id, amount: hold.amount_nano, day: hold.day } }),
    ...afterHeader(announcement?.after ?? { type: 'go' }),
  };
  return [
    JSON.stringify(header),
    ...(results?.entries ?? []),
    ...(announcement?.entries ?? []),
    ...resultContents,
    ...(announcement?.contents.flat() ?? []),
  ];
};

const scopesOf = (flat: readonly string[]): ScopeRoom[] => {
  const scopes: ScopeRoom[] = [];
  for (let i = 0; i + 3 < flat.length; i += 4) {
    scopes.push({
      scope: CapScope.parse(flat[i]),
      capNano: Number(flat[i + 1]),
      spentNano: Number(flat[i + 2]),
      heldNano: Number(flat[i + 3]),
    });
  }
  return scopes;
};

/**
 * Writes results and announcement (see commit.lua for what each code means). Repeating the same commit
 * after an error is safe: what is already written is recognised. Throws `state_unavailable`.
 */
export const commitRun = async (partition: Partition, commit: Commit): Promise<CommitReply> => {
  const reply = new ReplyReader(await runScript(partition, 'commit', argsOf(commit)));
  const code = CommitCode.parse(reply.text(0));
  const denial = reply.texts(5);
  return {
    code,
    head: { seq: reply.integer(1), hash: reply.text(2) },
    activations: reply.activations(3),
    notes: parseNotes(reply.texts(4)),
    wakeSeq: reply.integer(6),
    scopes: code === 'DENIED' ? scopesOf(denial) : [],
    missing: code === 'CAP_MISSING' ? CapScope.parse(denial[0]) : null,
  };
};
