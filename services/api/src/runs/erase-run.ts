import { eraseRunContents } from '@signalbox/audit-store';
import { type Principal, type Run, SignalboxError } from '@signalbox/contracts';
import { eraseHot } from '@signalbox/run-state';
import { byKey, recordFacts } from '../audit/admin-trail.ts';
import type { ApiDeps } from '../deps.ts';
import { isEnd, lastTypeOf } from './entries.ts';

/**
 * Erases what was said in a run, in Redis and in Postgres, which remembers it and so keeps what is still in the audit
 * stream from coming back. The trail comes before the deed (R9), once. Retention does the same to what is due.
 */

export interface ErasureOrder {
  readonly principal: Principal;
  readonly runId: string;
  readonly reason: string | null;
}

const stillLive = (runId: string): SignalboxError =>
  new SignalboxError(
    'run_live',
    `Run ${runId} has not ended; nothing was erased. Abort it first: POST /v1/runs/${runId}/abort.`,
  );

/** The same problem, of a run whose contents are gone by now. */
const erasedBut = (error: SignalboxError): SignalboxError =>
  new SignalboxError(error.code, `What was said in the run is erased. ${error.message}`, { cause: error });

/**
 * Throws `not_found`, `run_live`, `legal_hold`; `journal_broken`, then it is erased and cannot be shown;
 * `state_unavailable`, `audit_store_unavailable`: repeat it.
 */
export const eraseRun = async (deps: ApiDeps, { principal, runId, reason }: ErasureOrder): Promise<Run> => {
  const { partition, db, runs, views } = deps;
  const { tenantId } = principal;
  const found = await runs.find(tenantId, runId, 'none');
  // Nothing follows the end (R7), so this holds of a journal with a gap too.
  if (!isEnd(lastTypeOf(found.entries))) throw stillLive(runId);
  await eraseRunContents(db, tenantId, [runId], {
    note: (fresh) =>
      recordFacts(
        deps,
        byKey(principal),
        fresh.map((id) => ({ type: 'content.erased', data: { run_id: id, reason } })),
      ),
    elsewhere: (erased) => eraseHot(partition, erased),
  });
  try {
    return (await views.show(tenantId, runId)).view;
  } catch (error) {
    throw error instanceof SignalboxError && error.code === 'journal_broken' ? erasedBut(error) : error;
  }
};
