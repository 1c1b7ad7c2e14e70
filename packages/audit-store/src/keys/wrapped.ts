/**
 * What the keyring wraps here: the keys of runs, and with theirs agent specs, provider keys and what replays try. Text
 * begins with the id of the key that wrapped it. A replacement names the text it replaces, so it changes nothing that
 * was erased or replaced meanwhile.
 */
import { sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

export interface WrappedRunKey {
  readonly runId: string;
  readonly wrapped: string;
}

export interface WrappedProviderKey {
  readonly tenantId: string;
  readonly provider: string;
  readonly wrapped: string;
}

export interface WrappedSpec {
  readonly tenantId: string;
  readonly name: string;
  readonly version: number;
  readonly wrapped: string;
}

/** Of a replay job that has not ended. */
export interface WrappedReplay {
  readonly replayId: string;
  readonly wrapped: string;
}

/** An item of the listed ones, and what it is to become. */
export type Rewrapped<T> = T & { readonly next: string };

interface Page<T> {
  readonly keyId: string;
  /** Null: the first. */
  readonly after: T | null;
  readonly limit: number;
}

/** Keys of runs that are not wrapped by `keyId`, by run. Throws `audit_store_unavailable`. */
export const listRunKeysNotUnder = (
  db: Db,
  { keyId, after, limit }: Page<WrappedRunKey>,
): Promise<WrappedRunKey[]> =>
  reaching(async () => {
    const { rows } = await sql<WrappedRunKey>`
      select run_id as "runId", wrapped_key as wrapped from run_keys
      where run_id > ${after?.runId ?? ''} and split_part(wrapped_key, '.', 1) <> ${keyId}
      order by run_id limit ${limit}`.execute(db);
    return rows;
  });

/** Agent versions whose spec is not wrapped by `keyId`. Throws `audit_store_unavailable`. */
export const listSpecsNotUnder = (
  db: Db,
  { keyId, after, limit }: Page<WrappedSpec>,
): Promise<WrappedSpec[]> =>
  reaching(async () => {
    const { rows } = await sql<WrappedSpec>`
      select tenant_id as "tenantId", name, version, sealed_spec as wrapped from agent_versions
      where (tenant_id, name, version) > (${after?.tenantId ?? ''}, ${after?.name ?? ''}, ${after?.version ?? 0})
        and split_part(sealed_spec, '.', 1) <> ${keyId}
      order by tenant_id, name, version limit ${limit}`.execute(db);
    return rows;
  });

/** Provider keys that are not wrapped by `keyId`. Throws `audit_store_unavailable`. */
export const listProviderKeysNotUnder = (
  db: Db,
  { keyId, after, limit }: Page<WrappedProviderKey>,
): Promise<WrappedProviderKey[]> =>
  reaching(async () => {
    const { rows } = await sql<WrappedProviderKey>`
      select tenant_id as "tenantId", provider, sealed_key as wrapped from provider_keys
      where (tenant_id, provider) > (${after?.tenantId ?? ''}, ${after?.provider ?? ''})
        and split_part(sealed_key, '.', 1) <> ${keyId}
      order by tenant_id, provider limit ${limit}`.execute(db);
    return rows;
  });

/** Open replay jobs whose changes are not wrapped by `keyId`. Throws `audit_store_unavailable`. */
export const listReplaysNotUnder = (
  db: Db,
  { keyId, after, limit }: Page<WrappedReplay>,
): Promise<WrappedReplay[]> =>
  reaching(async () => {
    const { rows } = await sql<WrappedReplay>`
      select id as "replayId", sealed_changes as wrapped from replays
      where id > ${after?.replayId ?? ''} and split_part(sealed_changes, '.', 1) <> ${keyId}
      order by id limit ${limit}`.execute(db);
    return rows;
  });

/** Answers how many were still what they were. Throws `audit_store_unavailable`. */
export const replaceRunKeys = (db: Db, keys: readonly Rewrapped<WrappedRunKey>[]): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql`
      update run_keys k set wrapped_key = x.next
      from json_to_recordset(${toJsonParam(keys)}::json) as x ("runId" text, wrapped text, next text)
      where k.run_id = x."runId" collate "C" and k.wrapped_key = x.wrapped returning k.run_id`.execute(db);
    return rows.length;
  });

/** Like `replaceRunKeys`. */
export const replaceSpecs = (db: Db, specs: readonly Rewrapped<WrappedSpec>[]): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql`
      update agent_versions a set sealed_spec = x.next
      from json_to_recordset(${toJsonParam(specs)}::json)
        as x ("tenantId" text, name text, version int, wrapped text, next text)
      where a.tenant_id = x."tenantId" and a.name = x.name collate "C" and a.version = x.version
        and a.sealed_spec = x.wrapped returning a.version`.execute(db);
    return rows.length;
  });

/** Like `replaceRunKeys`. */
export const rewrapProviderKeys = (db: Db, keys: readonly Rewrapped<WrappedProviderKey>[]): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql`
      update provider_keys k set sealed_key = x.next
      from json_to_recordset(${toJsonParam(keys)}::json)
        as x ("tenantId" text, provider text, wrapped text, next text)
      where k.tenant_id = x."tenantId" and k.provider = x.provider and k.sealed_key = x.wrapped
      returning k.provider`.execute(db);
    return rows.length;
  });

/** Like `replaceRunKeys`. */
export const replaceReplays = (db: Db, replays: readonly Rewrapped<WrappedReplay>[]): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql`
      update replays r set sealed_changes = x.next
      from json_to_recordset(${toJsonParam(replays)}::json) as x ("replayId" text, wrapped text, next text)
      where r.id = x."replayId" collate "C" and r.sealed_changes = x.wrapped returning r.id`.execute(db);
    return rows.length;
  });

/** By id of the wrapping key: how much it wraps here. Throws `audit_store_unavailable`. */
export const countWrapped = (db: Db): Promise<ReadonlyMap<string, number>> =>
  reaching(async () => {
    const { rows } = await sql<{ key_id: string; wrapped: number }>`
      select key_id, count(*) as wrapped from (
        select split_part(wrapped_key, '.', 1) as key_id from run_keys
        union all select split_part(sealed_spec, '.', 1) from agent_versions
        union all select split_part(sealed_key, '.', 1) from provider_keys
        union all select split_part(sealed_changes, '.', 1) from replays where sealed_changes is not null
      ) all_wrapped group by key_id`.execute(db);
    return new Map(rows.map(({ key_id, wrapped }) => [key_id, wrapped]));
  });
