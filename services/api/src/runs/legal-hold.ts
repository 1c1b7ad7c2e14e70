import { type LegalHold, type LegalHoldRef, liftLegalHold, saveLegalHold } from '@signalbox/audit-store';
import type { Principal } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { z } from '@hono/zod-openapi';
import { byKey, recordFact } from '../audit/admin-trail.ts';
import type { ApiDeps } from '../deps.ts';

/** Holds and lifts what must be kept. The trail comes before the deed (R9); what changes nothing leaves none. */

export const LegalHoldRequest = z.strictObject({
  held: z.boolean(),
  reason: z.string().max(1000).transform(wellFormed).nullish(),
});
export type LegalHoldRequest = z.infer<typeof LegalHoldRequest>;

export const LegalHoldView = z.object({
  /** Null: everything of the tenant. */
  run_id: z.string().nullable(),
  held: z.boolean(),
  reason: z.string().nullable(),
  since: z.string().nullable(),
});
export type LegalHoldView = z.infer<typeof LegalHoldView>;

/** Throws `state_unavailable`, `audit_store_unavailable`: repeat it. */
export const changeLegalHold = async (
  deps: ApiDeps,
  principal: Principal,
  { runId, wanted }: { readonly runId: string | null; readonly wanted: LegalHoldRequest },
): Promise<LegalHoldView> => {
  const ref: LegalHoldRef = { tenantId: principal.tenantId, runId };
  // It lies in the table of holds in clear (R13).
  const reason =
    wanted.reason === null || wanted.reason === undefined
      ? null
      : deps.redactorOf(principal.tenantId).text(wanted.reason);
  const watch = async (before: LegalHold | null): Promise<void> => {
    const changes = wanted.held ? before === null || before.reason !== reason : before !== null;
    if (!changes) return;
    const data = { run_id: runId, held: wanted.held, reason };
    await recordFact(deps, byKey(principal), { type: 'legal_hold.changed', data });
  };
  if (!wanted.held) {
    await liftLegalHold(deps.db, ref, watch);
    return { run_id: runId, held: false, reason: null, since: null };
  }
  const hold = await saveLegalHold(deps.db, ref, { reason, heldBy: principal.keyId }, watch);
  return { run_id: runId, held: true, reason: hold.reason, since: hold.since.toISOString() };
};
