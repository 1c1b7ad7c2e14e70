import type { Service } from '@signalbox/local';
import { waitFor } from '@signalbox/local';
import type { System } from './stack.ts';

/** One value of a metric without labels; 0 when it is not there yet. */
export const metric = async ({ url }: { readonly url: string }, name: string): Promise<number> => {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`signalbox_${name} `));
  return Number(line?.split(' ')[1] ?? 0);
};

const running = (system: System): Service[] =>
  system.stack.workers.filter((worker) => worker.exit() === undefined);

/** A worker with at least `least` runs in hand, and the others. */
export const busyWorker = async (
  system: System,
  least = 1,
): Promise<{ readonly busy: Service; readonly others: readonly Service[] }> =>
  waitFor(
    async () => {
      for (const busy of running(system)) {
        if ((await metric(busy, 'runs_active')) < least) continue;
        return { busy, others: running(system).filter((other) => other !== busy) };
      }
      return undefined;
    },
    { what: `a worker with ${least} runs`, timeoutMs: 60_000 },
  );
