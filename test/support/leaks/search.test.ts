import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createRedactor } from '@signalbox/engine';
import { ALL_KINDS, createPlants, KNOWN_FORMS } from './canaries.ts';
import { createSearch } from './search.ts';

/** Writes the value as a program would that knows nothing of this search. */
const WAYS: Readonly<Record<string, (value: Buffer) => Buffer>> = {
  'as it is': (value) => value,
  'base64 alone': (value) => Buffer.from(value.toString('base64')),
  'base64 behind one byte': (value) =>
    Buffer.from(Buffer.concat([Buffer.from('x'), value]).toString('base64')),
  'base64 behind two bytes, more behind it': (value) =>
    Buffer.from(Buffer.concat([Buffer.from('xy'), value, Buffer.from('z')]).toString('base64')),
  base64url: (value) => Buffer.from(value.toString('base64url')),
  hex: (value) => Buffer.from(value.toString('hex')),
  HEX: (value) => Buffer.from(value.toString('hex').toUpperCase()),
};
const TEXT_WAYS: Readonly<Record<string, (value: string) => string>> = {
  'within JSON': (value) => JSON.stringify({ value }),
  'within JSON within JSON': (value) => JSON.stringify(JSON.stringify({ value })),
  'in a query': (value) => encodeURIComponent(value),
  'in a form': (value) => new URLSearchParams({ value }).toString(),
};
const padding = randomBytes(5000);
const within = (bytes: Buffer): Buffer => Buffer.concat([padding, bytes, padding]);

for (const [way, write] of Object.entries(WAYS)) {
  test(`every canary, and raw key bytes, are found ${way}`, () => {
    const plants = createPlants();
    plants.plant('here', ALL_KINDS);
    plants.hold('a key', randomBytes(32));
    const search = createSearch(plants.all);
    for (const { kind, core } of plants.all) {
      const found = search.in('a file', within(write(core)));
      assert.deepEqual([...new Set(found.map((find) => find.canary.kind))], [kind]);
    }
  });
}

for (const [way, write] of Object.entries(TEXT_WAYS)) {
  test(`every canary is found ${way}`, () => {
    const plants = createPlants();
    plants.plant('here', ALL_KINDS);
    plants.hold('a password', 'p/ss "word" + \\ more');
    const search = createSearch(plants.all);
    for (const { kind, text } of plants.all) {
      const found = search.in('a file', within(Buffer.from(write(text))));
      assert.deepEqual([...new Set(found.map((find) => find.canary.kind))], [kind]);
    }
  });
}

test('what is not there is not found, nor what is there but for its last byte', () => {
  const plants = createPlants();
  plants.plant('here', ALL_KINDS);
  const search = createSearch(plants.all);
  assert.deepEqual(search.in('noise', randomBytes(2_000_000)), []);
  for (const { core } of plants.all) assert.deepEqual(search.in('cut', core.subarray(0, -1)), []);
});

test('every form that is planted is one the redactor knows, among the others and alone', () => {
  const plants = createPlants();
  const { text } = createRedactor();
  const alone = plants.plant('alone', KNOWN_FORMS).map((canary) => text(canary.text));
  const together = text(plants.text('together', KNOWN_FORMS));
  const redacted = [...alone, together];
  assert.deepEqual(createSearch(plants.all).in('redacted', redacted.join('\n')), []);
});
