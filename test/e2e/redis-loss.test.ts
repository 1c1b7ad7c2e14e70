/**
 * Money and stop, 2: the caps hold while Redis is killed and restarted, emptied, and replaced by an old copy. No call
 * starts while the counters are not trusted, no run fails of it, and what is spent above a cap is nothing, or at most
 * what only the audit stream knew of.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { toUsd } from '@signalbox/contracts';
import { waitFor } from '@signalbox/local';
import { readTrust } from '@signalbox/run-state';
import { seeded } from './cap-race-plan.ts';
import { metric } from './failing-workers.ts';
import {
  allEnded,
  backUp,
  behaviour,
  closeBooks,
  delayVerification,
  empty,
  type Lose,
  type Plan,
  replaceBy,
  restart,
  setCaps,
  startedUntrusted,
  submitAll,
  untilStored,
  watchTrust,
} from './redis-loss-world.ts';
import { FULL, startSystem, type System, violations } from './stack.ts';

const RUNS = FULL ? 120 : 30;
const SEEDS = FULL ? [1, 2, 3, 4, 5] : [1];
const VERIFICATION_DELAY_MS = 4000;
const COPY_AGE_MS = 1000;

/** Says how Redis is lost; what must be prepared is done when it is called. */
type Prepare = (system: System) => Promise<Lose>;

const KINDS: Readonly<Record<string, Prepare>> = {
  'killed and restarted': () => Promise.resolve(restart),
  emptied: () => Promise.resolve(empty),
  'replaced by an old copy': async (system) => {
    const copy = await backUp(system);
    await sleep(COPY_AGE_MS);
    return replaceBy(copy);
  },
};

const trusted = (system: System): Promise<true> =>
  waitFor(async () => ((await readTrust(system.partition).catch(() => null)) === null ? undefined : true), {
    what: 'the counters to be trusted',
    timeoutMs: 60_000,
  });

/** What a client sees meanwhile: try again, not that its key or run is unknown. */
const assertWaits = async (system: System, runId: string): Promise<void> => {
  const body = { agent: { model: 'mock/echo' }, input: 'hi' };
  const submit = await system.api.request('/v1/runs', { body });
  assert.equal(submit.status, 503, JSON.stringify(submit.json));
  const read = await system.api.request(`/v1/runs/${runId}`);
  assert.ok([200, 503].includes(read.status), JSON.stringify(read.json));
};

const race = async (system: System, plan: Plan, prepare: Prepare) => {
  await setCaps(system, plan);
  const stopWatching = watchTrust(system);
  after(stopWatching);
  const runOfTag = await submitAll(system, plan);
  await untilStored(system, runOfTag);
  const lose = await prepare(system);
  await sleep(plan.random() * 700);
  const before = system.provider.ledger.length;
  const delayed = await delayVerification(system, VERIFICATION_DELAY_MS);
  after(delayed);
  const announcedNano = await lose(system);
  await assertWaits(system, runOfTag.values().next().value ?? '');
  await delayed();
  await trusted(system);
  const ends = await allEnded(system, [...runOfTag.values()]);
  assert.ok(system.provider.ledger.length > before, 'the loss came when nothing was left to do');
  return { runOfTag, announcedNano, ends, windows: await stopWatching() };
};

const usd = (nano: number): string => `$${toUsd(nano).toFixed(4)}`;

for (const seed of SEEDS) {
  for (const [kind, prepare] of Object.entries(KINDS)) {
    test(`Redis ${kind} under ${RUNS} runs at their caps (seed ${seed})`, async () => {
      const plan: Plan = { runs: RUNS, random: seeded(seed, kind) };
      const system = await startSystem({
        killsRedis: true,
        leaseSeconds: 3,
        provider: { behave: behaviour(plan) },
      });
      after(() => system.stop());
      const { runOfTag, announcedNano, ends, windows } = await race(system, plan, prepare);

      const codes = new Set([...ends.values()].map(({ status, error_code: code }) => code ?? status));
      for (const code of codes)
        assert.ok(['succeeded', 'cost_cap_exceeded'].includes(code), `a run ended with ${code}`);
      assert.equal(ends.size, RUNS);

      const longest = Math.max(...windows.map(({ from, to }) => to - from));
      // What a slow start of Redis takes of the delay is time without it, which is not seen as untrusted.
      assert.ok(longest > VERIFICATION_DELAY_MS / 8, `untrusted for ${longest} ms only`);
      const early = await startedUntrusted(system, windows, runOfTag);
      assert.equal(early.length, 0, 'calls started while the counters were not trusted');

      const { caps, unknownNano } = await closeBooks(system, plan, runOfTag);
      assert.ok(unknownNano <= announcedNano, `${unknownNano} billed beyond our ledger`);
      for (const { cap, overshootNano } of caps)
        assert.ok(overshootNano <= announcedNano, `${cap}: ${overshootNano} above its cap`);
      assert.deepEqual(await violations(system, null, { crashes: true }), []);

      const verified = await metric(system.stack.scheduler, 'trust_verification_seconds_sum');
      assert.equal(await metric(system.stack.scheduler, 'state_trusted'), 1);
      assert.ok((await metric(system.stack.scheduler, 'trust_verification_seconds_count')) >= 1);
      const used = caps.map(({ billedNano, capNano }) => billedNano / capNano);
      process.stdout.write(
        `Redis ${kind}, seed ${seed}: untrusted for ${longest} ms (verifying ${Math.round(verified * 1000)} ms, ` +
          `${VERIFICATION_DELAY_MS} of them kept waiting by the test); caps used ${Math.round(Math.min(...used) * 100)} to ` +
          `${Math.round(Math.max(...used) * 100)} %; above a cap ${usd(Math.max(...caps.map((c) => c.overshootNano)))}, ` +
          `not in our ledger ${usd(unknownNano)}, of at most ${usd(announcedNano)} that only the audit stream knew of\n`,
      );
      await system.stop();
    });
  }
}
