import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { claimed, journalOf, recordOf, submitted, TENANT } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import { listIdempotency } from './idempotency.ts';
import { writeBatch } from '../write/write-batch.ts';

const mark = (n: number) => ({ key_digest: `digest-${n}`, fingerprint: `print-${n}` });

test('the marks of the runs of the last day, in pages, whatever order their events came in', async () => {
  const db = await migratedDatabase();
  const journals = Array.from({ length: 5 }, (_, n) =>
    // The third had no Idempotency-Key.
    journalOf(newId('run'), [submitted(n === 2 ? {} : { idempotency: mark(n) }), claimed()]),
  );
  const late = journals.map(({ runId, entries }) => recordOf(runId, entries.slice(1)));
  const first = journals.map(({ runId, entries }) => recordOf(runId, entries.slice(0, 1)));
  await writeBatch(db, late);
  await writeBatch(db, first);
  await writeBatch(db, [...late, ...first]);
  const createdAt = new Date(journals[0]?.events[0]?.ts ?? '');
  const list = (after: string, since = new Date(0)) =>
    listIdempotency(db, { partition: 0, since, after, limit: 3 });
  const page = await list('');
  assert.deepEqual(
    page,
    [0, 1, 3].map((n) => ({
      runId: journals[n]?.runId,
      tenantId: TENANT,
      keyDigest: mark(n).key_digest,
      fingerprint: mark(n).fingerprint,
      createdAt,
    })),
  );
  const rest = await list(page.at(-1)?.runId ?? '');
  assert.deepEqual(
    rest.map(({ keyDigest }) => keyDigest),
    ['digest-4'],
  );
  assert.deepEqual(await list('', new Date(createdAt.getTime() + 1)), []);
  assert.deepEqual(await listIdempotency(db, { partition: 1, since: new Date(0), after: '', limit: 3 }), []);
});
