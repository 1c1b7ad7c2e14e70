/** README and CONTRIBUTING name only files, scripts, routes and variables that exist; README names every variable. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { isContractVariable } from '../deploy/contract-environment.ts';
import { list, readText, ROOT } from '../deploy/files.ts';
import { ROUTES } from './known-names.ts';
import { namesIn } from './page.ts';

const README = readText('README.md');
const PAGES = ['README.md', 'CONTRIBUTING.md', ...list('packages/*/docs/*.md')];
const { scripts } = JSON.parse(readText('package.json')) as { scripts: Record<string, string> };

const SOURCES = list('{packages,services,deploy,test}/**/*.{ts,lua,sql,sh,yaml}').filter(
  (path) => !path.includes('node_modules'),
);

/** Files that are nowhere; a short name stands for the end of a path. */
const missingFiles = (text: string): string[] =>
  namesIn(text)
    .filter((name) => /^[\w./-]+\.(ts|lua|sql|sh|yaml)$/.test(name))
    .filter((name) => !existsSync(join(ROOT, name)) && !SOURCES.some((path) => path.endsWith(`/${name}`)));

describe('README and CONTRIBUTING', () => {
  test('link to what is there, and name files that are', () => {
    assert.deepEqual(missingFiles('`deploy/local/dev.ts`, `gone.ts`, `lua/submit.lua`'), ['gone.ts']);
    for (const page of PAGES) {
      const text = readText(page);
      const links = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, link = '']) => link);
      assert.deepEqual(
        links.filter((link) => !existsSync(join(ROOT, dirname(page), link))),
        [],
        page,
      );
      assert.deepEqual(missingFiles(text), [], page);
    }
  });

  test('tell to run scripts that exist, without pnpm, which not everybody has', () => {
    for (const page of PAGES) {
      assert.doesNotMatch(readText(page), /`pnpm /, page);
      const told = [...readText(page).matchAll(/\bnpm run ([a-z][\w:]*)/g)];
      assert.deepEqual(
        told.map(([, script = '']) => script).filter((script) => !(script in scripts)),
        [],
        page,
      );
    }
  });

  test('call routes that exist', () => {
    const known = ROUTES.map((route) => {
      const path = route.replace(/^\w+ /, '').replaceAll(/\{\w+\}/g, '[^/]+');
      return new RegExp(`^${path}$`);
    });
    const called = [...README.matchAll(/(?<=[\s"`$API])(\/v1\/[\w/$.@-]*)/g)].map(([, path = '']) =>
      path.replace(/-+$/, ''),
    );
    assert.ok(called.length > 15);
    assert.deepEqual(
      called.filter((path) => !known.some((route) => route.test(path))),
      [],
    );
  });

  test('README names every variable a service reads, and no other', () => {
    const named = new Set(README.match(/\b[A-Z]+(?:_[A-Z]+)+\b|\b(?:PORT|HOST)\b/g));
    const variablesIn = (path: string): string[] =>
      [...readText(path).matchAll(/^ {2}([A-Z][A-Z_]+):/gm)].map(([, name = '']) => name);
    const ofProviders = variablesIn('packages/providers/src/keys/provider-environment.ts');
    const read = [
      ...list('{services,packages}/*/src/config.ts').flatMap(variablesIn),
      // Of those that are alike, README names the first and how the others are made.
      ...ofProviders.filter((name) => !/_(?:API_KEY|BASE_URL)$/.test(name)),
    ];
    assert.ok(read.length > 20);
    assert.deepEqual(
      read.filter((name) => !named.has(name)),
      [],
    );
    const table: readonly string[] = README.match(/^\| `[A-Z].*$/gm) ?? [];
    const documented = table.flatMap((row) => namesIn(row.split('|')[1] ?? ''));
    assert.deepEqual(
      documented.filter((name) => /^[A-Z_]+$/.test(name) && !isContractVariable(name)),
      [],
    );
  });
});
