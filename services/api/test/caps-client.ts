/** Caps over HTTP, for tenants of their own. */
import assert from 'node:assert/strict';
import type { CallOptions, Harness } from './harness.ts';

export type View = Record<string, unknown> & {
  month: Record<string, unknown>;
  resets_at: string;
  day: string;
};

export const TENANT = '/v1/caps/tenant';
export const userPath = (id: string): string => `/v1/caps/users/${encodeURIComponent(id)}`;

export const today = (): string => new Date().toISOString().slice(0, 10);
export const nextMidnight = (): string =>
  new Date(Math.ceil(Date.now() / 86_400_000) * 86_400_000).toISOString();

/** A test file names its harness before there is one, hence the function. */
export const capsClient = (harness: () => Harness) => {
  const read = async (path: string, options: CallOptions = {}): Promise<View> => {
    const response = await harness().call('GET', path, options);
    assert.equal(response.status, 200);
    return (await response.json()) as View;
  };

  const put = async (path: string, json: object, options: CallOptions = {}): Promise<View> => {
    const response = await harness().call('PUT', path, { ...options, json });
    const view = (await response.json()) as View;
    assert.equal(response.status, 200, JSON.stringify(view));
    return view;
  };

  let made = 0;
  /** A tenant of its own, with its administrator's key. */
  const newTenant = async (): Promise<{ tenantId: string; options: { key: string } }> => {
    const tenantId = `caps-${(made += 1)}`;
    return { tenantId, options: { key: await harness().key(tenantId, ['admin']) } };
  };

  return { read, put, newTenant };
};
