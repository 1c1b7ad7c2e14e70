import { isDeepStrictEqual } from 'node:util';
import { categoryOf, type EventType, isAdminChain } from '@signalbox/contracts';
import { storableCopy } from '../db/json-param.ts';
import { eventIdOf } from '../write/run-heads.ts';

/** A row of audit_events beside the body that its columns were read from. */
export interface EventColumns {
  readonly run_id: string;
  readonly seq: number;
  readonly event_id: string;
  readonly tenant_id: string;
  readonly epoch: number | null;
  readonly type: string;
  readonly category: string;
  readonly ts: Date;
  readonly actor: unknown;
  readonly data: unknown;
  readonly refs: unknown;
  readonly prev: string | null;
}

interface Body extends Omit<EventColumns, 'tenant_id' | 'category' | 'ts'> {
  readonly ts: string;
}

const fields = (body: string): Body => JSON.parse(storableCopy(body) ?? body) as Body;

/** What stands in the columns of a spared event: the name of what lies in quarantine, and nothing else. */
const sparedColumns = (data: unknown): Pick<Body, 'actor' | 'data'> => ({
  actor: null,
  data:
    typeof data === 'object' && data !== null && 'quarantine_id' in data
      ? { quarantine_id: data.quarantine_id }
      : {},
});

/**
 * The first column that does not say what the body says; null when all do. The body is authentic by then. `spared`:
 * of an event whose record Postgres refused, actor and data were left out when it was stored, and a time that it does
 * not understand.
 */
export const strayColumn = (
  row: EventColumns,
  { body: text, tenantId, spared }: { body: string; tenantId: string; spared: boolean },
): string | null => {
  const body = fields(text);
  const isAdmin = isAdminChain(row.run_id);
  const { actor, data } = spared ? sparedColumns(row.data) : body;
  const expected: readonly (readonly [keyof EventColumns, unknown])[] = [
    ['tenant_id', tenantId],
    ['event_id', isAdmin ? body.event_id : eventIdOf(row)],
    ['type', body.type],
    ['category', isAdmin ? 'admin' : categoryOf(body.type as EventType)],
    ['epoch', body.epoch],
    ['prev', body.prev],
    ['refs', body.refs],
    ['actor', actor],
    ['data', data],
  ];
  const stray = expected.find(([column, value]) => !isDeepStrictEqual(row[column], value))?.[0];
  if (stray !== undefined) return stray;
  const time = Date.parse(body.ts);
  return row.ts.getTime() === time || (spared && Number.isNaN(time)) ? null : 'ts';
};
