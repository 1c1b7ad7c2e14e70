import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

/** What stands before the 32 bytes of an Ed25519 seed in PKCS #8. */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SEED = /^[A-Za-z0-9+/]{43}=$/;

/** An Ed25519 key as PEM, or the base64 of its seed; undefined for anything else. */
export const signingKeyFrom = (text: string): KeyObject | undefined => {
  try {
    const key = SEED.test(text)
      ? createPrivateKey({
          key: Buffer.concat([PKCS8, Buffer.from(text, 'base64')]),
          type: 'pkcs8',
          format: 'der',
        })
      : createPrivateKey(text);
    return key.asymmetricKeyType === 'ed25519' ? key : undefined;
  } catch {
    return undefined;
  }
};

/** SPKI, DER, base64: what an auditor verifies with. */
export const publicKeyOf = (key: KeyObject): string =>
  createPublicKey(key).export({ type: 'spki', format: 'der' }).toString('base64');
