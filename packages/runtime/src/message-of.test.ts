import assert from 'node:assert/strict';
import { test } from 'node:test';
import { messageOf } from './message-of.ts';

const withMessage = (message: unknown): Error => Object.assign(new Error('x'), { message });

test('whatever was thrown has a text', () => {
  const cyclic = new Error('round');
  cyclic.cause = cyclic;
  const unshowable = {
    toString: () => {
      throw new Error('no');
    },
  };
  for (const [thrown, text] of [
    ['text', 'text'],
    [undefined, 'undefined'],
    [Symbol('s'), 'Symbol(s)'],
    [12n, '12'],
    [cyclic, 'round'],
    [withMessage(undefined), 'undefined'],
    [withMessage({ code: 1 }), '[object Object]'],
    [Object.create(null), 'something was thrown that cannot be shown'],
    [unshowable, 'something was thrown that cannot be shown'],
    [withMessage(unshowable), 'something was thrown that cannot be shown'],
  ] as const)
    assert.equal(messageOf(thrown), text);
});
