import type { Db } from '../db/pool.ts';

/** A run as its rows have it, whatever became of its journal. */
export interface OutlinedRun {
  readonly runId: string;
  readonly tenantId: string;
  readonly userId: string | null;
  readonly agent: string | null;
  readonly rootRunId: string;
  readonly priority: 'high' | 'normal' | 'low';
  readonly capNano: number | null;
  readonly epoch: number;
  readonly seq: number;
  readonly status: string;
  readonly sessionId: string | null;
  readonly createdAt: string;
  readonly holds: readonly OutlinedHold[];
}

interface OutlinedHold {
  readonly id: string;
  readonly amountNano: number;
  readonly day: string;
  readonly settled: { readonly observedNano: number; readonly expired: boolean } | null;
}

const holdsByRun = async (db: Db, runIds: readonly string[]): Promise<Map<string, OutlinedHold[]>> => {
  const rows = await db
    .selectFrom('cost_ledger')
    .select(['run_id', 'hold_id', 'held_nano', 'day', 'observed_nano', 'state'])
    .where('run_id', 'in', runIds)
    .execute();
  const holds = new Map<string, OutlinedHold[]>();
  for (const { run_id, hold_id: id, held_nano, day, observed_nano, state } of rows) {
    if (held_nano === null || day === null) continue;
    const settled =
      observed_nano === null ? null : { observedNano: observed_nano, expired: state === 'expired' };
    holds.set(run_id, [...(holds.get(run_id) ?? []), { id, amountNano: held_nano, day, settled }]);
  }
  return holds;
};

const priorityOf = (stored: string | null): OutlinedRun['priority'] =>
  stored === 'high' || stored === 'low' ? stored : 'normal';

/** Unknown ones are left out. */
export const outlineRuns = async (db: Db, runIds: readonly string[]): Promise<OutlinedRun[]> => {
  const holds = await holdsByRun(db, runIds);
  const rows = await db.selectFrom('runs').selectAll().where('id', 'in', runIds).execute();
  return rows.map((row) => ({
    runId: row.id,
    tenantId: row.tenant_id,
    userId: row.user_id,
    agent: row.agent,
    rootRunId: row.root_run_id,
    priority: priorityOf(row.priority),
    capNano: row.cap_nano,
    epoch: row.epoch,
    seq: row.last_seq,
    status: row.status,
    sessionId: row.session_id,
    createdAt: row.created_at.toISOString(),
    holds: holds.get(row.id) ?? [],
  }));
};
