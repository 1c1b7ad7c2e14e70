import { type Partition, publishDelta, sealContent } from '@signalbox/run-state';
import type { Clock, Logger, SealingKey } from '@signalbox/runtime';

/**
 * Token deltas on their way to whoever watches: coalesced, sealed (R13), and only while somebody listens.
 * They are ephemeral: losing one loses nothing, so nothing here may slow or fail the call.
 */
export interface DeltaDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface DeltaTarget {
  readonly runId: string;
  readonly dataKey: SealingKey;
  readonly step: number;
}

const COALESCE_MS = 50;
/** How long nobody is assumed to listen after nobody did. */
const DEAF_MS = 500;

export interface DeltaStream {
  push(text: string): void;
  /** Sends what is left. */
  end(): Promise<void>;
}

export const createDeltaStream = (
  { partition, clock, logger }: DeltaDeps,
  target: DeltaTarget,
): DeltaStream => {
  let waiting = '';
  let timer: NodeJS.Timeout | null = null;
  let deafUntil = 0;

  const send = async (): Promise<void> => {
    timer = null;
    const text = waiting;
    waiting = '';
    if (text === '' || clock.monotonic() < deafUntil) return;
    try {
      const [, sealed] = sealContent(target.dataKey, target.runId, text);
      const listeners = await publishDelta(partition, target.runId, { step: target.step, sealed });
      if (listeners === 0) deafUntil = clock.monotonic() + DEAF_MS;
    } catch (error) {
      logger.debug('delta not published', { error });
    }
  };

  return {
    push: (text) => {
      waiting += text;
      timer ??= setTimeout(() => void send(), COALESCE_MS);
    },
    end: async () => {
      if (timer !== null) clearTimeout(timer);
      await send();
    },
  };
};
