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

export const createRefusals = (deps: TrailDeps & { readonly logger: Logger }): Refusals => {
  let byTenant = new Map<string, Map<string, Counted>>();

  const slotOf = (counted: ReadonlyMap<string, Counted>, { reason, source }: Refusal): string => {
    const own = `${reason} ${source ?? ''}`;
    if (counted.has(own)) return own;
    let told = 0;
    for (const other of counted.values()) if (other.reason === reason) told += 1;
    return told < MOST_SOURCES ? own : `${reason} `;
  };

  const count = (refusal: Refusal, times = 1, since = new Date(deps.clock.now()).toISOString()): void => {
    const tenantId = refusal.tenantId ?? SYSTEM_TENANT;
    const counted = byTenant.get(tenantId) ?? new Map<string, Counted>();
    byTenant.set(tenantId, counted);
    const slot = slotOf(counted, refusal);
    const { reason, route } = refusal;
    const source = slot === `${reason} ` ? null : refusal.source;
    const before = counted.get(slot) ?? { reason, source, route, count: 0, since };
    counted.set(slot, { ...before, count: before.count + times });
  };

  const flush = async (): Promise<void> => {
    const taken = byTenant;
    byTenant = new Map();
    for (const [tenantId, counted] of taken) {
      const facts = Array.from(counted.values(), (data): AdminFact => ({ type: 'auth.refused', data }));
      try {
        await recordFacts(deps, bySystem(tenantId, 'api'), facts);
      } catch (error) {
        deps.logger.warn('refused requests are not written yet', { error });
        for (const data of counted.values()) count({ tenantId, ...data }, data.count, data.since);
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
