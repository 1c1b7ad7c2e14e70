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
}

const COALESCE_MS = 50;
/** How long nobody is assumed to listen to a run after nobody did. */
const DEAF_MS = 1000;

/** Of one model call. */
export interface DeltaStream {
  push(text: string): void;
  /** Sends what is left. Whatever this process writes next, also to this Redis, comes after it. */
  end(): void;
}

/** Of one run. */
export type Deltas = (step: number) => DeltaStream;

export const createDeltas = ({ partition, clock, logger }: DeltaDeps, target: DeltaTarget): Deltas => {
  let deafUntil = 0;

  const send = async (step: number, text: string): Promise<void> => {
    if (text === '' || clock.monotonic() < deafUntil) return;
    try {
      const [, sealed] = sealContent(target.dataKey, target.runId, text);
      const listeners = await publishDelta(partition, target.runId, { step, sealed });
      if (listeners === 0) deafUntil = clock.monotonic() + DEAF_MS;
    } catch (error) {
      logger.debug('delta not published', { error });
    }
  };

  return (step) => {
    let waiting = '';
    let timer: NodeJS.Timeout | null = null;
    const sendWaiting = (): void => {
      timer = null;
      const text = waiting;
      waiting = '';
      void send(step, text);
    };
    return {
      push: (text) => {
        waiting += text;
        timer ??= setTimeout(sendWaiting, COALESCE_MS);
      },
      end: () => {
        if (timer !== null) clearTimeout(timer);
        sendWaiting();
      },
    };
  };
};
