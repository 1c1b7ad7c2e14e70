import { type AgentSpec, SignalboxError } from '@signalbox/contracts';
import type { SchemaVerdict } from '@signalbox/runtime';
import type { ApiDeps } from '../deps.ts';

const MOST_CHARS = 300;

const problemOf = (verdict: SchemaVerdict): string | null => {
  if (verdict.type === 'unusable') return `no usable JSON Schema: ${verdict.why.slice(0, MOST_CHARS)}`;
  if (verdict.type === 'too_slow') return 'takes too long to check, even for null; make it simpler';
  return null;
};

const WRAPPING: ReadonlySet<string> = new Set(['name', 'description', 'strict', 'schema']);

/** As OpenAI wants it in `response_format`. As a schema it says nothing, and any answer would follow it. */
const isWrapped = (schema: NonNullable<AgentSpec['output_schema']>): boolean =>
  typeof schema['schema'] === 'object' && Object.keys(schema).every((field) => WRAPPING.has(field));

/**
 * Refuses a spec whose `output_schema` no answer could be held against: its runs would pay for answers that nobody can
 * judge. `at` names where the spec stands in the body, `''` or `agent`. Throws `invalid_request`.
 */
export const checkOutputSchema = async (
  { schemas }: Pick<ApiDeps, 'schemas'>,
  { output_schema: schema }: AgentSpec,
  { tenantId, at }: { readonly tenantId: string; readonly at: string },
): Promise<void> => {
  if (schema === null) return;
  const message = isWrapped(schema)
    ? 'is no JSON Schema but holds one in its field schema: give that alone'
    : problemOf(await schemas.judge(tenantId, { schema: JSON.stringify(schema), text: 'null' }));
  if (message === null) return;
  const path = at === '' ? 'output_schema' : `${at}.output_schema`;
  throw new SignalboxError('invalid_request', `${path}: ${message}.`, { errors: [{ path, message }] });
};
