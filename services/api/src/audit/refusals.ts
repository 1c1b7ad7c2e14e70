import { type AdminEventData, type AdminFact, SYSTEM_TENANT } from '@signalbox/contracts';
import { type Logger, pause } from '@signalbox/runtime';
import { bySystem, recordFacts, type TrailDeps } from './admin-trail.ts';

/**
 * Refused requests, counted per minute, reason and source, then written as `auth.refused`. So nobody fills the audit
 * log by being refused: of each tenant and reason at most 20 sources are told apart, the others are counted together.
 * What was counted in the minute before a crash is lost; nothing was done by it.
 */

export interface Refusal {
  /** Null: of no tenant we know. */
  readonly tenantId: string | null;
  readonly reason: AdminEventData<'auth.refused'>['reason'];
  readonly source: string | null;
  readonly route: string | null;
}

export interface Refusals {
  count(refusal: Refusal): void;
  /** Writes what was counted; what cannot be written now stays counted. */
  flush(): Promise<void>;
  /** Flushes every minute, and once more when `stopping`. Never rejects. */
  run(stopping: AbortSignal): Promise<void>;
}

const MOST_SOURCES = 20;
const FLUSH_MS = 60_000;

type Counted = AdminEventData<'auth.refused'>;

/** Of one tenant, by reason and source. */
class Counts {
  readonly #bySlot = new Map<string, Counted>();

  add({ reason, source, route }: Refusal, times: number, since: string): void {
    const slot = this.#slotOf(reason, source ?? '');
    const told = slot === `${reason} ` ? null : source;
    const before = this.#bySlot.get(slot) ?? { reason, source: told, route, count: 0, since };
    this.#bySlot.set(slot, { ...before, count: before.count + times });
  }

  all(): Counted[] {
    return [...this.#bySlot.values()];
  }

  #slotOf(reason: Refusal['reason'], source: string): string {
    const own = `${reason} ${source}`;
    if (this.#bySlot.has(own)) return own;
    let told = 0;
    for (const other of this.#bySlot.values()) if (other.reason === reason) told += 1;
    return told < MOST_SOURCES ? own : `${reason} `;
  }
}

export const createRefusals = (deps: TrailDeps & { readonly logger: Logger }): Refusals => {
  let byTenant = new Map<string, Counts>();

  const count = (refusal: Refusal, times = 1, since = new Date(deps.clock.now()).toISOString()): void => {
    const tenantId = refusal.tenantId ?? SYSTEM_TENANT;
    const counts = byTenant.get(tenantId) ?? new Counts();
    byTenant.set(tenantId, counts);
    counts.add(refusal, times, since);
  };

  const flush = async (): Promise<void> => {
    const taken = byTenant;
    byTenant = new Map();
    for (const [tenantId, counts] of taken) {
      const counted = counts.all();
      const facts = counted.map((data): AdminFact => ({ type: 'auth.refused', data }));
      try {
        await recordFacts(deps, bySystem(tenantId, 'api'), facts);
      } catch (error) {
        deps.logger.warn('refused requests are not written yet', { error });
        for (const data of counted) count({ tenantId, ...data }, data.count, data.since);
      }
    }
  };

  return {
    count: (refusal) => count(refusal),
    flush,
    run: async (stopping) => {
      while (!stopping.aborted) {
        await pause(deps.clock, FLUSH_MS, stopping);
        await flush();
      }
    },
  };
};
