import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { adminChainOf, type CheckpointLeaf, GENESIS } from '@signalbox/contracts';
import { keyIdOf, merkleRoot, signCheckpoint } from './checkpoint.ts';
import { verifyExport } from './verify-export.ts';

const TENANT = 'acme';

test('a chain may have more signed places than a call takes arguments', async () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const key = publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
  const count = 200_000;
  const leaves: CheckpointLeaf[] = Array.from({ length: count }, (_, index) => ({
    run_id: adminChainOf(TENANT),
    seq: index + 1,
    hash: GENESIS,
  }));
  const unsigned = { tenant_id: TENANT, n: 1, ts: '2026-01-01T00:00:00.000Z', prev: GENESIS };
  const signed = signCheckpoint({ ...unsigned, root: merkleRoot(leaves), chains: count }, privateKey);
  const verdict = await verifyExport({
    exported: ['{"end":true,"lines":0}'],
    checkpoints: [JSON.stringify({ ...signed, leaves })],
    publicKeys: new Map([[keyIdOf(key), key]]),
    tenantId: TENANT,
    runId: null,
  });
  assert.deepEqual(verdict.first_bad, {
    run_id: adminChainOf(TENANT),
    seq: 1,
    why: `the whole chain is missing; a checkpoint holds ${count} events`,
  });
});
