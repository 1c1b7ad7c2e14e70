import { type Entry, SignalboxError } from '@signalbox/contracts';
import { z } from 'zod';
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
  queued_ms: z.coerce.number().default(0),
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
  return {
    type: 'claimed',
    run: {
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
    },
  };
};
