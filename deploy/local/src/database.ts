import { Client, DatabaseError } from 'pg';

export interface CreateDatabaseOptions {
  /** Accept one that exists already, as it is. Default: that is an error. */
  readonly ifMissing?: boolean;
  /** The name of a database to copy as it is now; its connections are closed. Default: an empty one. */
  readonly copyOf?: string;
}

const DUPLICATE_DATABASE = '42P04';

const isDuplicate = (error: unknown): boolean =>
  error instanceof DatabaseError && error.code === DUPLICATE_DATABASE;

/** Creates a database on the server of `serverUrl` (any database of it) and returns the new one's URL. */
export async function createDatabase(
  serverUrl: string,
  name: string,
  options: CreateDatabaseOptions = {},
): Promise<string> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    const { copyOf } = options;
    // Nobody may be connected to what is copied.
    const close = 'select pg_terminate_backend(pid) from pg_stat_activity where datname = $1';
    if (copyOf !== undefined) await client.query(close, [copyOf]);
    // template0: unlike template1, nobody can be connected to it.
    const template = client.escapeIdentifier(copyOf ?? 'template0');
    await client.query(`create database ${client.escapeIdentifier(name)} template ${template}`);
  } catch (error) {
    if (!(options.ifMissing === true && isDuplicate(error))) throw error;
  } finally {
    await client.end();
  }
  const url = new URL(serverUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  return url.href;
}
