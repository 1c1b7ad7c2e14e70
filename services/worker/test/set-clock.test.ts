/** The wall clock of a worker's machine is set while it works on a run. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { systemClock } from '@signalbox/runtime';
import { openWorld, script } from './harness.ts';
import { toolboxWith } from './tools.ts';

const HOUR = 3_600_000;
const ASKS = { tool_calls: [{ name: 'http_request', arguments: { key: 'a' } }] };

describe('a clock that is set makes a run neither older nor younger', () => {
  for (const [how, setMs] of [
    ['ahead', 2 * HOUR],
    ['back', -2 * HOUR],
  ] as const) {
    test(how, async () => {
      const world = await openWorld();
      let ahead = 0;
      const clock = { ...systemClock, now: () => systemClock.now() + ahead };
      const toolbox = toolboxWith(async (key) => {
        ahead = setMs;
        return key;
      });
      const worker = await world.worker({ clock, toolbox });
      const run = await world.play(worker, {
        input: script(ASKS, { text: 'done' }),
        spec: { tools: ['http_request'] },
        limits: { timeout_seconds: 600 },
      });
      assert.equal(run.output, 'done');
      const times = run.events.map(({ ts }) => Date.parse(ts));
      assert.ok(Math.max(...times) - Math.min(...times) < HOUR / 2, run.events.map(({ ts }) => ts).join());
    });
  }
});
