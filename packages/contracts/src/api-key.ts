import { z } from 'zod';

export const API_SCOPES = [
  'runs:write',
  'runs:read',
  'content:read',
  'approvals:decide',
  'agents:write',
  'audit:read',
  'admin',
] as const;
export const ApiScope = z.enum(API_SCOPES);
export type ApiScope = z.infer<typeof ApiScope>;

/** Who is asking, once a key was recognised. `admin` holds every scope. */
export interface Principal {
  readonly keyId: string;
  readonly tenantId: string;
  /** Partition whose Redis holds everything of the tenant. */
  readonly partition: number;
  readonly scopes: readonly ApiScope[];
}

export const hasScope = (principal: Principal, scope: ApiScope): boolean =>
  principal.scopes.includes(scope) || principal.scopes.includes('admin');
