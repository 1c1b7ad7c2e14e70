import type { ModelAnswer, ModelPort, ModelRequest, ProviderKey } from '@signalbox/contracts';
import { createModels, type Models } from '@signalbox/providers';
import { systemClock } from '@signalbox/runtime';
import {
  type FakeProvider,
  type FakeProviderOptions,
  startFakeProvider,
} from '../support/fake-provider/index.ts';

/** The two wire formats, each with a model whose published rates the tests state by hand. */
export const HAIKU = 'anthropic/claude-haiku-4-5';
export const MINI = 'openai/gpt-4o-mini';

export const KEY = 'sk-test-0123456789abcdefghij';
export const OURS: ProviderKey = { source: 'env', id: 'pk_test', secret: KEY };

export const modelsAt = (
  fake: { anthropicBaseUrl: string; openaiBaseUrl: string },
  timeoutMs = 10_000,
): Models =>
  createModels({
    clock: systemClock,
    baseUrls: { anthropic: fake.anthropicBaseUrl, openai: fake.openaiBaseUrl },
    timeoutMs,
  });

export const requestTo = (model: string, changes: Partial<ModelRequest> = {}): ModelRequest => ({
  model,
  instructions: 'Be brief.',
  messages: [{ role: 'user', content: 'hello' }],
  tools: [],
  maxOutputTokens: 500,
  temperature: 0,
  outputSchema: null,
  ...changes,
});

export interface Heard {
  readonly answer: ModelAnswer;
  /** Deltas as they came. */
  readonly deltas: readonly string[];
}

export const ask = async (models: ModelPort, request: ModelRequest): Promise<Heard> => {
  const deltas: string[] = [];
  const signal = new AbortController().signal;
  const answer = await models.call(request, { key: OURS, signal, onDelta: (text) => deltas.push(text) });
  return { answer, deltas };
};

export const withFake = async (
  options: FakeProviderOptions,
  run: (fake: FakeProvider, models: ModelPort) => Promise<void>,
): Promise<void> => {
  const fake = await startFakeProvider(options);
  try {
    await run(fake, modelsAt(fake));
  } finally {
    await fake.stop();
  }
};

/** Waits for a condition, not for a time. */
export const until = async (holds: () => boolean): Promise<void> => {
  const giveUp = performance.now() + 60_000;
  while (!holds()) {
    if (performance.now() > giveUp) throw new Error('the condition did not come to hold within a minute');
    await new Promise((resolve) => setImmediate(resolve));
  }
};
