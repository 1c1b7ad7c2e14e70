import assert from 'node:assert/strict';
import { it } from 'node:test';
import { AgentSpec } from '@signalbox/contracts';
import { createJsonSchemas } from '@signalbox/runtime';
import { createSpecs } from './specs.ts';
import { builtInTools } from '../tools/index.ts';

const specs = createSpecs({ toolbox: builtInTools({ allow: [] }), schemas: createJsonSchemas() });
const textOf = (spec: object): string => JSON.stringify(AgentSpec.parse({ model: 'mock/echo', ...spec }));

it('runs of one agent share what was read of it, other agents do not', () => {
  const text = textOf({ instructions: 'be kind' });
  assert.equal(specs(text).spec, specs(textOf({ instructions: 'be kind' })).spec);
  assert.notEqual(specs(text).spec, specs(textOf({ instructions: 'be brief' })).spec);
});

it('a request is measured with its instructions, tools and model', () => {
  const plain = specs(textOf({}));
  const told = specs(textOf({ instructions: '12345', tools: ['calculator'] }));
  assert.equal(plain.frameBytes('mock/a2') - plain.frameBytes('mock/a'), 1);
  const tools = JSON.stringify(told.tools).length - '[]'.length;
  assert.equal(told.frameBytes('mock/a') - plain.frameBytes('mock/a'), 5 + tools);
});

it('an answer is checked by the schema of its own agent', async () => {
  const schema = { type: 'object', required: ['n'] };
  const strict = specs(textOf({ output_schema: schema }));
  assert.deepEqual(
    await Promise.all(['{"n":1}', '{}', 'no JSON'].map((text) => strict.outputValid('acme', text))),
    [true, false, false],
  );
  assert.equal(await specs(textOf({})).outputValid('acme', 'no JSON'), true);
});
