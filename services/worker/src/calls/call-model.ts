import { type ModelAnswer, ModelError } from '@signalbox/contracts';
import type { CallModel } from '@signalbox/engine';
import { messageOf } from '@signalbox/runtime';
import { announceCall } from './announce-call.ts';
import { keyFor } from './provider-key.ts';
import { recordAnswer, recordFailure } from './record-call.ts';
import type { RunContext } from '../run/run-context.ts';
import { RunLostError } from '../run/session.ts';

/**
 * One attempt at a model: announce with its hold (R1, R3), call, record the result with its settlement (R2).
 * Nothing is sent to a provider before the store said OK.
 */

const asModelError = (error: unknown): ModelError =>
  error instanceof ModelError
    ? error
    : new ModelError('provider_error', messageOf(error), {
        retryable: false,
        billed: 'unknown',
        cause: error,
      });

/** Never throws: the answer is there, and was paid for. */
const followsSchema = async (context: RunContext, { toolCalls, text }: ModelAnswer): Promise<boolean> => {
  if (toolCalls.length > 0) return true;
  try {
    return await context.outputValid(context.session.state.submitted.tenant_id, text);
  } catch (error) {
    context.logger.error('an answer cannot be held against its schema', {
      run_id: context.session.runId,
      error,
    });
    return false;
  }
};

/** Announces and makes the call; returns when its result is recorded, or when it is not to be made. */
export const callModel = async (context: RunContext, action: CallModel): Promise<void> => {
  const { session, clock } = context;
  const key = await keyFor(context, action.model);
  // Before the announcement: a process that loads hears neither an abort nor that its lease is over.
  await context.models.load(action.model);
  const prepared = context.conversation.prepare(action);
  const announced = await announceCall(context, action, { prepared, key });
  if (announced === null) {
    context.conversation.forget();
    return;
  }
  const deltas = context.deltas(action.step);
  const stop = context.stops.open(context.remainingMs());
  const startedAt = clock.monotonic();
  const elapsed = (): number => Math.round(clock.monotonic() - startedAt);
  try {
    session.checkLease();
    const request = context.conversation.request(action, announced.offer.maxOutputTokens);
    const answer = await context.spans.chat(action.model, () =>
      context.models.call(request, { key, signal: stop.signal, onDelta: (text) => deltas.push(text) }),
    );
    const ms = elapsed();
    recordAnswer(context, action, announced, {
      answer,
      ms,
      outputValid: await followsSchema(context, answer),
    });
  } catch (error) {
    if (error instanceof RunLostError || session.identity.lost.aborted)
      throw new RunLostError(`run ${session.runId}: lost during a model call`);
    recordFailure(context, action, announced, {
      error: asModelError(error),
      prepared,
      ms: elapsed(),
      stop: stop.reason(),
    });
  } finally {
    stop.dispose();
    context.spentOutside(elapsed());
    deltas.end();
  }
};
