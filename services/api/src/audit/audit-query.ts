import type { AuditCursor, AuditFilter, AuditRow } from '@signalbox/audit-store';
import { CATEGORIES, Instant, utcOf } from '@signalbox/contracts';
import type { Redactor } from '@signalbox/engine';
import { wellFormed } from '@signalbox/runtime';
import { z } from 'zod';
import { fromCursor } from '../http/cursor.ts';
import { redactFact } from './redact-fact.ts';
import { invalidRequest } from '../http/validation.ts';

/** The audit log as requests and answers spell it. */

const label = z.string().min(1).max(300).optional();
const time = Instant.optional();

export const AuditPeriod = { run_id: label, from: time, to: time };

export const AuditFilters = {
  ...AuditPeriod,
  category: z.enum(CATEGORIES).optional(),
  actor: label,
  type: label,
};

interface Wanted {
  readonly run_id?: string | undefined;
  readonly category?: AuditFilter['category'];
  readonly actor?: string | undefined;
  readonly type?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

/** Throws `invalid_request` for a period that is none. */
export const filterOf = (tenantId: string, { run_id: runId, from, to, ...rest }: Wanted): AuditFilter => {
  if (from !== undefined && to !== undefined && Date.parse(from) > Date.parse(to)) {
    throw invalidRequest([{ path: 'to', message: 'expected a time that is not before from' }]);
  }
  return {
    tenantId,
    runId,
    from: from === undefined ? from : utcOf(from),
    to: to === undefined ? to : utcOf(to),
    ...rest,
  };
};

/** An event of the audit log. The hash is of the event as it was written, before this redaction. */
export const AuditEvent = z.object({
  event_id: z.string(),
  run_id: z.string(),
  seq: z.int(),
  epoch: z.int().nullable(),
  type: z.string(),
  category: z.enum(CATEGORIES),
  ts: z.string(),
  actor: z.unknown(),
  data: z.unknown(),
  refs: z.unknown(),
  prev: z.string().nullable(),
  hash: z.string(),
});

/** Who did what to a tenant is ours to say: no key of a provider hides it. */
export const viewOf = (redactor: Redactor, row: AuditRow): z.input<typeof AuditEvent> =>
  row.category === 'admin'
    ? { ...row, data: redactFact(redactor, row) }
    : { ...row, actor: redactor.json(row.actor), data: redactor.json(row.data) };

const MAX_SEQ = 2 ** 31 - 1;

/** Only what `textOf` can have made: the store reads nothing else. */
const Cursor = z.tuple([
  Instant.refine((ts) => utcOf(ts) === ts),
  z.string().refine((runId) => wellFormed(runId) === runId),
  z.int().min(1).max(MAX_SEQ),
]);

export const textOf = ({ ts, runId, seq }: AuditCursor): string => JSON.stringify([ts, runId, seq]);

const parse = (text: string, runId: string | undefined): z.infer<typeof Cursor> | null => {
  try {
    const found = Cursor.parse(JSON.parse(text));
    return runId === undefined || found[1] === runId ? found : null;
  } catch {
    return null;
  }
};

/**
 * Throws `invalid_request`, of the list of one run also for a cursor outside it: going on behind that would leave out
 * events.
 */
export const readCursor = (text: string, runId: string | undefined): AuditCursor | undefined => {
  const found = parse(
    fromCursor(text, (id) => parse(id, runId) !== null),
    runId,
  );
  return found === null ? undefined : { ts: found[0], runId: found[1], seq: found[2] };
};
