import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Run } from '@signalbox/contracts';
import { toCursor } from '../src/http/cursor.ts';
import { storeAll } from './audit.ts';
import { capsClient } from './caps-client.ts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';
import { finish, own } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const { newTenant } = capsClient(() => h);

describe('costs', () => {
  interface Costs {
    data: Record<string, string | number | null>[];
    next_cursor: string | null;
  }
  const costs = async (query: string, options: CallOptions = {}): Promise<Costs> => {
    const response = await h.call('GET', `/v1/costs?${query}`, options);
    const answer = (await response.json()) as Costs;
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };

  test('come from the ledger, grouped as asked, of the caller’s tenant only', async () => {
    const { options } = await newTenant();
    await h.call('PUT', '/v1/agents/paid', { ...options, json: { model: 'mock/echo' } });
    const runs: Run[] = [
      await h.submit({ user_id: 'anna', agent: 'paid' }, options),
      await h.submit({ user_id: 'bert' }, options),
      await h.submit({}, options),
    ];
    for (const { id } of runs) await finish(h, id);
    const open = await own(h, (await h.submit({ user_id: 'anna' }, options)).id);
    await open.request(1);
    await storeAll(h);
    const sums = { estimated_usd: 0, held_usd: 0, calls: 1, observed_usd: 0.0021 };
    assert.deepEqual(await costs('group_by=user_id,agent', options), {
      data: [
        { ...sums, user_id: null, agent: null },
        { ...sums, user_id: 'anna', agent: null, observed_usd: 0, held_usd: 0.001, calls: 0 },
        { ...sums, user_id: 'anna', agent: 'paid' },
        { ...sums, user_id: 'bert', agent: null },
      ],
      next_cursor: null,
    });
    const total = { ...sums, observed_usd: 0.0063, held_usd: 0.001, calls: 3 };
    assert.deepEqual((await costs('', options)).data, [total]);
    const ofDay = [{ ...total, day: '2026-01-01', model: 'mock/echo' }];
    assert.deepEqual((await costs('group_by=day,model', options)).data, ofDay);
    assert.deepEqual((await costs('group_by=day&from=2026-01-02', options)).data, []);
    const other = await newTenant();
    assert.deepEqual((await costs('group_by=day', other.options)).data, []);

    const first = await costs('group_by=user_id&limit=2', options);
    assert.equal(first.data.length, 2);
    const rest = await costs(`group_by=user_id&limit=2&cursor=${first.next_cursor ?? ''}`, options);
    assert.deepEqual(
      [...first.data, ...rest.data].map((row) => row['user_id']),
      [null, 'anna', 'bert'],
    );
    assert.equal(rest.next_cursor, null);
    const elsewhere = await h.call(
      'GET',
      `/v1/costs?group_by=day&cursor=${first.next_cursor ?? ''}`,
      options,
    );
    assert.equal(elsewhere.status, 422, 'a cursor of another list');
  });

  test('bad groupings, days, limits and scopes are refused', async () => {
    for (const query of [
      'group_by=colour',
      'group_by=day,day',
      'group_by=',
      'group_by=day,',
      'from=yesterday',
      'to=2026-02-30',
      'from=0000-01-01',
      'from=2026-02-02&to=2026-02-01',
      'limit=0',
      'cursor=x',
      `group_by=day&cursor=${toCursor('{"by":"day","after":["0000-01-01"]}')}`,
      'user_id=u1',
    ]) {
      const response = await h.call('GET', `/v1/costs?${query}`);
      assert.equal(response.status, 422, query);
      assert.equal(((await response.json()) as { code: string }).code, 'invalid_request', query);
    }
    const key = await h.key('default', ['runs:write']);
    assert.equal((await h.call('GET', '/v1/costs', { key })).status, 403);
  });
});
