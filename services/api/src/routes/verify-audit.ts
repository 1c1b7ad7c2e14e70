import { createRoute } from '@hono/zod-openapi';
import { verifyAudit as verifyStored } from '@signalbox/audit-store';
import { SignalboxError } from '@signalbox/contracts';
import { byKey, recordFact } from '../audit/admin-trail.ts';
import { STORED_WITHIN_SECONDS, untilStored } from '../audit/until-stored.ts';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { readOptionalBody } from '../http/validation.ts';
import { VerifyRequest } from '../audit/verify-schemas.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/audit/verify',
  tags: ['audit'],
  summary: 'Checks that nothing in the audit log was changed, removed or added.',
  description: [
    'All chains of the tenant, or that of one run (or administration chain): the hash of each event, its place, the link to the one before, the columns beside the text that was hashed, whose it is, where the chain ends, that it is signed or marked to be, and the signed checkpoints; and that there is no event without a run. Then what reports are made of, against the events: the row of each run that has ended, its calls in the ledger, and what each day cost. first_bad is the first place that does not fit; in checkpoints its run_id is "checkpoints" and seq the number of the checkpoint, in the costs of a day its run_id is "daily_costs" and seq 0. quarantined counts events that were refused when they were stored: those have their place and hash.',
    `A run that is named is verified as far as it has come: what is not stored yet is waited for, for ${STORED_WITHIN_SECONDS} s at most; when by then nothing of it is stored, the answer is 503 audit_behind.`,
    'This is the word of the system about itself. To prove it to somebody else, verify an export with the checkpoint file and a public key that did not come from here: node packages/audit-store/src/verify-export.ts.',
    'What cannot be found: what happened after the last checkpoint, when its events were removed or made anew together with the row of the run (checkpoints are written each minute); events that were forged, in order, behind the last checkpoint; checkpoints removed here, if nobody compares with the file; anything by who holds the signing key and can write both Postgres and the file; a run that is older than 183 days and whose month left by retention; contents that were erased. Each verification is written into the audit log.',
  ].join(' '),
  request: { body: { required: false, content: jsonOf('VerifyRequest') } },
  responses: { 200: answers('AuditVerdict', 'Whether all is as it was written.'), ...PROBLEMS },
});

export const verifyAudit: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const { run_id = null } = await readOptionalBody(c, VerifyRequest);
    const { tenantId } = principal;
    const verdict = await deps.storeShare.take(tenantId, 'verify', async () => {
      if (run_id !== null) await untilStored(deps, { tenantId, runId: run_id });
      return verifyStored(deps.db, tenantId, run_id);
    });
    if (verdict === null) throw new SignalboxError('not_found', `There is no run ${run_id}.`);
    const { ok, checked, first_bad } = verdict;
    await recordFact(deps, byKey(principal), {
      type: 'chain.verified',
      data: { run_id, ok, checked, first_bad },
    });
    const { first_bad: _, ...counts } = verdict;
    return c.json(first_bad === null ? counts : { ...counts, first_bad }, 200);
  });
};
