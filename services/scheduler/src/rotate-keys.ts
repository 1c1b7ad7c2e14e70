/**
 * `npm run keys:rotate` with REDIS_URL, DATABASE_URL and ENCRYPTION_KEYS (the new key first), once every service runs
 * with these keys: wraps again what older keys wrapped, and says which of them may go.
 */
import { createPool } from '@signalbox/audit-store';
import { connect, disconnect, openPartition } from '@signalbox/run-state';
import { createKeyring, messageOf, systemClock } from '@signalbox/runtime';
import { loadRotationConfig } from './config.ts';
import { type Rotation, rotateKeys } from './keys/key-rotation.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** False: not all is done. */
const report = (
  { runKeys, agentVersions, providerKeys, replays, hot, unreadable, left }: Rotation,
  ids: readonly string[],
): boolean => {
  const [current = '', ...others] = ids;
  say(
    `wrapped again by key ${current}: ${runKeys} run keys, ${agentVersions} agent versions, ${providerKeys} provider keys and ${replays} replays in Postgres, ${hot} in Redis`,
  );
  for (const where of unreadable)
    say(`no key opens what is wrapped for ${where}: add the key that wrapped it`);
  for (const [keyId, count] of left) {
    say(
      `key ${keyId} is still used by ${count}: keep it. Does every api run with ${current} first, and the audit-writer at all? Then run this again`,
    );
  }
  const unused = others.filter((keyId) => !left.has(keyId));
  if (unused.length > 0) {
    say(
      `no longer used: ${unused.join(', ')}. Remove from ENCRYPTION_KEYS a day after ${current} became the first: until then a repeated Idempotency-Key may need it. A backup made before needs it for as long as it is kept`,
    );
  }
  return left.size === 0 && unreadable.length === 0;
};

const main = async (): Promise<void> => {
  const { databaseUrl, redisUrl, encryptionKeys } = loadRotationConfig();
  const onError = (): void => undefined;
  const redis = connect(redisUrl, 'state', { onError });
  const db = createPool({ databaseUrl, role: 'scheduler', onError });
  try {
    const keyring = createKeyring(encryptionKeys);
    const rotation = await rotateKeys({ db, partition: openPartition(redis), keyring, clock: systemClock });
    const done = report(
      rotation,
      encryptionKeys.map(({ id }) => id),
    );
    if (!done) process.exitCode = 1;
  } catch (error) {
    const why = messageOf(error);
    process.stderr.write(`key rotation stopped: ${why}\nRun it again; it goes on where it was.\n`);
    process.exitCode = 1;
  } finally {
    await disconnect(redis);
    await db.destroy();
  }
};

await main();
