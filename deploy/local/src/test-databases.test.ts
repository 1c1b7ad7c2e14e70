import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { Client } from 'pg';
import { type LocalPostgres, startPostgres } from './postgres.ts';
import { REPOSITORY } from './process.ts';
import { temporaryDir } from './test-services.ts';
import { until } from './wait.ts';

const names = async ({ url }: LocalPostgres, query: string): Promise<string[]> => {
  const client = new Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ datname: string }>(query);
  await client.end();
  return rows.map(({ datname }) => datname);
};

const databases = (postgres: LocalPostgres): Promise<string[]> =>
  names(
    postgres,
    `select datname from pg_database where datname not in ('postgres', 'template0', 'template1') order by 1`,
  );

/** Whose connections a server still has, but for the one that asks. */
const connections = (postgres: LocalPostgres): Promise<string[]> =>
  names(postgres, 'select datname from pg_stat_activity where datname <> current_database()');

const OF_TESTS = /^(signalbox_)/;

/** `npm test` with one file, on a server that is the user's; a group of its own. */
const startTests = ({ url }: LocalPostgres, file: string) => {
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], DATABASE_URL: url };
  return spawn(process.execPath, ['deploy/local/test.ts', file], {
    cwd: REPOSITORY,
    env,
    stdio: 'ignore',
    detached: true,
  });
};

const FILE = 'services/scheduler/src/retention/partitions.test.ts';

test('a run leaves nothing on a server of the user, also when it is interrupted, nor what a killed one left', async () => {
  const postgres = await startPostgres({ dir: await temporaryDir(), durable: false });
  await postgres.createDatabase('of_the_user');
  const haveBegun = () =>
    until('databases of tests', async () => (await databases(postgres)).some((name) => OF_TESTS.test(name)));
  const killed = startTests(postgres, FILE);
  await haveBegun();
  process.kill(-(killed.pid ?? Number.NaN), 'SIGKILL');
  await once(killed, 'exit');
  assert.notDeepEqual(await databases(postgres), ['of_the_user']);
  await until('what it had started to end', async () => (await connections(postgres)).length === 0);

  const whole = startTests(postgres, FILE);
  assert.deepEqual(await once(whole, 'exit'), [0, null]);
  assert.deepEqual(await databases(postgres), ['of_the_user']);

  const interrupted = startTests(postgres, FILE);
  await haveBegun();
  interrupted.kill('SIGINT');
  await once(interrupted, 'exit');
  assert.deepEqual(await databases(postgres), ['of_the_user']);
  await postgres.stop();
});
