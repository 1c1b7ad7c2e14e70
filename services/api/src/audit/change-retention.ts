import { changeRetention } from '@signalbox/audit-store';
import type { Principal, Retention, RetentionRequest } from '@signalbox/contracts';
import { byKey, recordFact } from './admin-trail.ts';
import type { ApiDeps } from '../deps.ts';
import { invalidRequest } from '../http/validation.ts';

/** Changes how long a tenant's runs are kept. The trail comes before the deed (R9); what changes nothing leaves none. */
const merge = (before: Retention, wanted: RetentionRequest): Retention => {
  const { content_days = before.content_days, event_days = before.event_days } = wanted;
  if (content_days !== null && event_days !== null && content_days > event_days) {
    const message = `expected at most event_days (${event_days}): contents are not kept longer than the events that name them`;
    throw invalidRequest([{ path: 'content_days', message }]);
  }
  return { content_days, event_days };
};

/** Throws `invalid_request`; `state_unavailable`, `audit_store_unavailable`: repeat it. */
export const changeTenantRetention = (
  deps: ApiDeps,
  principal: Principal,
  wanted: RetentionRequest,
): Promise<Retention> =>
  changeRetention(deps.db, { tenantId: principal.tenantId, by: principal.keyId }, async (before) => {
    const after = merge(before, wanted);
    if (after.content_days !== before.content_days || after.event_days !== before.event_days) {
      await recordFact(deps, byKey(principal), { type: 'retention.changed', data: { before, after } });
    }
    return after;
  });
