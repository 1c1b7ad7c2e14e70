import { type Entry, SignalboxError, TERMINAL_STATUSES } from '@signalbox/contracts';
import { hashOf } from '@signalbox/engine';
import { z } from 'zod';
import { commitRun } from './commit.ts';
import { type Note, parseNotes } from './note.ts';
import type { Partition } from '../redis/partition.ts';
import { ReplyReader } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

export interface ClaimRequest {
  readonly runId: string;
  /** Null: take the run in whatever ownerless state it is, to write its end (One writer). */
  readonly wakeSeq: number | null;
  readonly leaseId: string;
  /** Unique to this claim: a resend finds its own. */
  readonly token: string;
  /** Open a lease for this claim alone. */
  readonly leaseMs?: number;
}

export interface Claimed {
  readonly runId: string;
  readonly leaseId: string;
  readonly epoch: number;
  readonly wakeSeq: number;
  /** Claims since the last step that got a result, this one included. */
  readonly claims: number;
  /** Who could not open it since it was last worked on: since when, and up to three different leases. */
  readonly unopened: { readonly sinceMs: number; readonly leases: readonly string[] } | null;
  /** When it last became runnable, epoch ms. */
  readonly queuedMs: number;
  readonly tenantId: string;
  readonly wrappedKey: string;
  readonly entries: readonly Entry[];
  readonly contents: ReadonlyMap<string, string>;
  readonly notes: readonly Note[];
}

const Refused = z.enum(['NOT_FOUND', 'TERMINAL', 'STALE', 'LOADING', 'LEASED', 'PRESSURE']);
type Refused = z.infer<typeof Refused>;

export type ClaimOutcome =
  | { readonly type: 'claimed'; readonly run: Claimed }
  /** Nothing to do: another activation has it, had it, or will have it (LOADING: once it is back from Postgres). */
  | { readonly type: 'refused'; readonly why: Refused }
  /** The claimer's own lease has run out. */
  | { readonly type: 'no_lease' };

const Record = z.object({
  epoch: z.coerce.number().int(),
  wake_seq: z.coerce.number().int(),
  claims: z.coerce.number().int(),
  // Only a metric goes by it.
  queued_ms: z.coerce.number().catch(0),
  tenant: z.string(),
  // Without one it is a run that cannot be opened.
  key: z.string().default(''),
  unopened: z
    .string()
    .transform((noted) => noted.split(' '))
    .transform(([since, ...leases]) => ({ sinceMs: Number(since), leases }))
    .nullable()
    .default(null),
});

/**
 * The journal has the end and the record has not: the script that wrote it broke behind the journal (strange.lua).
 * Nothing may follow it (R7), so the rest of that write is done again. False: the run goes on.
 */
const isEnded = async (
  partition: Partition,
  { runId, leaseId, epoch, entries }: Claimed,
): Promise<boolean> => {
  const last = entries.at(-1) ?? '';
  // No text within an event has its quotes unescaped.
  const status = TERMINAL_STATUSES.find((end) => last.includes(`"type":"run.${end}"`));
  if (status === undefined) return false;
  const after = { type: 'finish', status } as const;
  const head = { seq: entries.length, hash: hashOf(last) };
  const announcement = { entries: [], contents: [], hold: null, after };
  await commitRun(partition, { runId, leaseId, epoch, head, results: null, announcement });
  return true;
};

/** Becomes the owner of a run and reads all of it, in one round trip. Throws `state_unavailable`. */
export const claimRun = async (partition: Partition, request: ClaimRequest): Promise<ClaimOutcome> => {
  const { runId, wakeSeq, leaseId, token, leaseMs = 0 } = request;
  const reply = new ReplyReader(
    await runScript(partition, 'claim', [runId, wakeSeq ?? '', leaseId, token, leaseMs]),
  );
  const code = reply.text(0);
  if (code === 'NO_LEASE') return { type: 'no_lease' };
  if (code !== 'OK') return { type: 'refused', why: Refused.parse(code) };
  const record = Record.safeParse(Object.fromEntries(reply.map(1)));
  if (!record.success)
    throw new SignalboxError('internal', `The record of ${runId} is damaged: ${record.error.message}`);
  const run: Claimed = {
    runId,
    leaseId,
    epoch: record.data.epoch,
    wakeSeq: record.data.wake_seq,
    claims: record.data.claims,
    unopened: record.data.unopened,
    queuedMs: record.data.queued_ms,
    tenantId: record.data.tenant,
    wrappedKey: record.data.key,
    entries: reply.texts(2),
    contents: reply.map(3),
    notes: parseNotes(reply.texts(4)),
  };
  return (await isEnded(partition, run)) ? { type: 'refused', why: 'TERMINAL' } : { type: 'claimed', run };
};
