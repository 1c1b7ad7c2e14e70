import type { MiddlewareHandler } from 'hono';
import type { ApiEnv } from '../deps.ts';
import { invalidRequest } from './validation.ts';

const isDecodable = (address: string): boolean => {
  try {
    decodeURIComponent(address);
    return true;
  } catch {
    return false;
  }
};

/**
 * Percent signs that spell no UTF-8, as Latin-1's do, would stand for themselves: a cap for `M%FCller` would be that of a
 * user who is nobody, and Müller have none.
 */
export const refuseUndecodable: MiddlewareHandler<ApiEnv> = async ({ req }, next) => {
  if (req.url.includes('%') && !isDecodable(req.url)) {
    const message =
      'the address has percent signs that spell no UTF-8; encode it as UTF-8, and % itself as %25';
    throw invalidRequest([{ path: '', message }]);
  }
  await next();
};
