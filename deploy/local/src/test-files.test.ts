import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { REPOSITORY } from './process.ts';
import { planTests, provesAPromise, SLOW } from './test-files.ts';

test('what is named as slow is there', () => {
  for (const file of SLOW) assert.ok(existsSync(join(REPOSITORY, file)), file);
});

const { together, last } = planTests(REPOSITORY, []);
const all = [...together, ...last].flat();

test('every file is planned once, the slowest first', () => {
  assert.equal(new Set(all).size, all.length);
  for (const batches of [together, last]) {
    const files = batches.flat();
    const slow = SLOW.filter((file) => files.includes(file));
    assert.deepEqual(files.slice(0, slow.length), slow);
  }
  assert.ok(last.flat().includes('test/chaos/chaos.test.ts'));
  assert.ok(together.flat().includes('test/docs/readme.test.ts'));
  assert.ok(all.includes('deploy/local/src/test-files.test.ts'));
});

test('small ones of one directory share a process, the others have their own', () => {
  for (const batch of [...together, ...last]) {
    const homes = new Set(batch.map((file) => file.split('/').slice(0, 2).join('/')));
    assert.equal(homes.size, 1);
    if (batch.length === 1) continue;
    for (const file of batch) {
      assert.doesNotMatch(file, /^test\/(bench|chaos|crash|e2e|replay)\//);
      assert.ok(!SLOW.includes(file));
    }
  }
  assert.ok(together.some((batch) => batch.length > 1));
});

test('what proves a promise is known by its path', () => {
  const promises = all.filter(provesAPromise);
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
    assert.deepEqual(planTests(REPOSITORY, [filter]).together, [[file]]);
});
