import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface LocalSecrets {
  /** `id:base64(32 bytes)`, as in ENCRYPTION_KEYS. */
  readonly encryptionKeys: string;
  /** As in BOOTSTRAP_API_KEY. */
  readonly apiKey: string;
  /** base64(32 bytes), as in AUDIT_SIGNING_KEY. */
  readonly signingKey: string;
}

/** Made once and kept in `<dir>/secrets.json`, because the data of the directory is sealed with them. */
export function localSecrets(dir: string): LocalSecrets {
  const file = join(dir, 'secrets.json');
  const known = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Partial<LocalSecrets>) : {};
  mkdirSync(dir, { recursive: true });
  const secrets: LocalSecrets = {
    encryptionKeys: `local:${randomBytes(32).toString('base64')}`,
    apiKey: `sb_local_${randomBytes(24).toString('hex')}`,
    signingKey: randomBytes(32).toString('base64'),
    ...known,
  };
  writeFileSync(file, JSON.stringify(secrets, null, 2), { mode: 0o600 });
  return secrets;
}
