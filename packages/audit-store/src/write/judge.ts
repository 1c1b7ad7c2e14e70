import {
  AdminEventDraft,
  adminChainOf,
  type AuditRecord,
  type Entry,
  type Event,
} from '@signalbox/contracts';
import { bodyOf, hashOf, hashMatches, readEntry } from '@signalbox/engine';
import { messageOf } from '@signalbox/runtime';

/** An entry that is what it claims to be. */
export interface GoodEntry {
  readonly record: AuditRecord;
  readonly entry: Entry;
  readonly event: Event;
}

export type BadReason = 'unreadable' | 'not_authentic' | 'wrong_run' | 'fork' | 'displaced';

/** An entry for the quarantine. `seq`: its position in the run, where that can be known. */
export interface BadEntry {
  readonly record: AuditRecord;
  readonly entry: Entry;
  readonly reason: BadReason;
  readonly detail: string;
  readonly seq: number | null;
}

export interface Judgement {
  readonly good: readonly GoodEntry[];
  /** Administration events that have no seq yet. */
  readonly admin: readonly AdminEventDraft[];
  readonly bad: readonly BadEntry[];
}

type Verdict = { event: Event } | { reason: BadReason; detail: string };

const judgeEntry = (record: AuditRecord, entry: Entry): Verdict => {
  if (!hashMatches(entry)) return { reason: 'not_authentic', detail: 'the hash does not match the body' };
  try {
    const event = readEntry(entry);
    if (event.run_id === record.runId) return { event };
    return { reason: 'wrong_run', detail: `the event names run ${event.run_id}` };
  } catch (error) {
    return { reason: 'unreadable', detail: messageOf(error) };
  }
};

/** `seq` as a broken entry states it. */
const claimedSeq = (record: AuditRecord, entry: Entry): number | null => {
  try {
    const body: unknown = JSON.parse(bodyOf(entry));
    if (typeof body !== 'object' || body === null || !('seq' in body) || !('run_id' in body)) return null;
    const { seq, run_id } = body;
    return run_id === record.runId && Number.isSafeInteger(seq) ? Number(seq) : null;
  } catch {
    return null;
  }
};

/** Everything judged so far: one list of each for a batch of thousands. */
interface Sorted extends Judgement {
  readonly good: GoodEntry[];
  readonly admin: AdminEventDraft[];
  readonly bad: BadEntry[];
}

const judgeDraft = (record: AuditRecord, text: string, { admin, bad }: Sorted): void => {
  const refuse = (reason: BadReason, detail: string): void => {
    bad.push({ record, entry: text, reason, detail, seq: null });
  };
  try {
    const draft = AdminEventDraft.parse(JSON.parse(text));
    if (draft.tenant_id !== record.tenantId || adminChainOf(draft.tenant_id) !== record.runId) {
      refuse('wrong_run', `the event names tenant ${draft.tenant_id}`);
    } else admin.push(draft);
  } catch (error) {
    refuse('unreadable', messageOf(error));
  }
};

const judgeEntries = (record: AuditRecord, { good, bad }: Sorted): void => {
  const verdicts = record.entries.map((entry) => ({ entry, verdict: judgeEntry(record, entry) }));
  // The entries of one commit follow each other, so one good entry gives all of them their seq.
  let first: number | null = null;
  for (const [index, { verdict }] of verdicts.entries()) {
    if ('event' in verdict) first ??= verdict.event.seq - index;
  }
  for (const [index, { entry, verdict }] of verdicts.entries()) {
    if ('event' in verdict) {
      good.push({ record, entry, event: verdict.event });
      continue;
    }
    const seq = first === null ? claimedSeq(record, entry) : first + index;
    bad.push({ record, entry, ...verdict, seq: seq !== null && seq > 0 ? seq : null });
  }
};

export const judge = (records: readonly AuditRecord[]): Judgement => {
  const sorted: Sorted = { good: [], admin: [], bad: [] };
  for (const record of records) {
    if (record.adminDraft === undefined) judgeEntries(record, sorted);
    else judgeDraft(record, record.adminDraft, sorted);
  }
  return sorted;
};

const HEX_HASH = /^[0-9a-f]{64}$/;

/** The hash an entry claims, which the next event's `prev` repeats; null when there is none. */
export const claimedHash = (entry: Entry): string | null => {
  const hash = hashOf(entry);
  return HEX_HASH.test(hash) ? hash : null;
};
