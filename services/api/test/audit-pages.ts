/** The audit log as a client reads it. */
import assert from 'node:assert/strict';
import type { Harness } from './harness.ts';

export interface AuditEvent {
  readonly event_id: string;
  readonly run_id: string;
  readonly seq: number;
  readonly type: string;
  readonly category: string;
  readonly ts: string;
  readonly actor: { type: string; id: string };
  readonly data: Record<string, unknown>;
}

interface Page {
  readonly data: AuditEvent[];
  readonly next_cursor: string | null;
}

interface Line {
  readonly chain: string;
  readonly run_id: string;
  readonly seq: number;
  readonly hash: string;
  readonly body: string;
}

export const page = async (h: Harness, query: string, key?: string): Promise<Page> => {
  const response = await h.call('GET', `/v1/audit${query}`, key === undefined ? {} : { key });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as Page;
};

export const all = async (h: Harness, query: string, key?: string): Promise<AuditEvent[]> => {
  const events: AuditEvent[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const next: Page = await page(h, `?limit=3${query}${cursor === '' ? '' : `&cursor=${cursor}`}`, key);
    events.push(...next.data);
    cursor = next.next_cursor;
  }
  return events;
};

export const exported = async (
  h: Harness,
  query: string,
  key: string,
): Promise<{ lines: Line[]; end: unknown }> => {
  const response = await h.call('GET', `/v1/audit/export${query}`, { key });
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
  const lines = (await response.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  return { end: lines.pop(), lines };
};
