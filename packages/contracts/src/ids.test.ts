import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newId, RunId } from './ids.ts';

test('ids of one kind sort by the time they were made, and are never the same', () => {
  const ids = Array.from({ length: 5000 }, () => newId('run'));
  assert.deepEqual(ids, ids.toSorted());
  assert.equal(new Set(ids).size, ids.length);
});

test('an id holds the time it was made', () => {
  const before = Date.now();
  const made = Number.parseInt(newId('run').slice('run_'.length, 'run_'.length + 12), 16);
  assert.ok(made >= before - 1 && made <= Date.now() + 1);
});

test('a run id is recognised, anything else is not', () => {
  const id = newId('run');
  assert.ok(RunId.safeParse(id).success);
  const wrong = [newId('agt'), id.toUpperCase(), `${id}0`, id.slice(0, -1), `${id}\n`, ` ${id}`, '', 7, null];
  assert.deepEqual(
    wrong.filter((value) => RunId.safeParse(value).success),
    [],
  );
});

test('every kind of id has its prefix', () => {
  for (const prefix of ['run', 'agt', 'apr', 'key', 'lease', 'evt'] as const) {
    assert.match(newId(prefix), new RegExp(`^${prefix}_[0-9a-f]{32}$`));
  }
});
