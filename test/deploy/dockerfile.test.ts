import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { list, readText } from './files.ts';

const DOCKERFILE = readText('deploy/Dockerfile');
const IGNORED = readText('.dockerignore')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'));
const [, finalStage = ''] = DOCKERFILE.split(/^FROM .*\n(?![\s\S]*^FROM )/m);

describe('the image', () => {
  test('installs from the manifest of every package and service', () => {
    const copied = [...DOCKERFILE.matchAll(/^COPY (\S+\/package\.json) (\S+)\/$/gm)].map(([, from, to]) => {
      assert.equal(from, `${to}/package.json`);
      return from;
    });
    assert.deepEqual(copied, list('{packages,services}/*/package.json'));
  });

  test('uses the pnpm of package.json, the lockfile, and no development dependency', () => {
    const { packageManager } = JSON.parse(readText('package.json')) as { packageManager: string };
    assert.ok(DOCKERFILE.includes(`npm install --global ${packageManager}\n`));
    const install = /pnpm install .*/.exec(DOCKERFILE)?.[0] ?? '';
    for (const flag of ['--frozen-lockfile', '--prod', "--filter '{./services/*}...'"])
      assert.ok(install.includes(flag), flag);
  });

  test('is built from manifests and sources only', () => {
    assert.equal(IGNORED[0], '*');
    for (const pattern of ['**/node_modules', '**/*.test.ts', '**/.env*'])
      assert.ok(IGNORED.includes(pattern), pattern);
    const sources = [...DOCKERFILE.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, paths = '']) =>
      paths.split(' '),
    );
    const top = new Set(sources.map((path) => path.split('/', 1)[0]));
    for (const name of top) assert.ok(IGNORED.includes(`!${name}`), `${name} is copied but ignored`);
  });

  test('runs as a numbered user that is not root, and has a health check and labels', () => {
    assert.match(finalStage, /^USER 1000:1000$/m);
    assert.match(finalStage, /^HEALTHCHECK .*\\\n {2}CMD \["node", "-e", /m);
    for (const label of ['title', 'description', 'licenses', 'version', 'revision']) {
      assert.ok(finalStage.includes(`org.opencontainers.image.${label}=`), label);
    }
  });
});
