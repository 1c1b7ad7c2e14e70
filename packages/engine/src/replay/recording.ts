import type { AgentSpec, Json } from '@signalbox/contracts';
import type { Digest, Said } from '../run/request.ts';

/** A recorded run beside its journal, opened: what was said, and what it was submitted with. */
export interface Recording extends Said {
  readonly spec: AgentSpec;
  /** The spec as it was stored: what a later version adds to it when parsing is no difference. */
  readonly storedSpec: AgentSpec | Json;
  /** Under the run's key. */
  readonly digest: Digest;
}
