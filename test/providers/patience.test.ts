/** A model may think for longer than Node waits for a byte: the attempt's own deadline is the only one. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ask, HAIKU, MINI, requestTo, withFake } from './calls.ts';

const GLOBAL = Symbol.for('undici.globalDispatcher.1');

interface Dispatcher {
  dispatch(options: { path: string }, handler: object): boolean;
}

/** Notes what connections of this process are told, while it runs. */
const told = async (run: () => Promise<void>): Promise<object[]> => {
  const real = Reflect.get(globalThis, GLOBAL) as Dispatcher;
  const seen: object[] = [];
  const noting: Dispatcher = {
    dispatch: (options, handler) => {
      seen.push(options);
      return real.dispatch(options, handler);
    },
  };
  Reflect.set(globalThis, GLOBAL, noting);
  try {
    await run();
  } finally {
    Reflect.set(globalThis, GLOBAL, real);
  }
  return seen;
};

for (const model of [HAIKU, MINI]) {
  it(`${model}: no limit on silence, before the answer or within`, () =>
    withFake({}, async (_, models) => {
      const [options, ...more] = await told(async () => {
        assert.equal((await ask(models, requestTo(model))).answer.text, 'hello');
      });
      assert.partialDeepStrictEqual(options, { headersTimeout: 0, bodyTimeout: 0 });
      assert.equal(more.length, 0);
    }));
}
