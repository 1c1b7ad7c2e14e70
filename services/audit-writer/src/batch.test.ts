import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuditRecord } from '@signalbox/contracts';
import { batchesOf } from './batch.ts';

const record = (streamId: string, size: number): AuditRecord => ({
  streamId,
  runId: 'run',
  tenantId: 'acme',
  userId: null,
  agent: null,
  rootRunId: 'run',
  wrappedKey: null,
  entries: ['e'.repeat(size - 2)],
  contents: [['r', 'c']],
});

const idsOf = (batches: readonly AuditRecord[][]): string[][] =>
  batches.map((batch) => batch.map(({ streamId }) => streamId));

test('records stay in order, in batches no longer than the limit', () => {
  const records = [
    record('1', 40),
    record('2', 60),
    record('3', 10),
    record('4', 90),
    record('5', 1000),
    record('6', 5),
  ];
  assert.deepEqual(idsOf(batchesOf(records, 100)), [['1', '2'], ['3', '4'], ['5'], ['6']]);
});

test('nothing makes no batch', () => {
  assert.deepEqual(batchesOf([], 100), []);
});
