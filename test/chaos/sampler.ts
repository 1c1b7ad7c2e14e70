/** Looks at Redis while everything breaks: what must hold at every instant, each look one script. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CAPPED, MAX_RUNS } from './plan.ts';
import type { World } from './world.ts';

export interface Samples {
  looks: number;
  readonly overCap: string[];
  readonly parkedAndHeld: string[];
  mostBytes: number;
  longestStream: number;
  /** Runs of the capped tenant that had a place at once. */
  mostBusy: number;
}

const EVERY_MS = 100;

/**
 * KEYS[1] partition root, ARGV[1] tenant. Places are counted without runs that an api took for the length of one
 * commit, to write their end: such an owner offers no slots, and nobody works on its run.
 */
const LOOK = `
local root, busy = KEYS[1], 0
for _, run in ipairs(redis.call('SMEMBERS', root .. ':busy:' .. ARGV[1])) do
  local owner = redis.call('HGET', root .. ':run:' .. run, 'owner')
  if not owner or redis.call('HEXISTS', root .. ':slots', owner) == 1 then busy = busy + 1 end
end
local parked = root .. ':parked'
return {
  busy,
  redis.call('ZINTERCARD', 2, parked, root .. ':running'),
  redis.call('ZINTERCARD', 2, parked, root .. ':admitted'),
  redis.call('XLEN', root .. ':audit'),
  redis.call('INFO', 'memory'),
}`;

type Look = readonly [busy: number, running: number, admitted: number, length: number, memory: string];

const look = async (world: World, samples: Samples): Promise<void> => {
  const { redis, root } = world.partition;
  const [busy, running, admitted, length, memory] = (await redis.eval(LOOK, 1, root, CAPPED)) as Look;
  const at = new Date().toISOString();
  samples.looks += 1;
  samples.mostBusy = Math.max(samples.mostBusy, busy);
  if (busy > MAX_RUNS) samples.overCap.push(`${at}: ${busy} of ${MAX_RUNS} runs of ${CAPPED} at once`);
  if (running + admitted > 0)
    samples.parkedAndHeld.push(`${at}: ${running} parked runs with an owner, ${admitted} with a place`);
  samples.longestStream = Math.max(samples.longestStream, length);
  const bytes = Number(/used_memory:(\d+)/.exec(memory)?.[1] ?? 0);
  samples.mostBytes = Math.max(samples.mostBytes, bytes);
};

export const startSampler = (world: World): { readonly stop: () => Promise<Samples> } => {
  const stopping = new AbortController();
  const samples: Samples = {
    looks: 0,
    overCap: [],
    parkedAndHeld: [],
    mostBytes: 0,
    longestStream: 0,
    mostBusy: 0,
  };
  const looking = (async () => {
    while (!stopping.signal.aborted) {
      // Redis may be away.
      await look(world, samples).catch(() => undefined);
      await sleep(EVERY_MS);
    }
  })();
  return {
    stop: async () => {
      stopping.abort();
      await looking;
      return samples;
    },
  };
};
