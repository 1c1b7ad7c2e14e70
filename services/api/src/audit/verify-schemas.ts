import { z } from 'zod';

/** Verification of the audit log as requests and answers spell it. */

export const VerifyRequest = z.strictObject({ run_id: z.string().min(1).max(300).optional() });

const count = z.int().min(0);

export const AuditVerdict = z.object({
  ok: z.boolean(),
  /** Events. */
  checked: count,
  quarantined: count,
  checkpoints: count,
  first_bad: z.object({ run_id: z.string(), seq: z.int(), why: z.string() }).optional(),
});
