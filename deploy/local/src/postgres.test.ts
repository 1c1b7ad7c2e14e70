import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { test } from 'node:test';
import { Client } from 'pg';
import { startPostgres } from './postgres.ts';
import { temporaryDir } from './test-services.ts';

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

test('keeps committed data over a fast and an immediate stop, below a directory only its owner may enter', async () => {
  const dir = await temporaryDir();
  await chmod(dir, 0o700);
  const postgres = await startPostgres({ dir });
  const url = await postgres.createDatabase('kept');
  await query(url, 'create table t as select 1 as x');
  await postgres.stop('fast');
  await assert.rejects(query(url, 'select 1'), { code: 'ECONNREFUSED' });
  await postgres.start();
  await query(url, 'insert into t values (2)');
  await postgres.stop('immediate');
  await postgres.start();
  assert.deepEqual(await query(url, 'select x from t order by x'), [{ x: 1 }, { x: 2 }]);
  await postgres.stop();

  const again = await startPostgres({ dir });
  assert.equal(
    await again.createDatabase('kept', { ifMissing: true }).then((href) => new URL(href).pathname),
    '/kept',
  );
  await assert.rejects(again.createDatabase('kept'), /already exists/);
  await again.stop();
});
