import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Run } from '@signalbox/contracts';
import { withdrawTrust } from '@signalbox/run-state';
import { type CallOptions, type Harness, openHarness } from './harness.ts';

interface Item {
  readonly index: number;
  readonly run?: Run;
  readonly problem?: { code: string; status: number; errors?: { path: string }[] };
}

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const echo = (input: string) => ({ agent: { model: 'mock/echo' }, input });
const post = async (json: object, options: CallOptions = {}) => {
  const response = await h.call('POST', '/v1/runs/batch', { ...options, json });
  return { status: response.status, json: (await response.json()) as { data: Item[]; code: string } };
};

test('each element is judged alone, and answered in its place', async () => {
  const { status, json } = await post({
    runs: [echo('a'), { ...echo('b'), colour: 1 }, 17, { agent: 'nobody', input: 'c' }, echo('d')],
  });
  assert.equal(status, 202);
  assert.deepEqual(
    json.data.map(({ index, run, problem }) => [index, run?.input ?? problem?.code]),
    [
      [0, 'a'],
      [1, 'invalid_request'],
      [2, 'invalid_request'],
      [3, 'agent_not_found'],
      [4, 'd'],
    ],
  );
  assert.deepEqual(json.data[1]?.problem?.errors, [{ path: 'colour', message: 'unknown field' }]);
  const id = json.data[4]?.run?.id ?? '';
  assert.deepEqual(await (await h.call('GET', `/v1/runs/${id}`)).json(), json.data[4]?.run);
});

test('1,000 runs are taken, 1,001, none, and unknown fields are refused', async () => {
  const many = (count: number) => ({ runs: Array.from({ length: count }, (_, n) => echo(`m${n}`)) });
  const { status, json } = await post(many(1000));
  assert.equal(status, 202);
  assert.deepEqual(
    json.data.map(({ index, run }) => [index, run?.input]),
    Array.from({ length: 1000 }, (_, n) => [n, `m${n}`]),
  );
  assert.equal(new Set(json.data.map(({ run }) => run?.id)).size, 1000);
  for (const body of [many(1001), many(0), {}, { ...many(1), more: 1 }]) {
    const refused = await post(body);
    assert.deepEqual([refused.status, refused.json.code], [422, 'invalid_request']);
  }
});

test('a body above 1 MiB is refused whole', async () => {
  const { status, json } = await post({ runs: [echo('x'.repeat(600_000)), echo('y'.repeat(600_000))] });
  assert.deepEqual([status, json.code], [413, 'payload_too_large']);
});

test('with an Idempotency-Key the same batch makes no second run; a changed element is refused', async () => {
  const headers = { 'idempotency-key': 'batch-1' };
  const first = await post({ runs: [echo('a'), echo('a'), { input: 'no agent' }] }, { headers });
  const ids = first.json.data.map(({ run }) => run?.id);
  assert.notEqual(ids[0], ids[1]);
  const again = await post({ runs: [echo('a'), echo('other'), echo('mended')] }, { headers });
  assert.equal(again.json.data[0]?.run?.id, ids[0]);
  assert.equal(again.json.data[1]?.problem?.code, 'idempotency_mismatch');
  assert.equal(again.json.data[2]?.run?.input, 'mended', 'what was refused did not use up its key');
  const alone = await h.call('POST', '/v1/runs', { json: echo('a'), headers });
  assert.equal(alone.status, 202, 'a key of a batch is not a key of POST /v1/runs');
});

test('while nothing can be served the whole batch is to be tried again', async () => {
  const away = await openHarness();
  try {
    await withdrawTrust(away.deps.partition);
    const response = await away.call('POST', '/v1/runs/batch', { json: { runs: [echo('a'), echo('b')] } });
    assert.equal(response.status, 503);
    assert.ok(Number(response.headers.get('retry-after')) > 0);
    assert.equal(away.logs.filter((line) => line.includes('request not served')).length, 1);
  } finally {
    await away.close();
  }
});
