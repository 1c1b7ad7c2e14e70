/**
 * The databases that a run of the tests makes, on a server that may be the user's: each has its run in its name, and
 * the run shows by the name of a connection that it goes on. So whoever comes later drops what is surely of a run that
 * was killed, and nothing else.
 */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';

const MADE = /^(signalbox_test_[0-9a-f]{12})_/;
/** Postgres cuts off what is longer. */
const LONGEST_NAME = 63;

const shownName = (run: string): string => `signalbox_test_${run}`;

export const newRunId = (): string => randomBytes(6).toString('hex');

export const databaseNameOf = (run: string, name: string): string =>
  `${shownName(run)}_${name}`.slice(0, LONGEST_NAME);

const connect = async (serverUrl: string, name?: string): Promise<Client> => {
  const client = new Client({ connectionString: serverUrl, application_name: name });
  // Who asks next is told that the server has gone.
  client.on('error', () => undefined);
  await client.connect();
  return client;
};

const listMade = async (client: Client): Promise<{ name: string; run: string }[]> => {
  const { rows } = await client.query<{ name: string }>('select datname as name from pg_database');
  return rows.flatMap(({ name }) => {
    const run = MADE.exec(name)?.[1];
    return run === undefined ? [] : [{ name, run }];
  });
};

const drop = async (client: Client, name: string, how: 'with (force)' | ''): Promise<void> => {
  const database = client.escapeIdentifier(name);
  await client.query(`alter database ${database} is_template false`);
  await client.query(`drop database ${database} ${how}`);
};

const dropLeft = async (client: Client): Promise<void> => {
  const shown = await client.query<{ run: string }>('select application_name as run from pg_stat_activity');
  const live = new Set(shown.rows.map(({ run }) => run));
  for (const { name, run } of await listMade(client)) {
    // Somebody is connected to it, or it is another's who may not be dropped by us, or was dropped by one who came too.
    if (!live.has(run)) await drop(client, name, '').catch(() => undefined);
  }
};

export interface TestRun {
  /** Drops all that it made. */
  close(): Promise<void>;
}

/** Shows that the run goes on, and drops what killed ones left, unless somebody is connected to it. */
export async function openTestRun(serverUrl: string, run: string): Promise<TestRun> {
  const shown = await connect(serverUrl, shownName(run));
  await dropLeft(shown);
  return {
    close: async () => {
      // The other may have been idle for longer than something between allows.
      const client = await connect(serverUrl);
      const made = (await listMade(client)).filter((one) => one.run === shownName(run));
      for (const { name } of made) await drop(client, name, 'with (force)');
      await Promise.all([client.end(), shown.end()]);
    },
  };
}
