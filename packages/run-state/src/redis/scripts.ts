import { SignalboxError } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';
import { evaluate, type ScriptName } from './evaluate.ts';
import type { Partition } from './partition.ts';
import { isWrongType, lookForStrange } from './strange.ts';

/** Redis names the script in a bug of ours, which no retry mends; a refusal (OOM, READONLY, ...) has its own prefix. */
const isScriptBug = (message: string): boolean =>
  /^(ERR|WRONGTYPE) /.test(message) && message.includes(' script: ');

/** Redis cannot be reached or refuses: nothing was changed, or a repeat finds it, so waiting helps. */
const failure = (error: unknown, name: string): SignalboxError => {
  if (error instanceof SignalboxError) return error;
  const message = messageOf(error);
  if (isScriptBug(message)) {
    return new SignalboxError('internal', `The script "${name}" broke (${message}). Report this.`, {
      cause: error,
    });
  }
  return new SignalboxError(
    'state_unavailable',
    `Run state did not take "${name}" (${message}). Try again in a moment.`,
    {
      cause: error,
      retryAfter: 1,
    },
  );
};

/** At a key of another type the script breaks once: it is looked for and set aside (strange.lua). */
const evaluateTwice: typeof evaluate = async (partition, name, args) => {
  try {
    return await evaluate(partition, name, args);
  } catch (error) {
    if (!isWrongType(error)) throw error;
  }
  await lookForStrange(partition);
  return evaluate(partition, name, args);
};

/**
 * Runs a script by its SHA, loading it where the server does not know it. Throws `state_unavailable`
 * (retryable) when Redis cannot be reached or refuses (a lost reply is safe to repeat), `internal` when the
 * script broke, `state_untrusted` (retryable) until the scheduler has verified the server's data.
 */
export const runScript = async (
  partition: Partition,
  name: ScriptName,
  args: readonly (string | number)[],
): Promise<unknown> => {
  const reply = await evaluateTwice(partition, name, args).catch((error: unknown) => {
    throw failure(error, name);
  });
  if (Array.isArray(reply) && reply[0] === 'UNTRUSTED') {
    throw new SignalboxError(
      'state_untrusted',
      `Run state did not take "${name}": its data is being verified against Postgres. Try again in a moment.`,
      { retryAfter: 1 },
    );
  }
  return reply;
};
