import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

/** Status and, of a problem, its code. */
const answerOf = async (method: string, path: string, json?: object): Promise<string> => {
  const response = await h.call(method, path, json === undefined ? {} : { json });
  const text = await response.text();
  return response.ok ? String(response.status) : `${response.status} ${(JSON.parse(text) as Problem).code}`;
};
interface Problem {
  readonly code: string;
}

const REFUSED = '422 invalid_request';

const NO_TIMES = [
  'from=0000-01-01T00:00:00Z',
  'from=0001-01-01T00:00:00%2B00:01',
  'to=9999-12-31T23:59:59-23:59',
];
/** Postgres itself takes neither such zones nor so many digits. */
const TIMES = [
  'from=0001-01-01T00:00:00Z',
  'from=2026-01-01T00:00:00%2B23:59',
  `from=2026-01-01T00:00:00.${'1'.repeat(500)}Z`,
  'to=9999-12-31T23:59:59.999999999Z',
];

for (const path of ['/v1/audit', '/v1/audit/export']) {
  for (const period of NO_TIMES) {
    test(`${path}?${period} is refused`, async () => {
      assert.equal(await answerOf('GET', `${path}?${period}`), REFUSED);
    });
  }
  for (const period of TIMES) {
    test(`${path}?${period.slice(0, 40)} is answered`, async () => {
      assert.equal(await answerOf('GET', `${path}?${period}`), '200');
    });
  }
}

test('a time is the same instant in every zone, to the microsecond', async () => {
  const { id } = await h.submit();
  await storeAll(h);
  const countOf = async (period: string): Promise<number> => {
    const response = await h.call('GET', `/v1/audit?run_id=${id}&${period}`);
    return ((await response.json()) as { data: unknown[] }).data.length;
  };
  const { ts } = await h.db
    .selectFrom('audit_events')
    .select('ts')
    .where('run_id', '=', id)
    .executeTakeFirstOrThrow();
  const east = new Date(ts.getTime() + 3_600_000).toISOString().replace('Z', '%2B01:00');
  assert.deepEqual([await countOf(`from=${east}`), await countOf(`to=${east}`)], [1, 0]);
  const next = east.replace(/(\.\d{3})/, '$1001');
  assert.deepEqual([await countOf(`from=${next}`), await countOf(`to=${next}`)], [0, 1]);
});

test('a run id that no store can hold names no run', async () => {
  assert.equal(await answerOf('GET', '/v1/audit?run_id=%00'), '200');
  const response = await h.call('GET', '/v1/audit/export?run_id=%00');
  assert.equal(response.status, 200);
  assert.equal(await response.text(), '{"end":true,"lines":0,"checkpoint":0}\n');
  assert.equal(await answerOf('POST', '/v1/audit/verify', { run_id: '\0' }), '404 not_found');
});

describe('a cursor that no page gave is refused', () => {
  const ts = '2026-01-01T00:00:00.000000Z';
  for (const position of [
    [ts, '\0', 1],
    [ts, 'x', 2 ** 40],
    ['0000-01-01T00:00:00.000000Z', 'x', 1],
    [`2026-01-01T00:00:00.${'1'.repeat(500)}Z`, 'x', 1],
  ]) {
    test(JSON.stringify(position).slice(0, 60), async () => {
      const cursor = Buffer.from(JSON.stringify(position)).toString('base64url');
      for (const run of ['', '&run_id=x']) {
        assert.equal(await answerOf('GET', `/v1/audit?cursor=${cursor}${run}`), REFUSED);
      }
    });
  }

  test('nor does that of another list go on in a run: events would be left out', async () => {
    const runs = [await h.submit(), await h.submit()];
    await storeAll(h);
    const response = await h.call('GET', '/v1/audit?limit=1&type=run.submitted');
    const { data, next_cursor } = (await response.json()) as {
      data: { run_id: string }[];
      next_cursor: string | null;
    };
    const other = runs.find(({ id }) => id !== data[0]?.run_id)?.id ?? newId('run');
    assert.equal(await answerOf('GET', `/v1/audit?run_id=${other}&cursor=${next_cursor}`), REFUSED);
    assert.equal(await answerOf('GET', `/v1/audit?type=run.submitted&cursor=${next_cursor}`), '200');
  });
});
