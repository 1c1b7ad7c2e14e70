import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { blank } from './blank.ts';
import { checkImports, type Manifest, RULE_NAMES, type RuleName } from './import-rules.ts';
import { importsOf } from './source-file.ts';
import { readTree } from './tree.ts';

const EVERYTHING: Manifest = {
  dependencies: [
    'contracts engine runtime run-state audit-store providers api worker'
      .split(' ')
      .map((name) => `@signalbox/${name}`),
    'zod uuidv7 ioredis bullmq pg kysely openai @anthropic-ai/sdk @pydantic/genai-prices hono @hono/zod-openapi'.split(
      ' ',
    ),
    'prom-client @opentelemetry/api @opentelemetry/sdk-node @opentelemetry/exporter-trace-otlp-http pino'.split(
      ' ',
    ),
  ].flat(),
  devDependencies: ['fast-check'],
};

const rulesBrokenBy = (path: string, source: string): RuleName[] => {
  const unit = path.split('/', 2).join('/');
  const violations = checkImports({ sources: { [path]: source }, manifests: { [unit]: EVERYTHING } });
  return [...new Set(violations.map(({ rule }) => rule))];
};

const LAYERS = 'each unit imports only the packages below it';
const INDEX = 'a package is entered through its index.ts';
const PURE = 'contracts and engine do no I/O';
const OWNER = 'a library is named by its owner only';
const WRITER = 'only the audit-writer writes run data to Postgres';
const ENV = 'process.env is read in config.ts only';
const CONFIG = 'only main.ts of a service, and its commands, import its config.ts';
const EXPORTS = 'no default export, no export *';
const DECLARED = 'every imported package is declared';

/** Planted violations: rule, file, source. Each rule must catch its own and no other rule may join in. */
const PLANTED: readonly (readonly [RuleName, string, string])[] = [
  [LAYERS, 'packages/contracts/src/a.ts', `import { fold } from '@signalbox/engine';`],
  [LAYERS, 'packages/engine/src/a.ts', `import type { Clock } from '@signalbox/runtime';`],
  [LAYERS, 'packages/runtime/src/a.ts', `import { newId } from '@signalbox/contracts';`],
  [LAYERS, 'packages/run-state/src/a.ts', `import { readRun } from '@signalbox/audit-store';`],
  [LAYERS, 'packages/audit-store/src/a.ts', `export { quote } from '@signalbox/providers';`],
  [LAYERS, 'packages/providers/src/a.ts', `const lazy = await import('@signalbox/run-state');`],
  [LAYERS, 'services/api/src/a.ts', `import { loop } from '@signalbox/worker';`],
  [LAYERS, 'services/worker/src/a.ts', `import { readRun } from '@signalbox/audit-store';`],
  [LAYERS, 'packages/novelty/src/a.ts', `export const a = 1;`],
  [INDEX, 'packages/run-state/src/a.ts', `import { fold } from '@signalbox/engine/src/fold.ts';`],
  [INDEX, 'services/api/src/a.ts', `import { loop } from '../../worker/src/loop.ts';`],
  [PURE, 'packages/contracts/src/a.ts', `import { readFileSync } from 'node:fs';`],
  [PURE, 'packages/contracts/src/a.ts', `import pino from 'pino';`],
  [PURE, 'packages/engine/src/a.ts', `import { z } from 'zod';`],
  [PURE, 'packages/engine/src/a.ts', `import http from 'node:http';`],
  [PURE, 'packages/engine/src/a.ts', `import { spawn } from 'node:child_process';`],
  [PURE, 'packages/engine/src/a.ts', 'const text = `${await fetch(url)}`;'],
  [PURE, 'packages/engine/src/a.ts', `const now = Date.now();`],
  [PURE, 'packages/engine/src/a.ts', `const now = new Date();`],
  [PURE, 'packages/engine/src/a.ts', `import type { Tracer } from '@opentelemetry/api';`],
  [OWNER, 'services/worker/src/a.ts', `import type { Redis } from 'ioredis';`],
  [OWNER, 'services/scheduler/src/a.ts', `import {\n  Queue,\n  Worker,\n} from 'bullmq';`],
  [OWNER, 'packages/run-state/src/a.ts', `import pg from 'pg';`],
  [OWNER, 'services/api/src/a.ts', `import { sql, type Kysely } from "kysely";`],
  [OWNER, 'services/worker/src/a.ts', `import { APIError } from 'openai/error';`],
  [OWNER, 'services/worker/src/a.ts', `const sdk = require('@anthropic-ai/sdk');`],
  [OWNER, 'services/api/src/a.ts', `import { calcPrice } from '@pydantic/genai-prices';`],
  [OWNER, 'packages/runtime/src/a.ts', `import { Hono } from 'hono';`],
  [OWNER, 'packages/runtime/src/a.ts', `import { z } from '@hono/zod-openapi';`],
  [OWNER, 'services/api/src/a.ts', `import { Gauge } from 'prom-client';`],
  [OWNER, 'services/api/src/a.ts', `import '@opentelemetry/sdk-node';`],
  [
    OWNER,
    'services/api/src/a.ts',
    `import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';`,
  ],
  [WRITER, 'services/api/src/a.ts', `import { readRun, writeBatch as put } from '@signalbox/audit-store';`],
  [WRITER, 'services/scheduler/src/a.ts', `import * as store from '@signalbox/audit-store';`],
  [WRITER, 'services/scheduler/src/a.ts', `const store = await import('@signalbox/audit-store');`],
  [ENV, 'services/api/src/main.ts', `const url = process.env.REDIS_URL;`],
  [ENV, 'packages/providers/src/a.ts', `const url = process.env['OPENAI_BASE_URL'];`],
  [ENV, 'packages/runtime/src/a.ts', `const { env } = process;`],
  [ENV, 'packages/runtime/src/a.ts', `const all = process['env'];`],
  [ENV, 'packages/runtime/src/a.ts', `import { env } from 'node:process';`],
  [CONFIG, 'services/api/src/routes/a.ts', `import { config } from '../config.ts';`],
  [EXPORTS, 'services/api/src/a.ts', `export default function a() {}`],
  [EXPORTS, 'services/api/src/a.ts', `const a = 1;\nexport { a as default };`],
  [EXPORTS, 'packages/runtime/src/index.ts', `export * from './clock.ts';`],
  [EXPORTS, 'packages/runtime/src/index.ts', `export type * from './clock.ts';`],
  [DECLARED, 'packages/runtime/src/a.ts', `import { pack } from 'msgpackr';`],
  [DECLARED, 'packages/runtime/src/a.ts', `import fc from 'fast-check';`],
  [DECLARED, 'packages/runtime/src/a.test.ts', `import { pack } from 'msgpackr/pack';`],
];

/** What looks like a violation and is none. */
const ALLOWED: readonly (readonly [string, string])[] = [
  ['packages/contracts/src/a.ts', `import { z } from 'zod';\nimport { uuidv7 } from 'uuidv7';`],
  [
    'packages/engine/src/a.ts',
    `import { createHash } from 'node:crypto';\nimport { Event } from '@signalbox/contracts';`,
  ],
  ['packages/engine/src/a.ts', `const at = new Date(event.ts); port.fetch(at); state.process;`],
  [
    'packages/engine/src/a.ts',
    `// import x from 'pg' and fetch( process.env\nconst why = "import y from 'pg'; fetch(";`,
  ],
  ['packages/engine/src/a.ts', "const sql = `\nimport x from 'pg';\nexport default ${name}\n`;"],
  ['packages/engine/src/a.ts', `const quote = /['"\`]/; const half = a / b; const say = "fetch(/";`],
  [
    'packages/run-state/src/a.ts',
    `import { Redis } from 'ioredis';\nimport { readFileSync } from 'node:fs';`,
  ],
  ['packages/runtime/src/config.ts', `export const url = process.env['URL'];`],
  ['packages/runtime/src/a.ts', `process.exit(process.exitCode ?? 0);`],
  ['services/audit-writer/src/a.ts', `import { writeBatch } from '@signalbox/audit-store';`],
  [
    'services/api/src/a.ts',
    `import { readRun } from '@signalbox/audit-store';\nimport { trace } from '@opentelemetry/api';`,
  ],
  ['services/api/src/main.ts', `import { config } from './config.ts';`],
  [
    'services/api/src/a.ts',
    `import type { Config } from './config.ts';\nimport { type Other } from './config.ts';`,
  ],
  ['packages/engine/src/a.test.ts', `import fc from 'fast-check';\nimport { readFileSync } from 'node:fs';`],
];

describe('the import rules', () => {
  for (const [rule, path, source] of PLANTED) {
    test(`catch in ${path}: ${source}`, () => assert.deepEqual(rulesBrokenBy(path, source), [rule]));
  }
  for (const [path, source] of ALLOWED) {
    test(`let pass in ${path}: ${source}`, () => assert.deepEqual(rulesBrokenBy(path, source), []));
  }
  test('are each shown to catch something', () => {
    assert.deepEqual(new Set(PLANTED.map(([rule]) => rule)), new Set(RULE_NAMES));
  });
});

describe('the parser', () => {
  test('finds every form of import, with its names', () => {
    const source = [
      `import a, { b as c, type D } from './a.ts';`,
      `import * as ns from 'ns';`,
      `import { type E } from '@s/e/deep';`,
      `import type F from 'f';`,
      `import 'side';`,
      `export { g, type H } from './g.ts';`,
      `const i = await import('i');`,
    ].join('\n');
    assert.deepEqual(importsOf(source), [
      { specifier: './a.ts', target: './a.ts', names: ['b', 'D', 'default'], typeOnly: false },
      { specifier: 'ns', target: 'ns', names: ['*'], typeOnly: false },
      { specifier: '@s/e/deep', target: '@s/e', names: ['E'], typeOnly: true },
      { specifier: 'f', target: 'f', names: ['default'], typeOnly: true },
      { specifier: 'side', target: 'side', names: ['*'], typeOnly: false },
      { specifier: './g.ts', target: './g.ts', names: ['g', 'H'], typeOnly: false },
      { specifier: 'i', target: 'i', names: ['*'], typeOnly: false },
    ]);
  });

  test('blanks text and keeps code, also inside nested templates', () => {
    const source = 'a(`x${b({ c: `y${d}` })}z`, /[/"]e/g, "f"); // g\nh / i / j;';
    assert.equal(blank(source), 'a(` ${b({ c: ` ${d}` })} `,         , " ");     \nh / i / j;');
  });
});

test('the tree keeps every import rule', () => {
  const tree = readTree();
  assert.ok(Object.keys(tree.sources).length >= 20, 'the tree was not found');
  const report = checkImports(tree).map(({ path, rule, detail }) => `${path}: ${detail} (${rule})`);
  assert.deepEqual(report, [], `\n${report.join('\n')}\n`);
});
