import type { CallOptions, ModelAnswer } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import { AnswerBuilder } from './answer-builder.ts';
import {
  abortedError,
  brokenError,
  type FailedAttempt,
  type SdkErrors,
  timeoutError,
  toModelError,
} from './failure.ts';
import { saidIn } from './said.ts';

/**
 * One physical request to a provider, from send to complete answer; the same for every wire format.
 * Owns the attempt's abort controller: whoever gives up first (caller, deadline), the socket is closed.
 * Never sends twice (each attempt is its own hold).
 */

export interface AttemptDeps {
  readonly provider: string;
  readonly secrets: readonly string[];
  readonly errors: SdkErrors;
  readonly clock: Clock;
  /** From send to the last byte, ms. */
  readonly timeoutMs: number;
}

/** How a wire format is spoken. */
export interface Exchange {
  readonly modelAsked: string;
  readonly requestIdHeader: string;
  /** Until the answer shows otherwise. */
  readonly mayHideOutput: boolean;
  /** Its first event says that the model is at work. */
  readonly saysWhenItBegins: boolean;
  send(signal: AbortSignal): Promise<Response>;
  /** Events of a streamed answer, parsed from JSON. */
  events(response: Response, controller: AbortController): AsyncIterable<unknown>;
  /** Reads one streamed event. Throws on what the format does not know. */
  onEvent(event: unknown, answer: AnswerBuilder): void;
  /** Reads an answer that came as one JSON document although a stream was asked for. */
  onWhole(body: unknown, answer: AnswerBuilder): void;
}

/** How long what is complete may take to end: usage may follow, and some keep the connection open behind it. */
const LAST_WORDS_MS = 10_000;

const ENDED = 'the stream ended before the answer did';
const A_PAGE = `${ENDED}; it says that it is a web page, so look at the base URL and at proxies on the way`;

const typeOf = (response: Response): string => response.headers.get('content-type') ?? '';

/** The end of an attempt that the caller or the deadline brings. */
interface GivingUp {
  /** The answer is complete. */
  readonly endSoon: () => void;
  /** Throws when that is how it ended. The SDKs end an aborted stream without an error, so ask after success as well. */
  readonly refuse: () => void;
  /** Nobody gives up any more. */
  readonly dispose: () => void;
}

/** Closes the socket, whoever gives up first. */
const givingUp = (
  { clock, timeoutMs }: AttemptDeps,
  { signal, socket }: { signal: AbortSignal; socket: AbortController },
  seen: () => FailedAttempt,
): GivingUp => {
  const settled = new AbortController();
  let timedOut = false;
  let ending = false;
  const close = (): void => socket.abort();
  const expire = (): void => {
    timedOut = !ending;
    close();
  };
  signal.addEventListener('abort', close, { once: true });
  void clock.sleep(timeoutMs, settled.signal).then(expire, () => undefined);
  return {
    endSoon: () => {
      if (!ending) void clock.sleep(LAST_WORDS_MS, settled.signal).then(close, () => undefined);
      ending = true;
    },
    refuse: () => {
      if (signal.aborted) throw abortedError(seen(), true);
      if (timedOut) throw timeoutError(seen(), timeoutMs);
    },
    dispose: () => {
      signal.removeEventListener('abort', close);
      settled.abort();
    },
  };
};

export const attemptCall = async (
  deps: AttemptDeps,
  exchange: Exchange,
  { signal, onDelta }: CallOptions,
): Promise<ModelAnswer> => {
  const answer = new AnswerBuilder(onDelta, exchange.mayHideOutput, !exchange.saysWhenItBegins);
  const socket = new AbortController();
  let accepted = false;
  let ended = ENDED;
  let readToEnd = false;
  const seen = (): FailedAttempt => ({
    provider: deps.provider,
    secrets: deps.secrets,
    accepted,
    usage: answer.usage,
    outputBytes: answer.outputBytes,
    mayHideOutput: answer.mayHideOutput,
    mayHaveBegun: answer.mayHaveBegun,
    now: deps.clock.now(),
  });
  if (signal.aborted) throw abortedError(seen(), false);
  const givenUp = givingUp(deps, { signal, socket }, seen);
  try {
    const response = await exchange.send(socket.signal);
    accepted = true;
    if (typeOf(response).includes('text/html')) ended = A_PAGE;
    answer.requestId = response.headers.get(exchange.requestIdHeader);
    await receive(exchange, response, { answer, socket, endSoon: givenUp.endSoon });
    readToEnd = true;
    givenUp.refuse();
  } catch (error) {
    givenUp.refuse();
    // What broke after the end of the answer (a lost usage chunk) does not undo the answer.
    if (answer.finishReason === null) throw toModelError(error, seen(), deps.errors);
  } finally {
    givenUp.dispose();
    // A connection whose answer was read to its end is fit for the next call.
    if (!readToEnd) socket.abort();
  }
  if (answer.finishReason === null) throw brokenError(seen(), saidIn(ended));
  return answer.answer(exchange.modelAsked);
};

const receive = async (
  exchange: Exchange,
  response: Response,
  { answer, socket, endSoon }: { answer: AnswerBuilder; socket: AbortController; endSoon: () => void },
): Promise<void> => {
  if (typeOf(response).includes('application/json')) {
    // Nothing of it shows before its end.
    answer.mayHideOutput = true;
    exchange.onWhole(await response.json(), answer);
    return;
  }
  for await (const event of exchange.events(response, socket)) {
    exchange.onEvent(event, answer);
    if (answer.finishReason !== null) endSoon();
  }
};
