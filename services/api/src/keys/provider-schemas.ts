import { LEAST_TENANT_SECRET } from '@signalbox/engine';
import { z } from 'zod';

/** Providers and their keys as requests and answers spell them. */

const LONGEST = 4096;
/** A key that is taken is taken out of texts too, and a shorter one could be any word of them. */
const SHORTEST = LEAST_TENANT_SECRET;

/** What a header can carry; a bridge's token may be long. */
export const ProviderKeyRequest = z.strictObject({
  key: z.string().regex(new RegExp(String.raw`^[\x21-\x7e]{${SHORTEST},${LONGEST}}$`)),
});

/** All that is said of a key that does not fit: nothing of it is repeated. */
export const KEY_SHAPE = `expected {"key": "..."} alone, ${SHORTEST} to ${LONGEST} visible ASCII characters without blanks`;

export const ProviderView = z.object({
  provider: z.string(),
  auth_mode: z.string(),
  default_model: z.string(),
  /** Whose key calls are made with: the tenant's own, or that of the environment. */
  key: z.enum(['none', 'env', 'vault']),
  /** Of the key that is used now. */
  last_ping: z
    .object({ at: z.string(), ok: z.boolean(), ms: z.int().min(0), error: z.string().optional() })
    .nullable(),
});
export type ProviderView = z.infer<typeof ProviderView>;
