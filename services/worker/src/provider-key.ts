import { type ProviderKey, splitModelRef } from '@signalbox/contracts';
import type { RunContext } from './run-context.ts';
import { untilStateAnswers } from './state-away.ts';

/**
 * The key a call is to be made with, looked up right before it is announced. Waits while run state is away or being
 * verified: a key that is not there may only be lost, and the call must not be charged to another.
 */
export const keyFor = async (context: RunContext, model: string): Promise<ProviderKey | null> => {
  const { provider } = splitModelRef(model);
  if (provider === 'mock') return null;
  const { vault, session } = context;
  const keys = await untilStateAnswers(context, () => vault.keysOf(session.state.submitted.tenant_id));
  return keys.get(provider) ?? null;
};
