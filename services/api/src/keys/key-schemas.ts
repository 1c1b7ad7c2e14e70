import { ApiScope, Instant } from '@signalbox/contracts';
import { type Clock, wellFormed } from '@signalbox/runtime';
import { z } from 'zod';

/** API keys as requests and answers spell them. */

export const KeyRequest = z.strictObject({
  name: z.string().min(1).max(200).transform(wellFormed),
  scopes: z
    .array(ApiScope)
    .min(1)
    .refine((scopes) => new Set(scopes).size === scopes.length, 'expected each scope once'),
  expires_at: Instant.nullish(),
});

/** A key that never works is a mistake. */
export const keyRequest = (clock: Pick<Clock, 'now'>) =>
  KeyRequest.refine(({ expires_at: at }) => at === null || at === undefined || Date.parse(at) > clock.now(), {
    path: ['expires_at'],
    message: 'expected a time that is not past',
  });

export const KeyView = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(ApiScope),
  created_at: z.string(),
  expires_at: z.string().nullable(),
  revoked_at: z.string().nullable(),
});
export type KeyView = z.infer<typeof KeyView>;

export const NewKeyView = KeyView.extend({ secret: z.string() });
