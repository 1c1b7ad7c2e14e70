import type { Clock } from '@signalbox/runtime';

/** What has not ended by then keeps its connection to itself. */
const REST_MS = 10_000;

/** Reads what is left of a body, within limits; never throws. */
const readRest = async (
  reader: ReadableStreamDefaultReader<Uint8Array>,
  clock: Pick<Clock, 'sleep'>,
): Promise<void> => {
  const ended = new AbortController();
  clock.sleep(REST_MS, ended.signal).then(
    () => reader.cancel().catch(() => undefined),
    () => undefined,
  );
  try {
    for (let last = false; !last; ) last = (await reader.read()).done;
  } catch {
    // The connection is gone, and nobody waits for it.
  } finally {
    ended.abort();
  }
};

/**
 * A response that is read to its end, though its reader stops where the answer is over: a connection is fit for the next
 * call only then.
 */
export const readOn = (response: Response, clock: Pick<Clock, 'sleep'>): Response => {
  if (response.body === null) return response;
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => void readRest(reader, clock),
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: response.headers });
};
