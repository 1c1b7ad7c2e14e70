import assert from 'node:assert/strict';
import { it } from 'node:test';
import { CallStops } from './stop.ts';

const LONG_MS = 60_000;

const sources = () => ({
  aborted: new AbortController(),
  lost: new AbortController(),
  cut: new AbortController(),
});

const stopsOf = ({ aborted, lost, cut }: ReturnType<typeof sources>): CallStops =>
  new CallStops({ aborted: aborted.signal, lost: lost.signal, cut: cut.signal });

for (const [source, reason] of [
  ['aborted', 'aborted'],
  ['lost', 'lease_lost'],
  ['cut', 'worker_stopped'],
] as const) {
  it(`${source} ends every open call and each one opened later`, () => {
    const from = sources();
    const stops = stopsOf(from);
    const open = [stops.open(LONG_MS), stops.open(LONG_MS)];
    const over = stops.open(LONG_MS);
    over.dispose();
    from[source].abort(new Error('why'));
    open.push(stops.open(LONG_MS));
    assert.deepEqual(
      open.map((stop) => [stop.signal.aborted, stop.signal.reason?.message, stop.reason()]),
      open.map(() => [true, 'why', reason]),
    );
    assert.equal(over.signal.aborted, false);
    for (const stop of open) stop.dispose();
    stops.dispose();
  });
}

it('a time limit ends its own call only', async () => {
  const stops = stopsOf(sources());
  const [short, long] = [stops.open(0), stops.open(LONG_MS)];
  await new Promise((resolve) => short.signal.addEventListener('abort', resolve, { once: true }));
  assert.deepEqual([short.reason(), long.reason(), long.signal.aborted], ['timeout', null, false]);
  for (const stop of [short, long]) stop.dispose();
  stops.dispose();
});

it('a run that is over hears of nothing any more', () => {
  const from = sources();
  const stops = stopsOf(from);
  const left = stops.open(LONG_MS);
  stops.dispose();
  from.cut.abort(new Error('why'));
  assert.equal(left.signal.aborted, false);
  left.dispose();
});
