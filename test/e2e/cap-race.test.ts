/**
 * Must show 5: 50 runs at once, each with a worst case of $0.03, against a tenant's daily cap of $1. Exactly 33
 * hold at the same time, whatever they cost in the end, and the provider never bills more than the cap.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setTenantCaps } from '@signalbox/run-state';
import { totalNano } from '../support/fake-provider/index.ts';
import { settled, spentToday, startSystem, taggedAgent, violations } from './stack.ts';

const RUNS = 50;
const USD = 1_000_000_000;
const MAX_OUTPUT_TOKENS = 5700;
/** What the calls of this test really use of their limit. */
let usedShare = 0;

const system = await startSystem({
  provider: {
    behave: ({ maxTokens }) => ({
      text: 'ok',
      delayMs: 1500,
      usage: { input_tokens: 100, output_tokens: Math.floor((maxTokens ?? 0) * usedShare) },
    }),
  },
});
after(() => system.stop());

const read = () => spentToday(system);

/** A cap of one dollar more than is spent so far. */
const allowOneDollar = async (): Promise<number> => {
  const { spentNano } = await read();
  const tenantDailyNano = spentNano + USD;
  const caps = { runNano: USD, userDailyNano: null, tenantDailyNano, timeZone: 'UTC' };
  await setTenantCaps(system.partition, 'default', caps);
  return tenantDailyNano;
};

/** Looks at the counters until told to stop. */
const watchCounters = (capNano: number) => {
  const most = { heldNano: 0, togetherNano: 0 };
  const stop = new AbortController();
  const watching = (async () => {
    while (!stop.signal.aborted) {
      const { spentNano, heldNano } = await read();
      most.heldNano = Math.max(most.heldNano, heldNano);
      most.togetherNano = Math.max(most.togetherNano, spentNano + heldNano);
      await sleep(2);
    }
  })();
  return async () => {
    stop.abort();
    await watching;
    assert.ok(most.togetherNano <= capNano, `${most.togetherNano} spent and held under a cap of ${capNano}`);
    return most;
  };
};

const submitAll = (name: string): Promise<string[]> =>
  Promise.all(
    Array.from({ length: RUNS }, async (_, n) => {
      const run = await system.api.submit({
        agent: taggedAgent(`${name}-${String(n).padStart(2, '0')}`, { tools: [] }),
        input: 'hi',
        limits: { max_output_tokens: MAX_OUTPUT_TOKENS },
      });
      return run.id;
    }),
  );

const holdsOf = async (id: string): Promise<number[]> =>
  (await system.api.events(id)).flatMap(({ type, data }) =>
    type === 'llm.requested' ? [(data['hold'] as { amount_nano: number }).amount_nano] : [],
  );

/** Most requests open at the provider at one time. */
const mostOpen = (entries: typeof system.provider.ledger): number => {
  const moments = entries.flatMap(({ startedAt, finishedAt }) => [
    { at: startedAt, change: 1 },
    { at: finishedAt ?? Number.POSITIVE_INFINITY, change: -1 },
  ]);
  let [open, most] = [0, 0];
  for (const { change } of moments.toSorted((a, b) => a.at - b.at || a.change - b.change)) {
    open += change;
    most = Math.max(most, open);
  }
  return most;
};

test('calls that cost little: 33 hold at once, the others wait for room, and all succeed', async () => {
  usedShare = 0.01;
  const stopWatching = watchCounters(await allowOneDollar());
  const ids = await submitAll('cheap');
  assert.deepEqual([...(await settled(system, ids))], [['succeeded', RUNS]]);
  const { heldNano } = await stopWatching();

  const holds = (await Promise.all(ids.map(holdsOf))).flat();
  const need = holds[0] ?? 0;
  assert.deepEqual([...new Set(holds)], [need]);
  assert.ok(need > USD / 34 && need <= USD / 33, `a worst case of ${need} nano-USD is not about $0.03`);
  assert.equal(heldNano, 33 * need);
  assert.equal(mostOpen(system.provider.ledger), 33);
  const waited = await Promise.all(ids.map((id) => system.api.events(id)));
  const parked = waited.filter((events) => events.some(({ data }) => data['reason'] === 'capacity'));
  assert.ok(parked.length >= RUNS - 33, `${parked.length} waited for capacity`);
  assert.deepEqual(await violations(system), []);
});

test('calls that cost nearly their worst case: the provider bills less than the cap, the rest end refused', async () => {
  usedShare = 1;
  const before = system.provider.ledger.length;
  const capNano = await allowOneDollar();
  const stopWatching = watchCounters(capNano);
  const ids = await submitAll('dear');
  const counts = await settled(system, ids);
  await stopWatching();

  const billed = totalNano(system.provider.ledger.slice(before));
  assert.ok(billed <= USD, `the provider bills ${billed} nano-USD`);
  assert.equal((counts.get('succeeded') ?? 0) + (counts.get('failed') ?? 0), RUNS);
  assert.ok(
    (counts.get('succeeded') ?? 0) >= 33 && (counts.get('failed') ?? 0) > 0,
    JSON.stringify([...counts]),
  );
  for (const id of ids) {
    const { status, error } = await system.api.run(id);
    if (status === 'failed') assert.equal(error?.code, 'cost_cap_exceeded');
  }
  assert.deepEqual(await violations(system), []);
  process.stdout.write(
    `${counts.get('succeeded')} of ${RUNS} runs were paid for, ${billed} of ${USD} nano-USD billed\n`,
  );
});
