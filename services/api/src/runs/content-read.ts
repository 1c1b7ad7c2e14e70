import type { AdminEventData, Principal } from '@signalbox/contracts';
import { byKey, recordFact, type TrailDeps } from '../audit/admin-trail.ts';

/** Who reads what was said in a run leaves a trace first (R9). Throws `state_unavailable`. */
export const noteContentRead = (
  deps: TrailDeps,
  principal: Principal,
  { runId, by }: { runId: string; by: AdminEventData<'content.read'>['by'] },
): Promise<void> => recordFact(deps, byKey(principal), { type: 'content.read', data: { run_id: runId, by } });
