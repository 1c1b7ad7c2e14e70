import { type AttemptDeps } from '../attempt/attempt.ts';
import { timeoutError, toModelError } from '../attempt/failure.ts';

/**
 * One request that costs nothing and that only a good key gets an answer to (a list of models). Sends once; throws
 * `ModelError` as a call does.
 */
export const attemptPing = async (
  { provider, secrets, errors, clock, timeoutMs }: AttemptDeps,
  send: (signal: AbortSignal) => Promise<Response>,
): Promise<void> => {
  const socket = new AbortController();
  const settled = new AbortController();
  let timedOut = false;
  const expire = (): void => {
    timedOut = true;
    socket.abort();
  };
  void clock.sleep(timeoutMs, settled.signal).then(expire, () => undefined);
  try {
    // Read to its end: what is no JSON is no provider.
    await (await send(socket.signal)).json();
  } catch (error) {
    const seen = {
      provider,
      secrets,
      accepted: false,
      usage: null,
      outputBytes: 0,
      mayHideOutput: false,
      mayHaveBegun: true,
      now: clock.now(),
    };
    throw timedOut ? timeoutError(seen, timeoutMs) : toModelError(error, seen, errors);
  } finally {
    settled.abort();
  }
};
