import type { ClientBase } from 'pg';

/**
 * What pg and our statements rely on, whatever a database or a role sets. In another style than ISO pg reads each time as
 * null: a revoked key is not revoked. Above read committed a transaction sees what was before it waited for a lock: a
 * verification misses the batch that it waited for. In another schema than public, such as one of the user's own name,
 * our functions do not find our tables.
 */
const SETTINGS = `
  set datestyle to iso;
  set default_transaction_isolation to 'read committed';
  set search_path to public`;

/** Once for each new connection. */
export const prepareSession = async (client: ClientBase): Promise<void> => {
  await client.query(SETTINGS);
};
