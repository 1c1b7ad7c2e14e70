import type { SealedContent } from '@signalbox/contracts';
import { open, seal, type SealingKey, sha256Hex } from '@signalbox/runtime';

/**
 * How a run's contents are sealed (design §5, Contents; R13). The run's id is bound in, so a sealed
 * content cannot be moved to another run; its ref is the hash of the ciphertext, so the chain can be
 * checked without the key.
 */
export const sealContent = (dataKey: SealingKey, runId: string, value: unknown): SealedContent => {
  const sealed = seal(dataKey, JSON.stringify(value), runId);
  return [`sha256:${sha256Hex(sealed)}`, sealed.toString('base64')];
};

/** Sealed bytes, or their base64. Throws SealError for another run's content, damaged bytes, or another key. */
export const openContent = (dataKey: SealingKey, runId: string, sealed: Buffer | string): unknown =>
  JSON.parse(openContentText(dataKey, runId, sealed));

/** The same before it is parsed. */
export const openContentText = (dataKey: SealingKey, runId: string, sealed: Buffer | string): string =>
  open(dataKey, typeof sealed === 'string' ? Buffer.from(sealed, 'base64') : sealed, runId).toString('utf8');
