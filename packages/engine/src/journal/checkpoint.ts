/**
 * Checkpoints: where the chains of a tenant ended, signed. What a chain proves of itself anybody can forge who may
 * write all of it anew; against a checkpoint that lies elsewhere that shows.
 */
import { createHash, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { type CheckpointLeaf, GENESIS, type SignedCheckpoint } from '@signalbox/contracts';

const sha256 = (...parts: readonly (string | Buffer)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** Leaves and nodes start with different bytes, so that none can pass for the other (RFC 6962). */
const LEAF = Buffer.of(0);
const NODE = Buffer.of(1);

const leafHash = ({ run_id, seq, hash }: CheckpointLeaf): Buffer =>
  sha256(LEAF, JSON.stringify([run_id, seq, hash]));

/** By bytes, as collation C has it. */
const byRunId = (a: CheckpointLeaf, b: CheckpointLeaf): number =>
  Buffer.compare(Buffer.from(a.run_id), Buffer.from(b.run_id));

/** The Merkle root over these leaves, whatever order they come in. A node without a partner moves up as it is. */
export const merkleRoot = (leaves: readonly CheckpointLeaf[]): string => {
  let level = leaves.toSorted(byRunId).map(leafHash);
  while (level.length > 1) {
    const above: Buffer[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = level.slice(i, i + 2);
      if (left !== undefined) above.push(right === undefined ? left : sha256(NODE, left, right));
    }
    level = above;
  }
  return (level[0] ?? sha256('')).toString('hex');
};

const KEY_ID_DIGITS = 16;

/** Names a public key by its hash. */
export const keyIdOf = (publicKey: string): string =>
  sha256(Buffer.from(publicKey, 'base64')).toString('hex').slice(0, KEY_ID_DIGITS);

type Unsigned = Omit<SignedCheckpoint, 'key_id' | 'public_key' | 'hash' | 'signature'>;

const bodyOf = ({
  tenant_id,
  n,
  ts,
  prev,
  root,
  chains,
  key_id,
}: Unsigned & { readonly key_id: string }): string =>
  JSON.stringify({ tenant_id, n, ts, prev, root, chains, key_id });

export const signCheckpoint = (unsigned: Unsigned, privateKey: KeyObject): SignedCheckpoint => {
  const publicKey = createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).toString('base64');
  const key_id = keyIdOf(publicKey);
  const body = bodyOf({ ...unsigned, key_id });
  return {
    ...unsigned,
    key_id,
    public_key: publicKey,
    hash: sha256(body).toString('hex'),
    signature: sign(null, Buffer.from(body), privateKey).toString('base64'),
  };
};

const isSigned = (body: string, signature: string, publicKey: string): boolean => {
  try {
    const key = createPublicKey({ key: Buffer.from(publicKey, 'base64'), type: 'spki', format: 'der' });
    return verify(null, Buffer.from(body), key, Buffer.from(signature, 'base64'));
  } catch {
    return false;
  }
};

/** Where the checkpoints of a tenant stand. */
export interface CheckpointHead {
  readonly n: number;
  readonly hash: string;
}
export const NO_CHECKPOINT: CheckpointHead = { n: 0, hash: GENESIS };

interface CheckpointProof {
  readonly leaves: readonly CheckpointLeaf[];
  /** Of the keys that may sign, by id. Null: any key; then a checkpoint proves only that nobody changed it alone. */
  readonly publicKeys: ReadonlyMap<string, string> | null;
}

/** What is wrong with one checkpoint, by itself; null when nothing is. */
export const checkpointFault = (
  checkpoint: SignedCheckpoint,
  { leaves, publicKeys }: CheckpointProof,
): string | null => {
  const body = bodyOf(checkpoint);
  if (sha256(body).toString('hex') !== checkpoint.hash) return 'the hash does not match the checkpoint';
  const key = publicKeys === null ? checkpoint.public_key : publicKeys.get(checkpoint.key_id);
  if (key === undefined) return `signed with key ${checkpoint.key_id}, which is not among the given ones`;
  if (keyIdOf(key) !== checkpoint.key_id) return 'the public key is not the one of its key_id';
  if (!isSigned(body, checkpoint.signature, key)) return 'the signature is not of this checkpoint';
  if (leaves.length !== checkpoint.chains || merkleRoot(leaves) !== checkpoint.root) {
    return 'the heads do not give the root';
  }
  return null;
};

/** Why a checkpoint is not the next one behind `head`; null when it is. */
export const checkpointBreak = (head: CheckpointHead, checkpoint: SignedCheckpoint): string | null => {
  if (checkpoint.n !== head.n + 1) return `expected checkpoint ${head.n + 1}, found ${checkpoint.n}`;
  return checkpoint.prev === head.hash ? null : 'prev is not the hash of the checkpoint before';
};
