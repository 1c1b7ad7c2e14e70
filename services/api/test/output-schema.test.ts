/** An output_schema that no answer could be held against is refused before anything is paid for. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Harness, openHarness } from './harness.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

interface Problem {
  readonly code: string;
  readonly errors: readonly { readonly path: string; readonly message: string }[];
}

const refused = async (response: Response, path: string, why: RegExp): Promise<void> => {
  assert.equal(response.status, 422);
  const { code, errors } = (await response.json()) as Problem;
  assert.deepEqual([code, errors.map((error) => error.path)], ['invalid_request', [path]]);
  assert.match(errors[0]?.message ?? '', why);
};

const spec = (output_schema: object): object => ({ model: 'mock/echo', output_schema });

/** Each level asks for the next one twice. */
const multiplying = {
  $ref: '#/$defs/a0',
  $defs: Object.fromEntries(
    Array.from({ length: 60 }, (_, n) => {
      const next = n === 59 ? {} : { $ref: `#/$defs/a${n + 1}` };
      return [`a${n}`, { allOf: [next, next] }];
    }),
  ),
};

test('what is no JSON Schema, names a dialect that is not known, or takes for ever', async () => {
  const cases = [
    [{ type: 'strin' }, /no usable JSON Schema/],
    [{ $ref: 'http://elsewhere.example/schema' }, /no usable JSON Schema/],
    [{ $schema: 'http://json-schema.org/draft-04/schema#' }, /no usable JSON Schema/],
    [{ $async: true, type: 'object' }, /no usable JSON Schema/],
    [{ name: 'x', strict: true, schema: { type: 'object' } }, /holds one in its field schema/],
    [multiplying, /too long/],
  ] as const;
  for (const [schema, why] of cases) {
    await refused(await h.call('PUT', '/v1/agents/strict', { json: spec(schema) }), 'output_schema', why);
    await refused(
      await h.call('POST', '/v1/runs', { json: { agent: spec(schema), input: 'x' } }),
      'agent.output_schema',
      why,
    );
  }
  assert.equal((await h.call('GET', '/v1/agents/strict')).status, 404);
});

test('a schema of draft-07, as many libraries write it, is taken', async () => {
  const schema = { $schema: 'http://json-schema.org/draft-07/schema#', type: 'object' };
  assert.equal((await h.call('PUT', '/v1/agents/older', { json: spec(schema) })).status, 201);
  await h.submit({ agent: spec(schema) });
});
