/** Money as the tests look at it. */
import { type RunSeen, TENANT, type World } from './harness.ts';

export const USD = 1_000_000_000;

/** The day a hold taken now counts for; tenants of these tests keep UTC. */
export const today = () => new Date().toISOString().slice(0, 10);
export const tenantDay = (world: World) => world.money(`spend:tenant:${TENANT}:${today()}`);
export const userDay = (world: World, user: string) => world.money(`spend:user:${TENANT}:${today()}:${user}`);

/** What the journal says its calls were charged, added up. */
export const charged = (run: RunSeen) =>
  run.events.reduce(
    (sum, { data }) =>
      sum + ('settlement' in data && data.settlement !== null ? data.settlement.observed_nano : 0),
    0,
  );
