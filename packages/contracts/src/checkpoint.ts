import { z } from 'zod';
import { GENESIS } from './event.ts';

/**
 * A signed statement of where the chains of one tenant ended: the Merkle root over the heads that moved since the
 * checkpoint before. `hash` is SHA-256 over the body, which holds `prev`, the hash of the checkpoint before;
 * `signature` is Ed25519 over the body, base64.
 */
const hash = z.string().length(GENESIS.length);

/** The head of a run, or of an administration chain. */
export const CheckpointLeaf = z.object({ run_id: z.string(), seq: z.int().min(1), hash });
export type CheckpointLeaf = z.infer<typeof CheckpointLeaf>;

export const SignedCheckpoint = z.object({
  tenant_id: z.string(),
  /** Counts from 1 without gaps. */
  n: z.int().min(1),
  ts: z.string(),
  prev: hash,
  root: hash,
  /** How many heads the root is over. */
  chains: z.int().min(1),
  key_id: z.string(),
  /** SPKI, DER, base64. Not signed: `key_id` is its hash, and whom to trust is the reader's to know. */
  public_key: z.string(),
  hash,
  signature: z.string(),
});
export type SignedCheckpoint = z.infer<typeof SignedCheckpoint>;

/** A line of the checkpoint file. */
export const CheckpointLine = SignedCheckpoint.extend({ leaves: z.array(CheckpointLeaf) });
export type CheckpointLine = z.infer<typeof CheckpointLine>;
