import { after } from 'node:test';
import {
  type Behave,
  type FakeProvider,
  type FakeReply,
  type FakeRequest,
  startFakeProvider,
} from '../../../test/support/fake-provider/index.ts';

export const HAIKU = 'anthropic/claude-haiku-4-5';
export const MINI = 'openai/gpt-4o-mini';

export {
  type FakeProvider,
  type FakeReply,
  type FakeRequest,
  totalNano,
} from '../../../test/support/fake-provider/index.ts';

/** A provider over HTTP that is stopped after the tests of this file. */
export const fakeProvider = async (behave?: Behave): Promise<FakeProvider> => {
  const fake = await startFakeProvider(behave === undefined ? {} : { behave });
  after(() => fake.stop());
  return fake;
};

export type Answer = FakeReply | (() => FakeReply | Promise<FakeReply>);

/** Gives the answers in the order of the requests; the last one repeats. */
export const inTurn = (
  ...answers: readonly Answer[]
): { behave: Behave; readonly requests: FakeRequest[] } => {
  const requests: FakeRequest[] = [];
  return {
    requests,
    behave: (request) => {
      requests.push(request);
      const answer = answers[Math.min(requests.length, answers.length) - 1] ?? {};
      return typeof answer === 'function' ? answer() : answer;
    },
  };
};
