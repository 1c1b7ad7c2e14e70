/** Rewrites schema.sql from the migrations. */
import { writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { dumpSchema } from '../src/db/schema-dump.ts';
import { migratedDatabase } from './support.ts';

test('write schema.sql', async () => {
  await writeFile(new URL('../schema.sql', import.meta.url), await dumpSchema(await migratedDatabase()));
});
