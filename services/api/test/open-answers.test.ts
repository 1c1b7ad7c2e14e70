import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitFor } from '@signalbox/local';
import { createOpenAnswers } from '../src/runs/open-answers.ts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

const MOST = 2;
const STREAM = { headers: { accept: 'text/event-stream' } };
const PATIENCE = { what: 'an answer that is over to count no more', timeoutMs: 60_000 };

let h: Harness;
before(async () => {
  h = await openHarness({ openAnswers: createOpenAnswers(MOST) });
});
after(() => h.close());

/** A stream of which the first piece is read, so that it is open. */
const openStream = async (path: string, options: CallOptions = {}) => {
  const response = await h.call('GET', path, { ...STREAM, ...options });
  assert.equal(response.status, 200, path);
  const reader = response.body?.getReader() ?? assert.fail('no body');
  await reader.read();
  return reader;
};

const refused = async (path: string, options: CallOptions = {}): Promise<void> => {
  const response = await h.call('GET', path, options);
  assert.deepEqual([response.status, response.headers.get('retry-after')], [429, '5'], path);
  assert.equal(((await response.json()) as { code: string }).code, 'rate_limited');
};

test('a tenant has so many streams and waits open; the next is refused, no other tenant, nor what does not stay open', async () => {
  const { id } = await h.submit();
  const [run, events] = [`/v1/runs/${id}`, `/v1/runs/${id}/events`];
  const held = [await openStream(events), await openStream(events)];
  await refused(events, STREAM);
  await refused(`${run}?wait=30`);
  for (const path of [run, `${run}?wait=0`, events]) assert.equal((await h.call('GET', path)).status, 200);
  const key = await h.key('other', ['admin']);
  const { id: others } = await h.submit({}, { key });
  await (await openStream(`/v1/runs/${others}/events`, { key })).cancel();

  await held.pop()?.cancel();
  const waiting = h.call('GET', `${run}?wait=30`);
  await waitFor(async () => ((await h.call('GET', `${run}?wait=1`)).status === 429 ? true : undefined), {
    ...PATIENCE,
    what: 'the wait to count',
  });
  await finish(h, id, 1);
  assert.equal((await waiting).status, 200);
  await held.pop()?.cancel();
  const { id: next } = await h.submit();
  const again = async () => {
    const response = await h.call('GET', `/v1/runs/${next}?wait=1`);
    return response.status === 200 ? true : undefined;
  };
  await Promise.all(Array.from({ length: MOST }, () => waitFor(again, PATIENCE)));
});

test('an answer that nobody reads holds no place', async () => {
  const { id } = await h.submit();
  for (let n = 0; n <= MOST; n += 1) {
    assert.equal((await h.call('HEAD', `/v1/runs/${id}/events`, STREAM)).status, 200);
  }
  await (await openStream(`/v1/runs/${id}/events`)).cancel();
});
