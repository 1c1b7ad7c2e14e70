import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiScope } from '@signalbox/contracts';
import { VERSION } from '@signalbox/runtime';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { SCOPES } from '../src/http/scopes.ts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

interface Document {
  openapi: string;
  info: { title: string; version: string };
  paths: Record<
    string,
    Record<
      string,
      {
        responses: object;
        parameters?: { name: string; in: string; required?: boolean }[];
        security?: object[];
      }
    >
  >;
  components: { schemas: Record<string, object>; securitySchemes: object };
}

let h: Harness;
let document: Document;
before(async () => {
  h = await openHarness();
  const response = await h.call('GET', '/openapi.json', { key: null });
  assert.equal(response.status, 200);
  document = (await response.json()) as Document;
});
after(() => h.close());

const operations = (): string[] =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );

const OPEN = ['GET /healthz', 'GET /readyz', 'GET /metrics'];

test('the document lists every route there is, and each has its scope', () => {
  const registered = h.app.routes
    .filter(({ method, path }) => method !== 'ALL' && !['/openapi.json', '/docs'].includes(path))
    .map(({ method, path }) => `${method} ${path}`);
  assert.deepEqual(new Set(operations()), new Set(registered));
  assert.deepEqual(new Set([...Object.keys(SCOPES), ...OPEN]), new Set(registered));
  for (const scope of Object.values(SCOPES).flat()) ApiScope.parse(scope);
});

test('the document is OpenAPI 3.1: every reference leads somewhere, every path parameter is declared', () => {
  assert.match(document.openapi, /^3\.1\./);
  assert.ok(document.info.title !== '');
  assert.equal(document.info.version, VERSION);
  const names = new Set(Object.keys(document.components.schemas));
  for (const [, name = ''] of JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)) {
    assert.ok(names.has(name), name);
  }
  assert.ok(!/"\$ref":"(?!#\/components\/schemas\/)/.test(JSON.stringify(document)));
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const operation of Object.values(methods)) {
      const declared = (operation.parameters ?? []).filter((p) => p.in === 'path').map(({ name }) => name);
      assert.deepEqual(
        declared,
        [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
        path,
      );
      assert.ok(Object.keys(operation.responses).length > 0);
    }
  }
});

test('the headers that routes read are declared, and none is required', () => {
  const read = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).flatMap(([method, { parameters = [] }]) =>
      parameters
        .filter((parameter) => parameter.in === 'header')
        .map(({ name, required }) => `${method} ${path} ${name}${required === true ? ' required' : ''}`),
    ),
  );
  assert.deepEqual(read.toSorted(), [
    'get /v1/runs/{id}/events Last-Event-ID',
    'post /v1/replays Idempotency-Key',
    'post /v1/runs Idempotency-Key',
    'post /v1/runs/batch Idempotency-Key',
    'post /v1/runs/{id}/fork Idempotency-Key',
  ]);
});

test('the schemas are JSON Schema, and answers fit them', async () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema({ $id: 'doc', ...document });
  const fits = (name: string, value: unknown): void => {
    const validate = ajv.getSchema(`doc#/components/schemas/${name}`);
    assert.ok(validate !== undefined, name);
    assert.ok(validate(value) === true, `${name}: ${JSON.stringify(validate.errors)}`);
  };
  for (const name of Object.keys(document.components.schemas)) {
    assert.ok(ajv.getSchema(`doc#/components/schemas/${name}`) !== undefined, name);
  }
  const run = await h.submit({ metadata: { a: 'b' } });
  await finish(h, run.id);
  const json = async (path: string): Promise<unknown> => (await h.call('GET', path)).json();
  fits('Run', run);
  fits('Run', await json(`/v1/runs/${run.id}`));
  fits('EventList', await json(`/v1/runs/${run.id}/events`));
  fits('StepList', await json(`/v1/runs/${run.id}/steps`));
  fits('ProviderList', await json('/v1/providers'));
  const set = await h.call('PUT', '/v1/providers/openai/key', { json: { key: 'some-key-of-twenty-signs' } });
  fits('Provider', await set.json());
  fits('Provider', await (await h.call('POST', '/v1/providers/mock/ping')).json());
  fits('ProviderKeyRequest', { key: 'some-key-of-twenty-signs' });
  fits('Autoscale', await json('/v1/autoscale'));
  fits('Agent', await (await h.call('PUT', '/v1/agents/a', { json: { model: 'mock/echo' } })).json());
  fits('AgentList', await json('/v1/agents'));
  fits('KeyList', await json('/v1/keys'));
  fits('KeyRequest', { name: 'x', scopes: ['runs:read'], expires_at: null });
  fits('AuditEventList', await json('/v1/audit'));
  await storeAll(h);
  const lines = (await (await h.call('GET', '/v1/audit/export')).text()).trimEnd().split('\n');
  assert.ok(lines.length > 2);
  for (const line of lines) fits('ExportLine', JSON.parse(line));
  fits('AuditVerdict', await (await h.call('POST', '/v1/audit/verify')).json());
  fits('VerifyRequest', { run_id: run.id });
  fits('TenantCaps', await json('/v1/caps/tenant'));
  fits('UserCaps', await json('/v1/caps/users/u1'));
  fits('TenantCapsRequest', { daily_usd: null, time_zone: 'Europe/Berlin', max_concurrent_runs: 3 });
  fits('UserCapsRequest', { run_usd: 0.5 });
  fits('CostList', await json('/v1/costs?group_by=day,user_id,agent,model'));
  fits('CostList', await json('/v1/costs'));
  fits('Problem', await json('/v1/runs?limit=0'));
  fits('RunSubmission', { agent: { model: 'mock/echo' }, input: 'x' });
  const batch = { runs: [{ agent: { model: 'mock/echo' }, input: 'x' }] };
  fits('SubmitRunsRequest', batch);
  const mixed = { runs: [...batch.runs, {}] };
  fits('SubmittedRuns', await (await h.call('POST', '/v1/runs/batch', { json: mixed })).json());
  const bulk = { filter: { status: 'queued' }, dry_run: true };
  fits('AbortRunsRequest', bulk);
  fits('AbortedRuns', await (await h.call('POST', '/v1/runs/abort', { json: bulk })).json());
});

test('the docs page names every route and loads nothing from elsewhere', async () => {
  const response = await h.call('GET', '/docs', { key: null });
  const page = await response.text();
  assert.match(response.headers.get('content-type') ?? '', /^text\/html/);
  for (const path of Object.keys(document.paths)) assert.ok(page.includes(path), path);
  assert.ok(!/<script|<link|https?:\/\//.test(page));
});
