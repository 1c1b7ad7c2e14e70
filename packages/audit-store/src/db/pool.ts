import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { prepareSession } from './session.ts';
import { storeError, unavailable } from './store-errors.ts';
import type { Tables } from './tables.ts';

/** A pool of connections, or a transaction of one. `destroy()` closes a pool. */
export type Db = Kysely<Tables>;

const SECOND = 1000;

/** pg's own defaults are all "no limit". The client's timeout stands above the server's, which cancels. */
const LIMITS = {
  api: {
    max: 10,
    statement_timeout: 5 * SECOND,
    query_timeout: 6 * SECOND,
    lock_timeout: 2 * SECOND,
    idle_in_transaction_session_timeout: 10 * SECOND,
  },
  // A writer frozen within a batch keeps its runs locked for no longer than it keeps the lead.
  writer: {
    max: 3,
    statement_timeout: 30 * SECOND,
    query_timeout: 35 * SECOND,
    lock_timeout: 15 * SECOND,
    idle_in_transaction_session_timeout: 10 * SECOND,
  },
  scheduler: {
    max: 4,
    statement_timeout: 30 * SECOND,
    query_timeout: 35 * SECOND,
    lock_timeout: 10 * SECOND,
    idle_in_transaction_session_timeout: 60 * SECOND,
  },
} as const;

export interface PoolOptions {
  readonly databaseUrl: string;
  readonly role: keyof typeof LIMITS;
  /** For a connection, be it a new one or one that others use; default 2 s. */
  readonly connectTimeoutMs?: number;
  /** An idle connection broke; the pool replaces it by itself. */
  readonly onError?: (error: Error) => void;
}

const OID = { int8: 20, date: 1082 } as const;

/** int8 as number: all of ours stay below 2^53 (`MAX_NANO`). date as `YYYY-MM-DD`, which is no instant. */
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') => {
    if (oid === OID.int8) return Number;
    if (oid === OID.date) return (text: string) => text;
    return pg.types.getTypeParser(oid, format);
  }) as typeof pg.types.getTypeParser,
};

/** The pool waits for what it returns, which its types do not say. */
const HOOKS = { onConnect: prepareSession };

/** What pg says when `query_timeout` is over. */
const LATE = 'Query read timeout';

/**
 * Closes a connection whose answer did not come in time: pg leaves its query open, so all that are sent on it later
 * wait behind that one, and the pool would give it to the next who asks.
 */
const closeWhenLate = (client: pg.PoolClient): void => {
  const send = client.query.bind(client) as (...args: readonly unknown[]) => Promise<unknown>;
  const query = async (...args: readonly unknown[]): Promise<unknown> => {
    try {
      return await send(...args);
    } catch (error) {
      const isLate = error instanceof Error && error.message === LATE;
      if (isLate) void (client as unknown as pg.Client).end().catch(() => undefined);
      throw error;
    }
  };
  client.query = query as typeof client.query;
};

export const createPool = (options: PoolOptions): Db => {
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    application_name: `signalbox-${options.role}`,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 2 * SECOND,
    idleTimeoutMillis: 30 * SECOND,
    maxLifetimeSeconds: 1800,
    keepAlive: true,
    types,
    ...HOOKS,
    ...LIMITS[options.role],
  });
  // Without listeners a broken connection would end the process: the pool's is for idle ones; of those
  // in use the running or next query tells.
  pool.on('error', (error) => options.onError?.(error));
  pool.on('connect', (client) => {
    client.on('error', () => undefined);
    closeWhenLate(client);
  });
  // Whatever keeps a connection from being made, such as a database that is not restored yet or a certificate that has
  // expired.
  const connecting = () =>
    pool.connect().catch((error: unknown) => {
      throw unavailable(error);
    });
  const dialect = new PostgresDialect({
    pool: { connect: connecting, end: () => pool.end(), options: pool.options },
  });
  return new Kysely<Tables>({ dialect });
};

/** Resolves when Postgres answers; else throws `audit_store_unavailable`. */
export const ping = async (db: Db): Promise<void> => {
  try {
    await sql`select 1`.execute(db);
  } catch (error) {
    throw storeError(error);
  }
};
