import { type ProviderKey, splitModelRef } from '@signalbox/contracts';
import { backoffMs } from '@signalbox/runtime';
import type { RunContext } from './run-context.ts';
import { isStateAway } from './session.ts';

const RETRY = { baseMs: 50, capMs: 1000, random: Math.random };

/**
 * The key a call is to be made with, looked up right before it is announced. Waits while run state is away or being
 * verified: a key that is not there may only be lost, and the call must not be charged to another.
 */
export const keyFor = async (context: RunContext, model: string): Promise<ProviderKey | null> => {
  const { provider } = splitModelRef(model);
  if (provider === 'mock') return null;
  const { vault, session, clock } = context;
  for (let attempt = 1; ; attempt += 1) {
    context.checkLease();
    try {
      return (await vault.keysOf(session.state.submitted.tenant_id)).get(provider) ?? null;
    } catch (error) {
      if (!isStateAway(error)) throw error;
      await clock.sleep(backoffMs(attempt, RETRY), session.identity.lost).catch(() => undefined);
    }
  }
};
