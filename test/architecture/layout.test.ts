import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readManifests, ROOT } from './tree.ts';

const ALLOWED = new Set(
  [
    'packages services deploy test',
    'package.json pnpm-workspace.yaml pnpm-lock.yaml turbo.json tsconfig.json biome.json docker-compose.yaml',
    'README.md CONTRIBUTING.md LICENSE',
  ].flatMap((line) => line.split(' ')),
);

/** Top-level names that have no place in the layout (design, section 4). Names with a dot belong to tools. */
function strangers(paths: readonly string[]): string[] {
  const names = new Set(paths.map((path) => path.split('/', 1)[0] ?? path));
  return [...names].filter((name) => !name.startsWith('.') && !ALLOWED.has(name)).toSorted();
}

function trackedFiles(): string[] | undefined {
  if (!existsSync(join(ROOT, '.git'))) return undefined;
  return execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' }).split('\0').filter(Boolean);
}

describe('the layout', () => {
  test('a stranger at the top is seen', () => {
    assert.deepEqual(strangers(['src/a.ts', 'packages/a/src/b.ts', 'notes.md', '.ci/run']), [
      'notes.md',
      'src',
    ]);
  });

  test('only what the design names stands at the top', (t) => {
    const tracked = trackedFiles();
    if (tracked === undefined) return t.skip('not a git checkout');
    assert.deepEqual(strangers(tracked), []);
  });

  test('every package and service is named after its directory', () => {
    const manifests = readManifests();
    assert.ok(manifests.size >= 10);
    for (const [unit, manifest] of manifests) {
      assert.equal(manifest.name, `@signalbox/${unit.split('/')[1]}`);
      assert.equal(manifest.type, 'module', unit);
    }
  });
});
