import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { fromUsd } from '@signalbox/contracts';
import { capsClient, nextMidnight, TENANT, today, userPath } from './caps-client.ts';
import { type Harness, openHarness } from './harness.ts';
import { own } from './run-writer.ts';
import { allFrames } from './sse.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const { read, put, newTenant } = capsClient(() => h);

describe('spending', () => {
  for (const [scope, path, field] of [
    ['tenant_day', TENANT, 'daily_usd'],
    ['tenant_month', TENANT, 'monthly_usd'],
    ['user_day', userPath('u1'), 'daily_usd'],
    ['user_month', userPath('u1'), 'monthly_usd'],
  ] as const) {
    test(`a cap of ${scope} lowered below what is spent denies from then on; raised again it admits`, async () => {
      const { options } = await newTenant();
      const submit = () => h.submit({ user_id: 'u1' }, options);
      const first = await own(h, (await submit()).id, { day: today() });
      assert.equal((await first.request(1)).code, 'OK');
      const held = await read(path, options);
      assert.deepEqual([held['spent_usd'], held['held_usd']], [0, 0.001]);
      await first.complete(1, 'paid', true);
      const lowered = await put(path, { [field]: 0.002 }, options);
      const view = field === 'daily_usd' ? lowered : lowered.month;
      assert.deepEqual([view['spent_usd'], view['held_usd'], view['remaining_usd']], [0.0021, 0, 0]);
      const second = await own(h, (await submit()).id, { day: today() });
      const denied = await second.request(1);
      assert.equal(denied.code, 'DENIED');
      assert.deepEqual(
        denied.scopes.find((room) => room.scope === scope),
        { scope, capNano: fromUsd(0.002), spentNano: fromUsd(0.0021), heldNano: 0 },
      );
      await put(path, { [field]: 0.0031 }, options);
      assert.equal((await second.request(1)).code, 'OK', 'exactly what is left fits');
    });
  }

  test('a denial reaches whoever follows the run', async () => {
    const run = await h.submit();
    const writer = await own(h, run.id);
    const data = {
      step: 1,
      code: 'cost_cap_exceeded',
      scope: 'tenant_day',
      cap_nano: 1,
      spent_nano: 1,
      held_nano: 0,
      need_nano: 5,
      resets_at: nextMidnight(),
    } as const;
    const stream = await h.call('GET', `/v1/runs/${run.id}/events`, {
      headers: { accept: 'text/event-stream' },
    });
    const reading = allFrames(stream);
    await writer.deny(data);
    await writer.complete(1, '', true);
    const frames = await reading;
    const denial = frames.find(({ event }) => event === 'cost.denied');
    assert.deepEqual((JSON.parse(denial?.data ?? '{}') as { data: unknown }).data, data);
  });
});
