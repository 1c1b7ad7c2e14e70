import { SignalboxError } from '@signalbox/contracts';
import { MissingKeyError } from '@signalbox/runtime';

/**
 * Opens what is sealed. While ENCRYPTION_KEYS are replaced, an api may lack the key of what is there: shown as null it
 * would pass for nothing. Throws `encryption_key_missing` then, and what `open` throws.
 */
export const opened = <T>(what: string, open: () => T): T => {
  try {
    return open();
  } catch (cause) {
    if (!(cause instanceof MissingKeyError)) throw cause;
    throw new SignalboxError(
      'encryption_key_missing',
      `${what} is sealed under a key that this process does not have. Send the request again, with the same Idempotency-Key if it had one: another process may have the key, and what was changed stays changed. If it goes on, the operator is to add the key to ENCRYPTION_KEYS.`,
      { cause },
    );
  }
};
