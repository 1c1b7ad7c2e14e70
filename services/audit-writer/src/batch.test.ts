import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AuditRecord } from '@signalbox/contracts';
import { batchesOf, countFor, lanesOf } from './batch.ts';

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

test('as many records are read as make up a length, at least one and at most so many', () => {
  const records = [record('1', 100), record('2', 300)];
  assert.equal(countFor(records, { length: 1000, most: 50 }), 5);
  assert.equal(countFor(records, { length: 1_000_000, most: 50 }), 50);
  assert.equal(countFor(records, { length: 10, most: 50 }), 1);
});

test('a small batch stays whole; of a large one every run keeps to one part, and its order', () => {
  const of = (count: number) =>
    Array.from({ length: count }, (_, n) => ({ ...record(String(n), 10), runId: `run_${(n * n) % 7}` }));
  assert.equal(lanesOf(of(100)).length, 1);
  assert.deepEqual(lanesOf([]), [[]]);
  const records = of(1000);
  const lanes = lanesOf(records);
  assert.equal(lanes.length, 2);
  assert.deepEqual(
    lanes.flatMap((lane) => [...new Set(lane.map(({ runId }) => runId))]).length,
    new Set(records.map(({ runId }) => runId)).size,
  );
  for (const lane of lanes) {
    assert.deepEqual(
      lane,
      records.filter((one) => lane.includes(one)),
    );
  }
  assert.equal(lanes.flat().length, records.length);
});
