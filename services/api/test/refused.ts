import assert from 'node:assert/strict';
import type { CallOptions, Harness } from './harness.ts';

export interface Problem {
  status: number;
  code: string;
  detail: string;
  title: string;
  type: string;
  errors?: { path: string; message: string }[];
  error: { message: string; type: string; code: string; param: string | null };
}

/** How many runs and agents there are: bad input must not change it. */
const written = async ({ deps: { partition } }: Harness): Promise<number> => {
  const keys = await partition.redis.keys(`${partition.root}:*`);
  return keys.filter((key) => /:(run|agent|idem):/.test(key)).length;
};

export type Refused = (
  method: string,
  path: string,
  options: CallOptions,
  expected: { readonly status: number; readonly code: string; readonly path?: string },
) => Promise<Problem>;

/** Sends a request that must be refused as a problem of this kind, and change nothing. */
export const refusedBy =
  (harness: () => Harness): Refused =>
  async (method, path, options, expected) => {
    const h = harness();
    const before = await written(h);
    const response = await h.call(method, path, options);
    const problem = (await response.json()) as Problem;
    assert.equal(response.status, expected.status, JSON.stringify(problem));
    assert.equal(response.headers.get('content-type'), 'application/problem+json');
    assert.equal(problem.status, expected.status);
    assert.equal(problem.code, expected.code);
    assert.equal(problem.error.code, expected.code);
    assert.equal(problem.error.message, problem.detail);
    if (expected.path !== undefined) {
      assert.ok(
        problem.errors?.some(({ path: at }) => at === expected.path),
        JSON.stringify(problem.errors),
      );
      assert.ok(problem.error.param !== null);
    }
    assert.equal(await written(h), before, 'nothing written');
    return problem;
  };

export const VALID = { agent: { model: 'mock/echo' }, input: 'hi' };
export const INVALID = { status: 422, code: 'invalid_request' };
