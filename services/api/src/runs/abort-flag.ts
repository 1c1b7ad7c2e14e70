import type { Principal } from '@signalbox/contracts';
import type { RedactorOf } from '@signalbox/engine';
import type { AbortFlag } from '@signalbox/run-state';
import { type Clock, wellFormed } from '@signalbox/runtime';
import { z } from 'zod';

/** Why a run is to stop. */
export const AbortRequest = z.strictObject({ reason: z.string().max(1000).nullish() });

/** Who asks to stop, when and why. The reason goes into the journal in clear, so secrets in it do not (R13). */
export const abortFlag = (
  { clock, redactorOf }: { readonly clock: Clock; readonly redactorOf: RedactorOf },
  { keyId, tenantId }: Principal,
  reason: string | null | undefined,
): AbortFlag => ({
  requested_at: new Date(clock.now()).toISOString(),
  by: keyId,
  reason: reason === null || reason === undefined ? null : redactorOf(tenantId).text(wellFormed(reason)),
});
