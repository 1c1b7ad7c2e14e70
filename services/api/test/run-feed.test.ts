import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appendDrafts, EMPTY_HEAD } from '@signalbox/engine';
import { openPartition, type Tail } from '@signalbox/run-state';
import { createLogger, ManualClock } from '@signalbox/runtime';
import { type Entry, type EventDraft, SignalboxError } from '@signalbox/contracts';
import { type FeedItem, followRun } from '../src/runs/run-feed.ts';
import type { RunReader } from '../src/runs/run-reader.ts';

const RUN_ID = `run_${'0'.repeat(32)}`;

const woken: EventDraft = { type: 'run.woken', data: { reason: 'timer' } };
const aborted: EventDraft = {
  type: 'run.aborted',
  data: { caught: 'before_start', call_closed: false, settled_nano: 0 },
};
const entriesOf = (...drafts: readonly EventDraft[]): readonly Entry[] =>
  appendDrafts(EMPTY_HEAD, drafts, {
    runId: RUN_ID,
    epoch: 0,
    ts: '2026-01-01T00:00:00Z',
    actor: { type: 'system', id: 'test' },
  }).entries;
const entries = entriesOf(woken, aborted);
const run = {
  runId: RUN_ID,
  tenantId: 't',
  wrappedKey: null,
  entries: entries.slice(0, 1),
  contentErasedAt: null,
  contents: new Map<string, string>(),
  abort: null,
};

const never = (): Promise<never> => Promise.reject(new Error('not asked for'));
const deafTail: Tail = { watch: never, watchEnd: never, watchAborts: never };

const follow = (
  clock: ManualClock,
  read: RunReader['entries'],
  signal: AbortSignal,
  from: { readonly entries: readonly Entry[]; readonly after: number } = { entries: run.entries, after: 0 },
): AsyncGenerator<FeedItem> =>
  followRun(
    {
      runs: { find: never, entries: read, list: never },
      tail: deafTail,
      // Nothing here reaches for Redis.
      partition: openPartition({} as Parameters<typeof openPartition>[0]),
      clock,
      logger: createLogger({ service: 'test', level: 'silent' }),
    },
    { run: { ...run, entries: from.entries }, after: from.after, runKey: null, signal },
  );

/** The next item, moving the clock a second at a time until it is there. */
const nextItem = async (
  clock: ManualClock,
  feed: AsyncGenerator<FeedItem>,
): Promise<{ item: FeedItem | undefined; seconds: number }> => {
  let done = false;
  const pending = feed.next();
  const settled = (): void => {
    done = true;
  };
  pending.then(settled, settled);
  let seconds = 0;
  for (;;) {
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
    await new Promise(setImmediate);
    if (done) break;
    await clock.advance(1000);
    seconds += 1;
  }
  const { value } = (await pending) as { value: FeedItem | undefined };
  return { item: value, seconds };
};

test('a quiet run shows life every 15 seconds', async () => {
  const clock = new ManualClock();
  const feed = follow(clock, () => Promise.resolve([]), new AbortController().signal);
  assert.equal((await nextItem(clock, feed)).item?.type, 'event');
  for (const _ of [1, 2]) {
    const { item, seconds } = await nextItem(clock, feed);
    assert.deepEqual([item?.type, seconds], ['idle', 15]);
  }
  await feed.return(undefined);
});

test('run state that is away for a while breaks nothing: the feed looks again each second', async () => {
  const clock = new ManualClock();
  let looks = 0;
  const read: RunReader['entries'] = async (_tenant, { after }) => {
    looks += 1;
    if (looks <= 3) throw new SignalboxError('state_unavailable', 'away');
    return entries.slice(after);
  };
  const feed = follow(clock, read, new AbortController().signal);
  await nextItem(clock, feed);
  const { item, seconds } = await nextItem(clock, feed);
  assert.deepEqual([item?.type, seconds], ['event', 4]);
  assert.deepEqual((await nextItem(clock, feed)).item, { type: 'end', name: 'run.aborted' });
});

test('an event in quarantine is not there, and moves no seq behind it', async () => {
  const [first, , third] = entriesOf(woken, woken, aborted);
  assert.ok(first !== undefined && third !== undefined);
  const shown = async (after: number): Promise<(number | string)[]> => {
    const from = { entries: [first, third], after };
    const items: (number | string)[] = [];
    for await (const item of follow(new ManualClock(), never, new AbortController().signal, from))
      items.push(item.type === 'event' ? item.seq : item.type);
    return items;
  };
  assert.deepEqual(await shown(0), [1, 3, 'end']);
  assert.deepEqual(await shown(1), [3, 'end']);
  assert.deepEqual(await shown(2), [3, 'end']);
  assert.deepEqual(await shown(3), ['end']);
});

test('what cannot pass by itself ends the feed', async () => {
  const clock = new ManualClock();
  const feed = follow(
    clock,
    () => Promise.reject(new SignalboxError('not_found', 'gone')),
    new AbortController().signal,
  );
  await nextItem(clock, feed);
  await assert.rejects(nextItem(clock, feed), /gone/);
});

test('an aborted signal ends the feed at once', async () => {
  const clock = new ManualClock();
  const gone = new AbortController();
  const feed = follow(clock, () => Promise.resolve([]), gone.signal);
  await nextItem(clock, feed);
  const pending = feed.next();
  gone.abort();
  assert.equal((await pending).done, true);
});
