import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { REPOSITORY } from './process.ts';
import { planTests, provesAPromise, SLOW } from './test-files.ts';

test('what is named as slow is there', () => {
  for (const file of SLOW) assert.ok(existsSync(join(REPOSITORY, file)), file);
});

test('every file is planned once, the slowest first', () => {
  const { together, last } = planTests(REPOSITORY, []);
  const all = [...together, ...last];
  assert.equal(new Set(all).size, all.length);
  assert.deepEqual(together.slice(0, SLOW.length), SLOW);
  assert.ok(last.includes('test/chaos/chaos.test.ts') && together.includes('test/docs/readme.test.ts'));
  assert.ok(all.includes('deploy/local/src/test-files.test.ts'));
});

test('what proves a promise is known by its path', () => {
  const { together, last } = planTests(REPOSITORY, []);
  const promises = [...together, ...last].filter(provesAPromise);
  for (const file of [
    'test/crash/table.test.ts',
    'test/e2e/redis-loss.test.ts',
    'packages/run-state/test/money.test.ts',
  ])
    assert.ok(promises.includes(file), file);
  assert.ok(!promises.includes('packages/run-state/test/append-log.test.ts'));
});

test('filters are parts of paths, from anywhere', () => {
  const file = 'deploy/local/src/test-files.test.ts';
  for (const filter of ['src/test-files', `./${file}`, join(REPOSITORY, file)])
    assert.deepEqual(planTests(REPOSITORY, [filter]).together, [file]);
});
