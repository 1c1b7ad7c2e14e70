import type { ModelPort } from '@signalbox/contracts';

/** One provider with one key. */
export interface ProviderClient extends Pick<ModelPort, 'call'> {
  /** Makes one free request. Throws `ModelError`. */
  ping(): Promise<void>;
}
