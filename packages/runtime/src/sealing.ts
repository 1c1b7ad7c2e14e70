/**
 * Sealing: AES-256-GCM with a random IV each time (R13: what leaves the process is sealed).
 *
 * Two levels. A data key seals contents; a keyring wraps data keys. Both bind an `aad` (additional authenticated data):
 * opening with another one fails, so what is sealed for one thing cannot be passed off as another's.
 *
 * Layout of sealed bytes: iv (12) | ciphertext | tag (16). A wrapped key is `id.base64(sealed)`; the id says which key
 * is tried first.
 * Digests (HMACs) use keys derived from those of the ring.
 * With random IVs one key should not seal more than 2^32 times; rotate wrapping keys before that.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
  randomFillSync,
} from 'node:crypto';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const TAG = { authTagLength: TAG_BYTES };

/** Sealed bytes could not be opened. Says why without saying what was in them. */
export class SealError extends Error {
  override readonly name: string = 'SealError';
}

/**
 * No key of the keyring opens what looks well wrapped: another process may have the key. Wrapped text that was changed,
 * or belongs to something else, looks the same, since a key's name may have passed to another key.
 */
export class MissingKeyError extends SealError {
  override readonly name = 'MissingKeyError';
}

/** 32 bytes. Node prepares a Buffer anew at each use; a KeyObject (`sealingKey`) is about twice as fast. */
export type SealingKey = Buffer | KeyObject;

export interface WrappingKey {
  /** Names the key in what it wrapped: letters, digits, `_`, `-`. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Buffer;
}

export interface Keyring {
  /** The key that wraps new data keys. */
  readonly currentId: string;
  wrap(dataKey: Buffer, aad: string): string;
  /**
   * What any of its keys wrapped, whatever that key was named then: who follows `new:...,old:...` twice gives a name
   * that is in use to another key. Throws MissingKeyError for a key it lacks or another aad,
   * SealError for text that nothing wrapped.
   */
  unwrap(wrapped: string, aad: string): Buffer;
  /** The first key wrapped it, under the name it has now. */
  isCurrent(wrapped: string, aad: string): boolean;
  /**
   * HMACs of a text, one under each key, the current first: whoever compares with all of them knows a text again
   * that was digested before a rotation. They tell nothing about the text without the keys.
   */
  digests(text: string): readonly string[];
  /** The first of them: equal for equal text until the keyring begins with another key. */
  readonly digest: (text: string) => string;
}

export function newDataKey(): Buffer {
  return randomBytes(KEY_BYTES);
}

/** The same key in the form that is quick to use many times. */
export function sealingKey(key: Buffer): KeyObject {
  return createSecretKey(key);
}

/** Random bytes are drawn for many IVs at once: one draw each would be a third of the cost of a small seal. */
const ivPool = Buffer.alloc(IV_BYTES * 256);
let ivUsed = ivPool.length;

/** A view of the pool, never handed out twice. It is overwritten later, so `seal` copies it at once. */
function nextIv(): Buffer {
  if (ivUsed === ivPool.length) {
    randomFillSync(ivPool);
    ivUsed = 0;
  }
  const iv = ivPool.subarray(ivUsed, ivUsed + IV_BYTES);
  ivUsed += IV_BYTES;
  return iv;
}

/** A string is sealed as UTF-8. */
export function seal(key: SealingKey, plaintext: Buffer | string, aad: string): Buffer {
  const iv = nextIv();
  const cipher = createCipheriv(ALGORITHM, key, iv, TAG);
  cipher.setAAD(Buffer.from(aad));
  const ciphertext =
    typeof plaintext === 'string' ? cipher.update(plaintext, 'utf8') : cipher.update(plaintext);
  cipher.final(); // GCM is a stream mode: nothing is left to come out
  return Buffer.concat([iv, ciphertext, cipher.getAuthTag()]);
}

/** Text at rest under a key of its own: `<wrapped key>.<base64 of the sealed text>`; neither part has more dots. */
export function sealText(keyring: Keyring, text: string, aad: string): string {
  const dataKey = newDataKey();
  return `${keyring.wrap(dataKey, aad)}.${seal(dataKey, text, aad).toString('base64')}`;
}

/** Throws SealError as `open` and `unwrap` do. */
export function openText(keyring: Keyring, sealed: string, aad: string): string {
  const dot = sealed.lastIndexOf('.');
  if (dot < 0) throw new SealError('sealed text has the form wrapped-key.base64');
  const dataKey = keyring.unwrap(sealed.slice(0, dot), aad);
  return open(dataKey, Buffer.from(sealed.slice(dot + 1), 'base64'), aad).toString('utf8');
}

function assertSealed(sealed: Buffer): void {
  if (sealed.length >= IV_BYTES + TAG_BYTES) return;
  throw new SealError(`sealed bytes are too short (${sealed.length}): they were cut or never sealed`);
}

/** Throws SealError if the bytes were changed, cut, sealed under another key or for another aad. */
export function open(key: SealingKey, sealed: Buffer, aad: string): Buffer {
  assertSealed(sealed);
  const tagAt = sealed.length - TAG_BYTES;
  const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(0, IV_BYTES), TAG);
  decipher.setAAD(Buffer.from(aad));
  decipher.setAuthTag(sealed.subarray(tagAt));
  const plaintext = decipher.update(sealed.subarray(IV_BYTES, tagAt));
  try {
    decipher.final();
  } catch (cause) {
    throw new SealError(
      'sealed bytes do not open: they were changed, or belong to another key or other associated data',
      {
        cause,
      },
    );
  }
  return plaintext;
}

/** The first key wraps, all unwrap. Throws on an empty ring, a key of the wrong size, a doubled or unusable id. */
export function createKeyring(keys: readonly WrappingKey[]): Keyring {
  const current = keys[0];
  if (current === undefined) throw new Error('a keyring needs at least one key');
  const byId = new Map<string, KeyObject>();
  for (const { id, key } of keys) {
    if (!/^[\w-]+$/.test(id)) throw new Error('a key id may hold letters, digits, "_" and "-" only');
    if (key.length !== KEY_BYTES)
      throw new Error(`key "${id}" has ${key.length} bytes; it needs ${KEY_BYTES}`);
    if (byId.has(id)) throw new Error(`key id "${id}" is in the keyring twice`);
    byId.set(id, sealingKey(key));
  }
  const currentKey = sealingKey(current.key);
  const currentDigestKey = sealingKey(digestKeyOf(current.key));
  const digestKeys = keys.map(({ key }) => sealingKey(digestKeyOf(key)));
  return {
    currentId: current.id,
    wrap: (dataKey, aad) => `${current.id}.${seal(currentKey, dataKey, aad).toString('base64')}`,
    unwrap: (wrapped, aad) => unwrap(byId, wrapped, aad),
    isCurrent: (wrapped, aad) => {
      const { id, sealed } = parseWrapped(wrapped);
      return id === current.id && tryOpen(currentKey, sealed, aad) !== null;
    },
    digest: (text) => digest(currentDigestKey, text),
    digests: (text) => digestKeys.map((key) => digest(key, text)),
  };
}

/** One key has one use: what wraps does not digest. */
function digestKeyOf(key: Buffer): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', 'signalbox digest', KEY_BYTES));
}

function parseWrapped(wrapped: string): { readonly id: string; readonly sealed: Buffer } {
  const dot = wrapped.indexOf('.');
  if (dot < 0) throw new SealError('a wrapped key has the form id.base64; this text has no "."');
  return { id: wrapped.slice(0, dot), sealed: Buffer.from(wrapped.slice(dot + 1), 'base64') };
}

function tryOpen(key: KeyObject, sealed: Buffer, aad: string): Buffer | null {
  try {
    return open(key, sealed, aad);
  } catch (error) {
    if (error instanceof SealError) return null;
    throw error;
  }
}

function unwrap(byId: ReadonlyMap<string, KeyObject>, wrapped: string, aad: string): Buffer {
  const { id, sealed } = parseWrapped(wrapped);
  assertSealed(sealed);
  const named = byId.get(id);
  for (const key of named === undefined ? byId.values() : [named, ...byId.values()]) {
    const dataKey = tryOpen(key, sealed, aad);
    if (dataKey !== null) return dataKey;
  }
  const names = [...byId.keys()].join(', ');
  throw new MissingKeyError(
    named === undefined
      ? `wrapped with key "${id}", which is not in the keyring (${names}): add it`
      : `wrapped with another key "${id}" than the keyring has (${names}), or changed, or for something else: add that key`,
  );
}

/** HMAC-SHA256 in hex: equal for equal text under one key, tells nothing about the text without it. */
export function digest(key: SealingKey, text: string): string {
  return createHmac('sha256', key).update(text).digest('hex');
}

export function sha256Hex(data: Buffer | string): string {
  return hash('sha256', data, 'hex');
}
