import { fakeProvider, HAIKU, inTurn, type Answer } from './fake.ts';
import { openWorld, type SubmitOptions } from './harness.ts';
import { LeapClock } from './leap-clock.ts';

/** Plays one run against a provider that answers so, call by call; waits cost no time. */
export const playAnswers = async (
  answers: readonly Answer[],
  { clock = new LeapClock(), ...options }: SubmitOptions & { clock?: LeapClock } = {},
) => {
  const world = await openWorld();
  const turns = inTurn(...answers);
  const worker = await world.worker({ provider: await fakeProvider(turns.behave), clock });
  const run = await world.play(worker, { ...options, spec: { model: HAIKU, ...options.spec } });
  return { world, worker, run, clock, requests: turns.requests };
};
