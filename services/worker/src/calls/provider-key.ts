import { type ProviderKey, splitModelRef } from '@signalbox/contracts';
import { next } from '@signalbox/engine';
import { MissingKeyError } from '@signalbox/runtime';
import type { RunContext } from '../run/run-context.ts';
import { untilStateAnswers } from '../run/state-away.ts';

type KeyContext = Pick<RunContext, 'vault' | 'session' | 'clock'>;

/**
 * The key a call is to be made with, looked up right before it is announced. Waits while run state is away or being
 * verified: a key that is not there may only be lost, and the call must not be charged to another. Throws
 * MissingKeyError: another worker may be able to open it.
 */
export const keyFor = async (context: KeyContext, model: string): Promise<ProviderKey | null> => {
  const { provider } = splitModelRef(model);
  if (provider === 'mock') return null;
  const { vault, session } = context;
  const keys = await untilStateAnswers(context, () => vault.keysOf(session.state.submitted.tenant_id));
  const key = keys.get(provider) ?? null;
  if (key?.lacksKey === true)
    throw new MissingKeyError(
      `the tenant's key of ${provider} was sealed with a key that is not in ENCRYPTION_KEYS: add it`,
    );
  return key;
};

/** Looked at before anything is done for the run, so that its time does not go by here. Throws like `keyFor`. */
export const assertNextKey = async (context: KeyContext): Promise<void> => {
  const action = next(context.session.state);
  if (action.type === 'call_model') await keyFor(context, action.model);
};
