import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { sql } from 'kysely';
import { migratedDatabase } from '../../test/support.ts';
import { bigintArray, textArray } from './array-param.ts';
import type { Db } from './pool.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

test('Postgres reads what was written: any text but NUL, nulls, numbers of any size', async () => {
  const texts = ['', 'a,b"{}\\', 'é\u{1f600}', null, 'NUL \0 here', 'x'.repeat(100_000)];
  const numbers = [0, 1, 2 ** 31, 2 ** 32 + 7, Number.MAX_SAFE_INTEGER, 5];
  const { rows } = await sql`
    select * from unnest(${textArray(texts)}::text[], ${bigintArray(numbers)}::bigint[]) as x (text, number)`.execute(
    db,
  );
  assert.deepEqual(
    rows,
    texts.map((text, i) => ({ text: text?.replace('\0', '\ufffd') ?? null, number: numbers[i] })),
  );
});

test('an array of nothing is one', async () => {
  const { rows } = await sql`
    select * from unnest(${textArray([])}::text[], ${bigintArray([])}::bigint[]) as x (text, number)`.execute(
    db,
  );
  assert.deepEqual(rows, []);
});
