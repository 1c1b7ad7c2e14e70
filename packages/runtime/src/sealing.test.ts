import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  createKeyring,
  digest,
  MissingKeyError,
  newDataKey,
  open,
  openText,
  SealError,
  seal,
  sealingKey,
  sealText,
  sha256Hex,
} from './sealing.ts';

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const aad = fc.string({ unit: 'grapheme' });

test('what was sealed opens to the same bytes', () => {
  const key = newDataKey();
  fc.assert(
    fc.property(bytes, aad, (plaintext, place) => {
      const sealed = seal(key, plaintext, place);
      assert.equal(sealed.length, plaintext.length + 28);
      assert.deepEqual(open(key, sealed, place), plaintext);
    }),
  );
});

test('text opens to its UTF-8', () => {
  const key = newDataKey();
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      assert.equal(open(key, seal(key, text, ''), '').toString(), text);
    }),
  );
});

test('a flipped bit anywhere, a cut, another aad, another key: SealError', () => {
  const key = newDataKey();
  fc.assert(
    fc.property(bytes, aad, fc.nat(), fc.nat(7), (plaintext, place, position, bit) => {
      const sealed = seal(key, plaintext, place);
      const tampered = Buffer.from(sealed);
      const at = position % sealed.length;
      tampered.writeUInt8(tampered.readUInt8(at) ^ (1 << bit), at);
      assert.throws(() => open(key, tampered, place), SealError);
      assert.throws(() => open(key, sealed.subarray(0, at), place), SealError);
      assert.throws(() => open(key, sealed, `${place}x`), SealError);
      assert.throws(() => open(newDataKey(), sealed, place), SealError);
    }),
  );
});

test('no IV is used twice, so sealing the same text never gives the same bytes', () => {
  const key = newDataKey();
  const ivs = Array.from({ length: 2_000 }, () => seal(key, 'same', 'a').subarray(0, 12).toString('hex'));
  assert.equal(new Set(ivs).size, ivs.length);
});

test('a prepared key and its bytes are the same key', () => {
  const key = newDataKey();
  const prepared = sealingKey(key);
  assert.equal(open(key, seal(prepared, 'text', 'a'), 'a').toString(), 'text');
  assert.equal(open(prepared, seal(key, 'text', 'a'), 'a').toString(), 'text');
  assert.equal(digest(prepared, 'text'), digest(key, 'text'));
});

test('a rotated keyring wraps with the first key and unwraps what any of its keys wrapped', () => {
  const older = { id: 'k1', key: newDataKey() };
  const newer = { id: 'k2', key: newDataKey() };
  const before = createKeyring([older]);
  const after = createKeyring([newer, older]);
  const dataKey = newDataKey();
  const wrapped = before.wrap(dataKey, 'place');
  assert.match(wrapped, /^k1\.[A-Za-z0-9+/]+=*$/);
  assert.deepEqual(after.unwrap(wrapped, 'place'), dataKey);
  assert.equal(after.currentId, 'k2');
  assert.match(after.wrap(dataKey, 'place'), /^k2\./);
  assert.throws(() => after.unwrap(wrapped, 'elsewhere'), SealError);
  assert.throws(
    () => before.unwrap(after.wrap(dataKey, 'place'), 'place'),
    (error) => error instanceof MissingKeyError && /"k2".*not in the keyring \(k1\)/.test(error.message),
  );
  for (const damaged of ['garbage', 'k1.%%%', 'k3.AAAA']) {
    assert.throws(
      () => after.unwrap(damaged, 'place'),
      (error) => error instanceof SealError && !(error instanceof MissingKeyError),
    );
  }
});

test('what a key wrapped opens under whatever name the key has now, also where another has its name', () => {
  const [first, second] = [newDataKey(), newDataKey()];
  const dataKey = newDataKey();
  const wrapped = createKeyring([{ id: 'new', key: first }]).wrap(dataKey, 'place');
  const again = createKeyring([
    { id: 'new', key: second },
    { id: 'old', key: first },
  ]);
  assert.deepEqual(again.unwrap(wrapped, 'place'), dataKey);
  assert.deepEqual(createKeyring([{ id: 'k1', key: first }]).unwrap(wrapped, 'place'), dataKey);
  assert.deepEqual(
    [wrapped, again.wrap(dataKey, 'place')].map((each) => again.isCurrent(each, 'place')),
    [false, true],
  );
  assert.throws(
    () => createKeyring([{ id: 'new', key: second }]).unwrap(wrapped, 'place'),
    (error) => error instanceof MissingKeyError && /another key "new"/.test(error.message),
  );
});

test('a keyring refuses to be empty, wrong sizes, doubled and unusable ids', () => {
  const key = newDataKey();
  assert.throws(() => createKeyring([]), /at least one key/);
  assert.throws(() => createKeyring([{ id: 'k', key: Buffer.alloc(16) }]), /16 bytes; it needs 32/);
  assert.throws(
    () =>
      createKeyring([
        { id: 'k', key },
        { id: 'k', key },
      ]),
    /twice/,
  );
  assert.throws(() => createKeyring([{ id: 'a.b', key }]), /key id/);
});

test('digests of a keyring: one per key, the current first, the same after a rotation, unlike those of a data key', () => {
  const k1 = { id: 'k1', key: newDataKey() };
  const k2 = { id: 'k2', key: newDataKey() };
  const [before] = createKeyring([k1]).digests('text');
  const after = createKeyring([k2, k1]).digests('text');
  assert.equal(after.length, 2);
  assert.equal(after[1], before);
  assert.notEqual(after[0], before);
  assert.notEqual(createKeyring([k1]).digests('texu')[0], before);
  assert.notEqual(before, digest(k1.key, 'text'), 'what wraps does not digest');
});

test('digests are HMAC-SHA256 (RFC 4231, case 2) and SHA-256', () => {
  assert.equal(
    digest(Buffer.from('Jefe'), 'what do ya want for nothing?'),
    '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
  );
  assert.equal(sha256Hex('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  assert.equal(
    sha256Hex(Buffer.from([0xff])),
    createHash('sha256')
      .update(Buffer.from([0xff]))
      .digest('hex'),
  );
});

test('a sealed text opens for its place alone, and with any ring that holds its key', () => {
  const key = { id: 'k1', key: newDataKey() };
  const sealed = sealText(createKeyring([key]), 'a secret', 'place:1');
  assert.ok(sealed.startsWith('k1.') && !sealed.includes('a secret'));
  const later = createKeyring([{ id: 'k2', key: newDataKey() }, key]);
  assert.equal(openText(later, sealed, 'place:1'), 'a secret');
  assert.throws(() => openText(later, sealed, 'place:2'), SealError);
  assert.throws(() => openText(later, 'no dots', 'place:1'), SealError);
});
