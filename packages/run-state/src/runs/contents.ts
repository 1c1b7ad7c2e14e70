import type { SealedContent } from '@signalbox/contracts';
import { open, seal, SealError, type SealingKey, sha256Hex } from '@signalbox/runtime';

/**
 * How a run's contents are sealed (Contents; R13). The run's id is bound in, so a sealed
 * content cannot be moved to another run; its ref is the hash of the ciphertext, so the chain can be
 * checked without the key.
 */

export const sealContent = (dataKey: SealingKey, runId: string, value: unknown): SealedContent => {
  const sealed = seal(dataKey, JSON.stringify(value), runId);
  return [refOf(sealed), sealed.toString('base64')];
};

const refOf = (sealed: Buffer): string => `sha256:${sha256Hex(sealed)}`;

/** Sealed bytes that were found somewhere, and the ref that is theirs. */
export interface FoundContent {
  readonly bytes: Buffer;
  readonly ref: string;
}

/** `sealed`: base64. */
export const foundContent = (sealed: string): FoundContent => {
  const bytes = Buffer.from(sealed, 'base64');
  return { bytes, ref: refOf(bytes) };
};

/** What was found where the journal names `ref`. */
export type ContentAtRef = readonly [ref: string, found: FoundContent];

/**
 * Throws SealError for another run's content, damaged bytes, another key, and for another content of this run: well
 * sealed as that is, the journal does not name it there.
 */
export const openContent = (dataKey: SealingKey, runId: string, content: ContentAtRef): unknown =>
  JSON.parse(openContentText(dataKey, runId, content));

/** The same before it is parsed. */
export const openContentText = (dataKey: SealingKey, runId: string, [ref, found]: ContentAtRef): string => {
  if (found.ref !== ref)
    throw new SealError(`run ${runId} has ${found.ref} in the place of ${ref}: it was exchanged`);
  return open(dataKey, found.bytes, runId).toString('utf8');
};

/** Text while it is generated: nothing names it. Throws SealError. */
export const openDelta = (dataKey: SealingKey, runId: string, sealed: string): unknown =>
  JSON.parse(open(dataKey, Buffer.from(sealed, 'base64'), runId).toString('utf8'));
