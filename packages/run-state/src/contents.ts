import type { SealedContent } from '@signalbox/contracts';
import { open, seal, SealError, type SealingKey, sha256Hex } from '@signalbox/runtime';

/**
 * How a run's contents are sealed (design §5, Contents; R13). The run's id is bound in, so a sealed
 * content cannot be moved to another run; its ref is the hash of the ciphertext, so the chain can be
 * checked without the key.
 */
export const sealContent = (dataKey: SealingKey, runId: string, value: unknown): SealedContent => {
  const sealed = seal(dataKey, JSON.stringify(value), runId);
  return [`sha256:${sha256Hex(sealed)}`, sealed.toString('base64')];
};

const bytesOf = (sealed: Buffer | string): Buffer =>
  typeof sealed === 'string' ? Buffer.from(sealed, 'base64') : sealed;

/** What lies at a ref: sealed bytes, or their base64. */
export type ContentAtRef = readonly [ref: string, sealed: Buffer | string];

/**
 * Throws SealError for another run's content, damaged bytes, another key, and for another content of this run: well
 * sealed as that is, the journal does not name it there.
 */
export const openContent = (dataKey: SealingKey, runId: string, content: ContentAtRef): unknown =>
  JSON.parse(openContentText(dataKey, runId, content));

/** The same before it is parsed. */
export const openContentText = (dataKey: SealingKey, runId: string, [ref, sealed]: ContentAtRef): string => {
  const bytes = bytesOf(sealed);
  const found = `sha256:${sha256Hex(bytes)}`;
  if (found !== ref)
    throw new SealError(`run ${runId} has ${found} in the place of ${ref}: it was exchanged`);
  return open(dataKey, bytes, runId).toString('utf8');
};

/** Text while it is generated: nothing names it. Throws SealError. */
export const openDelta = (dataKey: SealingKey, runId: string, sealed: string): unknown =>
  JSON.parse(open(dataKey, bytesOf(sealed), runId).toString('utf8'));
