/** Providers that fail: what is tried again, what the run ends with. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { fakeProvider, HAIKU, MINI } from './fake.ts';
import { openWorld } from './harness.ts';
import { LeapClock } from './leap-clock.ts';
import { playAnswers } from './play-answers.ts';

const down = { status: 500, text: 'down for a moment' };
const overloaded = { status: 529, text: 'Overloaded' };
const limited = { status: 429, text: 'slow down' };

describe('a provider that fails', () => {
  test('is asked again after a pause, three times in all', async () => {
    const { run, requests, clock } = await playAnswers([limited, down, { text: 'at last' }]);
    assert.equal(run.output, 'at last');
    assert.equal(requests.length, 3);
    assert.deepEqual(
      run.all('llm.failed').map(({ http_status, code, decision }) => [http_status, code, decision]),
      [
        [429, 'provider_error', 'retry'],
        [500, 'provider_error', 'retry'],
      ],
    );
    const [first, second] = clock.slept.filter((ms) => ms > 100);
    assert.ok(first !== undefined && first > 200 && first <= 500, `${first}`);
    assert.ok(second !== undefined && second > 400 && second <= 1000, `${second}`);
    // A refusal for too many requests is free; an error after the provider took the call may not be.
    const [free, charged] = run.all('llm.failed').map(({ settlement }) => settlement);
    assert.deepEqual([free?.observed_nano, free?.estimated], [0, false]);
    assert.equal(charged?.observed_nano, run.all('llm.requested')[1]?.hold?.amount_nano);
    assert.equal(new Set(run.all('llm.requested').map(({ hold }) => hold?.id)).size, 3);
    assert.equal(run.state.steps.length, 1);
  });

  test('gives way to the fallback, with its own price', async () => {
    const { run, requests } = await playAnswers([down, down, down, { text: 'plan b' }], {
      spec: { fallbacks: [MINI] },
    });
    assert.equal(run.output, 'plan b');
    assert.deepEqual(
      requests.map(({ model }) => model),
      [...Array(3).fill('claude-haiku-4-5'), 'gpt-4o-mini'],
    );
    assert.equal(run.all('llm.failed')[2]?.decision, 'fallback');
    assert.deepEqual(
      run.all('llm.requested').map(({ attempt }) => attempt),
      [1, 2, 3, 4],
    );
  });

  test('for want of room charges nothing, so the cap still holds the fallback', async () => {
    const answers = [overloaded, { ...overloaded, status: 503 }, overloaded, { text: 'plan b' }];
    const { run } = await playAnswers(answers, { capNano: 8_000_000, spec: { fallbacks: [MINI] } });
    assert.deepEqual([run.output, run.state.error], ['plan b', null]);
    assert.deepEqual(
      run.all('llm.failed').map(({ settlement }) => settlement?.observed_nano),
      [0, 0, 0],
    );
    assert.equal(run.state.estimated, false);
  });

  test('and whose fallback fails as well ends the run', async () => {
    const { run, requests } = await playAnswers([down], { spec: { fallbacks: [MINI] } });
    assert.deepEqual([run.state.error?.code, run.state.error?.step], ['provider_error', 1]);
    assert.match(run.state.error?.message ?? '', /down for a moment/);
    assert.equal(requests.length, 6);
    assert.equal(run.state.heldNano, 0);
  });

  test('and quotes what it was sent: its message goes into events without it (R13)', async () => {
    const said = 'Ada is ill, and nobody knows where she lives';
    const refused = { status: 400, text: `content '${said}' is not allowed, see 12.3 of the terms` };
    const { run } = await playAnswers([refused], { input: said });
    assert.match(
      run.state.error?.message ?? '',
      /HTTP 400\): content '\[CONTENT\]' is not allowed, see 12\.3 of the terms$/,
    );
    assert.ok(!JSON.stringify(run.events).includes('Ada'));
  });

  test('and refuses our key is not asked again', async () => {
    const { run, requests } = await playAnswers([{ status: 401, text: 'invalid x-api-key' }]);
    assert.equal(run.state.error?.code, 'provider_auth');
    assert.equal(requests.length, 1);
    assert.equal(run.state.observedNano, 0);
  });

  test('and says when to come back is believed: the run parks meanwhile', async () => {
    const { run, world, worker, clock } = await playAnswers([
      { ...limited, headers: { 'retry-after': '120' } },
      { text: 'rested' },
    ]);
    assert.deepEqual([run.state.status, run.state.waitingFor], ['waiting', 'timer']);
    const retryAt = Date.parse(run.all('llm.failed')[0]?.retry_at ?? '');
    assert.ok(Math.abs(retryAt - clock.now() - 120_000) < 5000);
    clock.leap(121_000);
    await world.due(run.state.runId);
    await world.settle(worker);
    assert.equal((await world.read(run.state.runId)).output, 'rested');
  });

  test('and is away for long gives way to the fallback at once', async () => {
    const { run, requests } = await playAnswers(
      [{ ...limited, headers: { 'retry-after': '120' } }, { text: 'plan b' }],
      { spec: { fallbacks: [MINI] } },
    );
    assert.deepEqual([run.output, requests.length, run.all('run.parked').length], ['plan b', 2, 0]);
  });

  test('is called again when the store says it is time, though the clock of the worker is behind', async () => {
    const behind = new LeapClock();
    // So the store finds it due in 5.5 s, just long enough to park.
    behind.leap(-114_500);
    const { run, world, worker } = await playAnswers(
      [{ ...limited, headers: { 'retry-after': '120' } }, { text: 'rested' }],
      { clock: behind },
    );
    await until('the timer is due', async () => {
      await world.repair();
      return world.pending.length > 0;
    });
    await world.settle(worker);
    const after = await world.read(run.state.runId);
    assert.deepEqual([after.output, after.all('run.parked').length], ['rested', 1]);
  });

  test('and asks for an absurd pause gets an hour', async () => {
    for (const pause of ['99999999', '9'.repeat(30)]) {
      const { run, clock } = await playAnswers([{ ...limited, headers: { 'retry-after': pause } }]);
      assert.equal(run.state.waitingFor, 'timer');
      const retryAt = Date.parse(run.all('llm.failed')[0]?.retry_at ?? '');
      assert.ok(retryAt <= clock.now() + 3_600_000);
    }
  });

  test('and cannot be reached is free to be asked again', async () => {
    const world = await openWorld();
    const provider = await fakeProvider();
    await provider.stop();
    const run = await world.play(await world.worker({ provider, clock: new LeapClock() }), {
      spec: { model: HAIKU },
    });
    assert.equal(run.state.error?.code, 'provider_error');
    assert.equal(run.state.observedNano, 0);
    assert.equal(run.all('llm.requested').length, 3);
  });
});
