import type { Entry, TerminalStatus } from '@signalbox/contracts';
import { bodyOf } from '@signalbox/engine';
import type { EndedRun, Note } from '@signalbox/run-state';
import { z } from 'zod';

/** What is counted of a run that ended unread, read with as little as possible; see open-holds.ts. */

const Submitted = z.object({
  ts: z.string(),
  data: z.object({ agent: z.object({ name: z.string().nullable() }) }),
});

const submittedOf = (entry: Entry | undefined): z.infer<typeof Submitted> | undefined => {
  try {
    return Submitted.safeParse(JSON.parse(bodyOf(entry ?? ''))).data;
  } catch {
    return undefined;
  }
};

interface UnreadEnd {
  readonly status: TerminalStatus;
  readonly error: EndedRun['error'];
  readonly aborted: EndedRun['aborted'];
  /** Among them who asked it to stop. */
  readonly notes: readonly Note[];
}

/** Null: not even its first event can be read. */
export const endedUnread = (entries: readonly Entry[], { notes, ...end }: UnreadEnd): EndedRun | null => {
  const submitted = submittedOf(entries[0]);
  if (submitted === undefined) return null;
  const abort = notes.find((note) => note.type === 'abort') ?? null;
  return { ...end, submitted: submitted.data, createdAt: submitted.ts, abort };
};
