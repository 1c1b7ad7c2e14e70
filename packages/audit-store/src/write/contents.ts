import type { AuditRecord } from '@signalbox/contracts';
import { sql } from 'kysely';
import { toJsonParam } from '../json-param.ts';
import type { Db } from '../pool.ts';

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
  const contents = records.flatMap(({ runId, contents }) =>
    contents.map(([ref, sealed]) => ({ run_id: runId, ref, sealed })),
  );
  if (contents.length > 0) {
    await sql`
      insert into contents (run_id, ref, sealed)
      select run_id, ref, decode(sealed, 'base64')
      from json_to_recordset(${toJsonParam(contents)}::json) as x (run_id text, ref text, sealed text)
      on conflict (run_id, ref) do nothing`.execute(db);
  }
};
