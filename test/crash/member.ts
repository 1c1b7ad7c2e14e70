import type { Service } from '@signalbox/local';

export type ServiceName = 'api' | 'audit-writer' | 'scheduler' | 'worker';

/** A process of a fleet, and what its barriers saw it do. */
export interface Member {
  readonly service: ServiceName;
  readonly name: string;
  /** Null while it starts. */
  process: Service | null;
  /** Its lease, of a worker. */
  leaseId: string | null;
  /** The run it claimed last; one at a time. */
  runId: string | null;
  /** Claims of all are numbered; this is its last. */
  claimed: number;
  draining: boolean;
  /** Nothing it says reaches Redis. */
  frozen: boolean;
  dead: boolean;
}
