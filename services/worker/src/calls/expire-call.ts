import { lastAttempt, type LlmStep } from '@signalbox/engine';
import { chargeLost } from '@signalbox/run-state';
import type { RunContext } from '../run/run-context.ts';

/** A call announced under an older epoch has no result: it stays charged, and is made again under a new hold. */
export const expireCall = (
  { session, metrics }: Pick<RunContext, 'session' | 'metrics'>,
  step: LlmStep,
): void => {
  const { attempt, model, hold } = lastAttempt(step);
  metrics.duplicateAttempts.inc();
  const onWritten = (): void => metrics.charged(model, hold?.amount_nano ?? 0);
  const { drafts, settlements } = chargeLost([{ step: step.step, attempt, model, hold }]);
  session.record(drafts, { settlements, onWritten });
};
