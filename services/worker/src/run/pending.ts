import type { Entry, SealedContent } from '@signalbox/contracts';
import type { CommitSettlement } from '@signalbox/run-state';

/** Results that are recorded and not written yet. */
export interface Pending {
  entries: Entry[];
  contents: SealedContent[];
  settlements: CommitSettlement[];
  notes: number;
  progress: boolean;
  onWritten: (() => void)[];
}

export const nothingPending = (): Pending => ({
  entries: [],
  contents: [],
  settlements: [],
  notes: 0,
  progress: false,
  onWritten: [],
});

export const joined = (first: Pending, then: Pending): Pending => ({
  entries: [...first.entries, ...then.entries],
  contents: [...first.contents, ...then.contents],
  settlements: [...first.settlements, ...then.settlements],
  notes: first.notes + then.notes,
  progress: first.progress || then.progress,
  onWritten: [...first.onWritten, ...then.onWritten],
});
