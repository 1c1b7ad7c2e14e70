import { type EventDraft, WaitReason } from '@signalbox/contracts';
import { z } from 'zod';

/** What somebody else left in a run's inbox; the owner's next commit makes it an event (R4). */
export const Note = z.discriminatedUnion('type', [
  z.object({ type: z.literal('woken'), reason: WaitReason }),
  z.object({
    type: z.literal('abort'),
    requested_at: z.string(),
    by: z.string(),
    reason: z.string().nullish(),
  }),
]);
export type Note = z.infer<typeof Note>;

export const parseNotes = (notes: readonly string[]): Note[] =>
  notes.map((note) => Note.parse(JSON.parse(note)));

/** The event a note becomes. */
export const noteDraft = (note: Note): EventDraft =>
  note.type === 'woken'
    ? { type: 'run.woken', data: { reason: note.reason } }
    : {
        type: 'run.abort_requested',
        data: { requested_at: note.requested_at, by: note.by, reason: note.reason ?? null },
        actor: { type: 'user', id: note.by },
      };
