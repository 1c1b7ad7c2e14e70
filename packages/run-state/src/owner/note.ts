import { type EventDraft, WaitReason } from '@signalbox/contracts';
import { z } from 'zod';

/** What somebody else left in a run's inbox; the owner's next commit makes it an event (R4). */
export const Note = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('woken'),
    reason: WaitReason,
    /** Epoch ms by the store's clock, when a timer was due. */
    at: z.number().optional(),
    /** Epoch ms since when the run waited: too long. */
    expired_since: z.number().optional(),
  }),
  z.object({
    type: z.literal('abort'),
    requested_at: z.string(),
    by: z.string(),
    reason: z.string().nullish(),
  }),
]);
export type Note = z.infer<typeof Note>;

/** What nobody of us wrote says only that something happened: its run looks again, rather than have no owner for ever. */
const UNREADABLE: Note = { type: 'woken', reason: 'timer' };

const parseNote = (text: string): Note => {
  try {
    return Note.parse(JSON.parse(text));
  } catch {
    return UNREADABLE;
  }
};

export const parseNotes = (notes: readonly string[]): Note[] => notes.map(parseNote);

const iso = (ms: number): string => new Date(ms).toISOString();

/** The event a note becomes. */
export const noteDraft = (note: Note): EventDraft => {
  if (note.type === 'woken') {
    const { reason, at, expired_since: since } = note;
    return {
      type: 'run.woken',
      data: {
        reason,
        ...(at === undefined ? {} : { at: iso(at) }),
        ...(since === undefined ? {} : { expired_since: iso(since) }),
      },
    };
  }
  return {
    type: 'run.abort_requested',
    data: { requested_at: note.requested_at, by: note.by, reason: note.reason ?? null },
    actor: { type: 'user', id: note.by },
  };
};
