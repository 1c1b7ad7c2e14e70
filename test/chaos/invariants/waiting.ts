/** Places, parks and wake-ups, and that in the end nobody waits any more. */
import type { StoredRun } from '../case.ts';
import { MAX_RUNS } from '../plan.ts';
import { BACKLOG_LIMIT } from '../world.ts';
import { type Invariant, violationsOf } from './invariant.ts';

export const concurrency: Invariant = {
  name: 'concurrency caps',
  how: 'places taken, looked at in Redis all the time; none is left at the end',
  judge: (all) => ({
    checked: all.samples.looks,
    violations: [...all.samples.overCap, ...violationsOf(all, ['no ended run in the sets'])],
    note: `at most ${all.samples.mostBusy} of ${MAX_RUNS} runs of the capped tenant at once`,
  }),
};

const afterPark = ({ bodies }: StoredRun): (string | undefined)[] =>
  bodies.flatMap(({ type }, n) => (type === 'run.parked' ? [bodies[n + 1]?.type] : []));

const GOES_ON = ['run.claimed', 'run.abort_requested', 'run.aborted', 'run.woken'];

export const wakeUps: Invariant = {
  name: 'no lost wake-up, no double effect',
  how: 'every park is followed by the next claim or an abort; a wait has one result',
  judge: ({ runs }) => {
    const parks = [...runs.values()].flatMap((run) => afterPark(run).map((next) => ({ id: run.id, next })));
    return {
      checked: parks.length,
      violations: parks
        .filter(({ next }) => next === undefined || !GOES_ON.includes(next))
        .map(({ id, next }) => `${id}: after a park came ${next ?? 'nothing'}`),
    };
  },
};

export const parkedHoldsNothing: Invariant = {
  name: 'a parked run holds nothing',
  how: 'looked at in Redis all the time; no call is open in the journal when it parks',
  judge: ({ runs, samples }) => {
    const open = [...runs.values()].flatMap(({ id, bodies }) => {
      const calls = new Set<string>();
      return bodies.flatMap(({ type, data }) => {
        const call = `${data.step}/${data.attempt}`;
        if (type === 'llm.requested') calls.add(call);
        if (type === 'llm.completed' || type === 'llm.failed' || type === 'cost.expired') calls.delete(call);
        return type === 'run.parked' && calls.size > 0
          ? [`${id}: parked with call ${[...calls].join()}`]
          : [];
      });
    });
    return { checked: samples.looks, violations: [...samples.parkedAndHeld, ...open] };
  },
};

const MOST_BYTES = 256 * 1024 * 1024;

export const memory: Invariant = {
  name: 'bounded memory (R9)',
  how: `used_memory of Redis stays under ${MOST_BYTES / 1024 / 1024} MB however long Postgres is away`,
  judge: ({ samples }) => ({
    checked: samples.looks,
    violations: samples.mostBytes > MOST_BYTES ? [`${samples.mostBytes} bytes`] : [],
    note: `at most ${(samples.mostBytes / 1024 / 1024).toFixed(1)} MB and ${samples.longestStream} commits not stored (new runs are refused from ${BACKLOG_LIMIT})`,
  }),
};

export const liveness: Invariant = {
  name: 'liveness (R10)',
  how: 'after the last healing every run ends, queue and stream are empty, every worker ends runs',
  judge: ({ rest }) => ({
    checked: rest.workers,
    violations: [
      ...rest.open.map((what) => `left: ${what}`),
      ...(rest.working < rest.workers ? [`${rest.working} of ${rest.workers} workers end runs`] : []),
    ],
    note: `at rest ${(rest.tookMs / 1000).toFixed(1)} s after the last healing`,
  }),
};

export const nothingLeft: Invariant = {
  name: 'what has ended leaves nothing behind',
  how: 'no index in Redis names a run, no note waits for one, no room is kept for one',
  judge: ({ rest }) => ({ checked: rest.keys, violations: rest.left }),
};
