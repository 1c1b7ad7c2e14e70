import type { AuditRecord } from '@signalbox/contracts';
import { sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';

/** A sealed content as a slice of the bytes of all; as text when it is not the base64 it should be. */
type ContentRow = { readonly run_id: string; readonly ref: string } & (
  | { readonly at: number; readonly length: number }
  | { readonly text: string }
);

/** How many bytes a text stands for, if it is base64 as we write it. */
const sizeOf = (text: string): number => {
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  return Math.ceil((text.length / 4) * 3) - padding;
};

/** Node decodes any text: what it skips or ends at makes the bytes too few, and it takes the alphabet of URLs too. */
const isWhole = (text: string, written: number): boolean =>
  text.length % 4 === 0 && written === sizeOf(text) && !text.includes('-') && !text.includes('_');

/** In one binary parameter: as text in JSON Postgres would read each content three times to store it. */
const packed = (
  records: readonly AuditRecord[],
): { readonly rows: readonly ContentRow[]; readonly bytes: Buffer } => {
  const all = records.flatMap(({ runId, contents }) =>
    contents.map(([ref, text]) => ({ run_id: runId, ref, text })),
  );
  const bytes = Buffer.allocUnsafe(all.reduce((sum, { text }) => sum + sizeOf(text), 0));
  let end = 0;
  const rows = all.map(({ run_id, ref, text }): ContentRow => {
    const length = bytes.write(text, end, 'base64');
    // What is no base64 is left out of the bytes; Postgres refuses it.
    if (!isWhole(text, length)) return { run_id, ref, text };
    end += length;
    // Postgres counts from 1.
    return { run_id, ref, at: end - length + 1, length };
  });
  return { rows, bytes: bytes.subarray(0, end) };
};

/**
 * Stores the sealed contents and wrapped keys of records. Called only with records of which an event
 * was new: a late redelivery must not bring back a key that was erased.
 */
export const insertContents = async (db: Db, records: readonly AuditRecord[]): Promise<void> => {
  const keys = records.flatMap(({ runId, wrappedKey }) =>
    wrappedKey === null ? [] : [{ run_id: runId, wrapped_key: wrappedKey }],
  );
  if (keys.length > 0) {
    await sql`
      insert into run_keys (run_id, wrapped_key)
      select run_id, wrapped_key
      from json_to_recordset(${toJsonParam(keys)}::json) as x (run_id text, wrapped_key text)
      order by run_id
      on conflict (run_id) do nothing`.execute(db);
  }
  const { rows, bytes } = packed(records);
  if (rows.length > 0) {
    await sql`
      insert into contents (run_id, ref, sealed)
      select run_id, ref, coalesce(decode(text, 'base64'), substring(${bytes}::bytea from at for length))
      from json_to_recordset(${toJsonParam(rows)}::json)
        as x (run_id text, ref text, text text, at int, length int)
      on conflict (run_id, ref) do nothing`.execute(db);
  }
};
