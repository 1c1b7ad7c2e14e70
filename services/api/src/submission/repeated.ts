import { type Principal, SignalboxError } from '@signalbox/contracts';
import { findRepeated } from '@signalbox/run-state';
import type { CreateDeps, Created } from './create-run.ts';
import { idempotencyMarks, type IdempotentRequest } from './idempotency.ts';

interface Repeatable {
  readonly principal: Principal;
  readonly idempotent: IdempotentRequest | null;
}

/**
 * A request that made a run is answered with that run, also where it would be refused by now: its agent allows less, a
 * price is gone, what it forks was erased. Else its sender, whose reply was lost, would send the work once more under
 * another key, and pay for it twice. Throws like `make`, and `idempotency_mismatch`.
 */
export const orRepeated = async (
  deps: CreateDeps,
  { principal: { tenantId }, idempotent }: Repeatable,
  make: () => Promise<Created>,
): Promise<Created> => {
  try {
    return await make();
  } catch (error) {
    if (idempotent === null || !(error instanceof SignalboxError) || error.retryable) throw error;
    const marks = idempotencyMarks(deps.keyring, tenantId, idempotent);
    const runId = await findRepeated(deps.partition, tenantId, marks);
    if (runId === null) throw error;
    const { view } = await deps.views.show(tenantId, runId);
    return { run: view, created: false };
  }
};
