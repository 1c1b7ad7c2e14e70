import type { IdempotencyMark, Json } from '@signalbox/contracts';
import { canonicalJson } from '@signalbox/engine';
import type { Keyring } from '@signalbox/runtime';

/** A request as its sender may repeat it. */
export interface IdempotentRequest {
  /** The route, the Idempotency-Key, and the index in a batch: one name per run. */
  readonly name: string;
  /** Whatever order its fields came in. */
  readonly body: Json;
}

/**
 * What the request is known again by, under each key of the keyring, the current first. HMACs: whoever reads Redis or
 * Postgres cannot try bodies against them, nor see that two requests had the same one (R13).
 */
export const idempotencyMarks = (
  keyring: Keyring,
  tenantId: string,
  { name, body }: IdempotentRequest,
): IdempotencyMark[] => {
  const key = JSON.stringify([tenantId, name]);
  const fingerprints = keyring.digests(`idempotent body ${key} ${canonicalJson(body)}`);
  return keyring
    .digests(`idempotency key ${key}`)
    .map((digest, i) => ({ key_digest: digest, fingerprint: fingerprints[i] ?? '' }));
};
