import { eraseRunContents } from '@signalbox/audit-store';
import { isTerminal, type Principal, type Run, SignalboxError } from '@signalbox/contracts';
import { eraseHot } from '@signalbox/run-state';
import { byKey, recordFacts } from '../audit/admin-trail.ts';
import type { ApiDeps } from '../deps.ts';
import { viewOf } from './run-view.ts';

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

/** Throws `not_found`, `run_live`, `legal_hold`; `state_unavailable`, `audit_store_unavailable`: repeat it. */
export const eraseRun = async (deps: ApiDeps, { principal, runId, reason }: ErasureOrder): Promise<Run> => {
  const { partition, db, runs } = deps;
  const { tenantId } = principal;
  const found = await runs.find(tenantId, runId);
  if (!isTerminal(viewOf(deps, found).status)) throw stillLive(runId);
  await eraseRunContents(db, tenantId, [runId], {
    note: (fresh) =>
      recordFacts(
        deps,
        byKey(principal),
        fresh.map((id) => ({ type: 'content.erased', data: { run_id: id, reason } })),
      ),
    elsewhere: (erased) => eraseHot(partition, erased),
  });
  return viewOf(deps, await runs.find(tenantId, runId));
};
