import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assertLinear } from '../../test/linear-time.ts';
import { replacePersonalData } from './personal-data.ts';

const tagged = (text: string): string => replacePersonalData(text, (kind, value) => `<${kind} ${value}>`);

const FOUND: readonly [string, string][] = [
  ["mail Ann.O'Hara+x@Mail.Example.co.uk, please", "mail <EMAIL ann.o'hara+x@mail.example.co.uk>, please"],
  ['<jürgen@müller.de>', '<<EMAIL jürgen@müller.de>>'],
  ['card 4111 1111 1111 1111.', 'card <CARD 4111111111111111>.'],
  ['4111-1111-1111-1111', '<CARD 4111111111111111>'],
  ['"5555555555554444"', '"<CARD 5555555555554444>"'],
  ['amex 3782 822463 10005', 'amex <CARD 378282246310005>'],
  ['ssn 536-90-4399', 'ssn <SSN 536904399>'],
  ['call +49 (0)89 1234-5678 now', 'call <PHONE 4908912345678> now'],
  ['+15551234567', '<PHONE 15551234567>'],
  ['(555) 123-4567 or 555.123.4567', '<PHONE 5551234567> or <PHONE 5551234567>'],
];

for (const [text, expected] of FOUND) {
  test(`found in ${text}`, () => assert.equal(tagged(text), expected));
}

const ORDINARY = [
  'card 4111 1111 1111 1112 fails its check digit',
  '9999999999999995 is issued by nobody',
  '666-12-3456, 000-12-3456, 123-00-4567 and 123-45-0000 are no SSNs',
  'step 12 of 20, 1763724000000 ms, 10852250 nano-USD, 0.010852250 USD',
  'run_0190a5c47d1e7c3a9b2f4d5e6f708192 at 2026-01-01T00:00:00.000Z',
  '00000000-0000-4000-8000-123456789012',
  'sha256:4111111111111111aa, v4111111111111111',
  '192.168.100.12:6379, 1.5e+25, +3 more, a@b, @user, user@host',
  'anthropic/claude-haiku-4-5-20251001',
];

for (const text of ORDINARY) {
  test(`left as it is: ${text}`, () => assert.equal(tagged(text), text));
}

test('an address in any text is found', () => {
  const name = fc.stringMatching(/^[a-z][a-z0-9._-]{0,20}[a-z0-9]$/);
  const domain = fc.stringMatching(/^[a-z0-9]{1,12}\.(com|org|de|io)$/);
  const sign = fc.constantFrom(' ', '\n', '"', '(', ',', '<', ':', '=');
  const address = fc.tuple(sign, name, domain, sign);
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), address, (before, [open, local, host, close]) => {
      const planted = `${open}${local}@${host}${close}`;
      assert.ok(!tagged(before + planted).includes(planted));
    }),
  );
});

for (const unit of ['a', 'a.', '+1', '1 ', '1234 ', '4111', 'a@', 'a@a.', '(555) ', "-'"]) {
  test(`time grows with the text, not with its square: ${JSON.stringify(unit)}...`, () =>
    assertLinear(unit, tagged));
}
