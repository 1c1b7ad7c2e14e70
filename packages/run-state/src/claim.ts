import { type Entry, SignalboxError } from '@signalbox/contracts';
import { z } from 'zod';
import { type Note, parseNotes } from './note.ts';
import type { Partition } from './partition.ts';
import { FlatMap, Text, Texts } from './reply.ts';
import { runScript } from './scripts.ts';

export interface ClaimRequest {
  readonly runId: string;
  /** Null: take the run in whatever ownerless state it is, to write its end (design §5, One writer). */
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
  /** When it last became runnable, epoch ms. */
  readonly queuedMs: number;
  readonly tenantId: string;
  readonly wrappedKey: string;
  readonly entries: readonly Entry[];
  readonly contents: ReadonlyMap<string, string>;
  readonly notes: readonly Note[];
}

export type ClaimOutcome =
  | { readonly type: 'claimed'; readonly run: Claimed }
  /** Nothing to do: another activation has it, had it, or will have it. */
  | { readonly type: 'refused'; readonly why: 'NOT_FOUND' | 'TERMINAL' | 'STALE' | 'LEASED' }
  /** The claimer's own lease has run out. */
  | { readonly type: 'no_lease' };

const Refused = z.enum(['NOT_FOUND', 'TERMINAL', 'STALE', 'LEASED']);

const Record = z.object({
  epoch: z.coerce.number().int(),
  wake_seq: z.coerce.number().int(),
  claims: z.coerce.number().int(),
  queued_ms: z.coerce.number().default(0),
  tenant: z.string(),
  key: z.string(),
});

const Claimable = z.tuple([z.literal('OK'), FlatMap, Texts, FlatMap, Texts]);

/** Becomes the owner of a run and reads all of it, in one round trip. Throws `state_unavailable`. */
export const claimRun = async (partition: Partition, request: ClaimRequest): Promise<ClaimOutcome> => {
  const reply = z
    .array(z.unknown())
    .parse(
      await runScript(partition, 'claim', [
        request.runId,
        request.wakeSeq ?? '',
        request.leaseId,
        request.token,
        request.leaseMs ?? 0,
      ]),
    );
  const code = Text.parse(reply[0]);
  if (code === 'NO_LEASE') return { type: 'no_lease' };
  if (code !== 'OK') return { type: 'refused', why: Refused.parse(code) };
  const [, fields, entries, contents, notes] = Claimable.parse(reply);
  const record = Record.safeParse(Object.fromEntries(fields));
  if (!record.success)
    throw new SignalboxError(
      'internal',
      `The record of ${request.runId} is damaged: ${record.error.message}`,
    );
  return {
    type: 'claimed',
    run: {
      runId: request.runId,
      leaseId: request.leaseId,
      epoch: record.data.epoch,
      wakeSeq: record.data.wake_seq,
      claims: record.data.claims,
      queuedMs: record.data.queued_ms,
      tenantId: record.data.tenant,
      wrappedKey: record.data.key,
      entries,
      contents,
      notes: parseNotes(notes),
    },
  };
};
