import { type Event, SignalboxError, type StoredRun } from '@signalbox/contracts';
import { fold, JournalError, readChain, readEntry, type RunState } from '@signalbox/engine';

const broken = (runId: string, cause: JournalError): SignalboxError =>
  new SignalboxError(
    'journal_broken',
    `An event of run ${runId} lies in quarantine, is missing or was changed, so what it did cannot be put together. Its other events are at /v1/runs/${runId}/events; POST /v1/audit/verify names the place.`,
    { cause },
  );

/** The events of a run that others are to be built on: each the one that was written. Throws `journal_broken`. */
export const unbrokenEvents = ({ runId, entries }: StoredRun): readonly Event[] => {
  const { events, broken: bad } = readChain(entries);
  if (bad !== null) throw broken(runId, new JournalError(`seq ${bad.seq}: ${bad.why}`));
  return events;
};

/** What the journal of a run says. Throws `journal_broken`. */
export const foldRun = (run: StoredRun, events: readonly Event[] = run.entries.map(readEntry)): RunState => {
  try {
    return fold(events);
  } catch (error) {
    throw error instanceof JournalError ? broken(run.runId, error) : error;
  }
};
