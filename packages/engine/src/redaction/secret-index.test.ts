import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SecretIndex } from './secret-index.ts';
import { REDACTED } from './secrets.ts';

const START = 'all-begin-like-this:';

test('of two that begin at one place the longer one goes, of two that overlap both', () => {
  const index = new SecretIndex();
  for (const secret of [START, `${START}abc`, `${START}xyz`, '0123456789-0123456789']) index.add(secret);
  assert.equal(index.without(`<${START}abcd>`), `<${REDACTED}d>`);
  assert.equal(index.without(`${START}${START}xyz`), REDACTED + REDACTED);
  assert.equal(index.without(`0123456789-0123456789-0123456789 ${START}`), `${REDACTED} ${REDACTED}`);
  assert.equal(index.without('a 0123456789-0123456789'), `a ${REDACTED}`);
  assert.equal(index.without('0123456789-012345678'), '0123456789-012345678');
});

test('it goes as often as it came', () => {
  const index = new SecretIndex();
  for (const secret of [START, START, `${START}!`]) index.add(secret);
  index.delete('never added, but as long');
  index.delete(START);
  assert.equal(index.without(START), REDACTED);
  index.delete(START);
  assert.equal(index.without(`${START} ${START}!`), `${START} ${REDACTED}`);
});

test('none of many is left in any text, and what holds none is left (R13)', () => {
  const secret = fc.stringMatching(/^[ab]{20,24}$/);
  const around = fc.stringMatching(/^[A-Z ]{0,30}$/);
  fc.assert(
    fc.property(
      fc.array(secret, { minLength: 1, maxLength: 20 }),
      around,
      around,
      (secrets, before, behind) => {
        const index = new SecretIndex();
        for (const one of secrets) index.add(one);
        const left = index.without(secrets.map((one) => before + one + behind).join(''));
        for (const one of secrets) assert.ok(!left.includes(one), left);
        assert.equal(index.without(before + behind), before + behind);
      },
    ),
  );
});
