import { type ModelAnswer, ModelError, type ModelPort, splitModelRef } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import { abortedError, type FailedAttempt, statusError } from '../attempt/failure.ts';
import type { ProviderClient } from '../provider-client.ts';
import { saidIn } from '../attempt/said.ts';
import { scriptOf } from './mock-script.ts';
import { echoTurn, type PlayedTurn, playTurn } from './mock-turn.ts';

/**
 * Models that need no key and cost nothing: `mock/echo` answers with the last user text, `mock/script` plays
 * a script (format in mock-script.ts). Deterministic: the same conversation gives the same answer.
 */

export const MOCK_MODELS = ['mock/echo', 'mock/script'] as const;

export const createMock = ({ clock }: { readonly clock: Clock }): ProviderClient => ({
  ping: () => Promise.resolve(),
  call: async (request, { signal, onDelta }) => {
    const { model } = splitModelRef(request.model);
    const turn = model === 'echo' ? echoTurn(request) : scriptedTurn(request, model);
    let sent = '';
    try {
      await pause(clock, turn.delayMs, signal);
      if (turn.error !== null) throw scriptedError(turn.error, clock.now());
      for (const piece of piecesOf(turn)) {
        if (sent !== '') await pause(clock, turn.chunkDelayMs, signal);
        sent += piece;
        onDelta(piece);
      }
    } catch (error) {
      if (signal.aborted) throw abortedError(attemptAt(clock.now(), sent), true);
      throw error;
    }
    return answerOf(turn, model);
  },
});

const scriptedTurn = (request: Parameters<ModelPort['call']>[0], model: string): PlayedTurn => {
  if (model !== 'script') throw refused(`no model mock/${model}: use ${MOCK_MODELS.join(' or ')}`);
  const script = scriptOf(request);
  if (script === null)
    throw refused('no script: the first user message or the instructions must be {"turns": [...]}');
  if (typeof script === 'string') throw refused(`the script is not valid: ${script}`);
  return playTurn(script, request);
};

const refused = (why: string): ModelError =>
  new ModelError('provider_error', `mock refused the request: ${why}`, { retryable: false, billed: 'none' });

const scriptedError = (error: NonNullable<PlayedTurn['error']>, now: number): ModelError => {
  const mapped = statusError({ status: error.status, said: saidIn(error.message) }, attemptAt(now, ''));
  const { code, message, httpStatus, billed, retryable } = mapped;
  return new ModelError(code, message, { httpStatus, billed, retryable: error.retryable ?? retryable });
};

const attemptAt = (now: number, sent: string): FailedAttempt => ({
  provider: 'mock',
  secrets: [],
  accepted: true,
  usage: null,
  outputBytes: Buffer.byteLength(sent),
  mayHideOutput: false,
  mayHaveBegun: true,
  now,
});

/** Zero is no wait at all: a run of mock steps is not held up by timers. */
const pause = async (clock: Clock, ms: number, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted();
  if (ms > 0) await clock.sleep(ms, signal);
};

/** Word by word, each with the blanks behind it, when there is time between words; else at once. */
export const piecesOf = ({
  text,
  chunkDelayMs,
}: Pick<PlayedTurn, 'text' | 'chunkDelayMs'>): readonly string[] => {
  if (text === '') return [];
  return chunkDelayMs === 0 ? [text] : (text.match(/\S+\s*|\s+/g) ?? [text]);
};

const answerOf = (turn: PlayedTurn, model: string): ModelAnswer => ({
  text: turn.text.toWellFormed(),
  toolCalls: turn.toolCalls,
  finishReason: turn.finishReason,
  usage: turn.usage,
  modelServed: `mock/${model}`,
  providerRequestId: null,
});
