/** Part 3: a worker dies (SIGKILL) while the model answers; another one finishes the run and repeats nothing completed. */
import { waitFor } from '../wait.ts';
import type { Service } from '../process.ts';
import type { Stack } from '../stack.ts';
import { followRun, ofType } from './follow-run.ts';
import { QUESTION } from './orders.ts';
import type { BilledCall } from './providers.ts';
import { check, ExpectationError, line, NANO, table, usd, usdOfNano } from './show.ts';
import { checkAnswer, type DemoParts } from './three-steps.ts';

/** Steps count model and tool calls: the second model call is step 3. */
const FATAL_STEP = 3;
const FATAL_TURN = 2;

async function busy(worker: Service): Promise<boolean> {
  const metrics = await (await fetch(`${worker.url}/metrics`)).text();
  return /^signalbox_worker_slots_busy(\{[^}]*\})? [1-9]/m.test(metrics);
}

/** The worker that works on a run now; the demo's is the only one. */
async function busyWorker(stack: Stack): Promise<number> {
  for (const [index, worker] of stack.workers.entries()) if (await busy(worker)) return index;
  throw new ExpectationError('No worker says that it works on the run (signalbox_worker_slots_busy).');
}

function showBooks(calls: readonly BilledCall[]): void {
  line("The provider's own books of this run:");
  table(
    calls.map(({ turn, whole, closedByClient, inputTokens, outputTokens, costNano }, index) => ({
      request: index + 1,
      'model call': turn,
      answer: whole ? 'complete' : closedByClient ? 'cut off: the caller was gone' : 'broken',
      in: inputTokens,
      out: outputTokens,
      billed: costNano === null ? '-' : usdOfNano(costNano),
    })),
  );
  const completed = calls.filter(({ whole }) => whole).map(({ turn }) => turn);
  check('each model call was completed exactly once', completed.join() === '1,2,3', completed);
  const torn = calls.filter(({ whole }) => !whole).map(({ turn }) => turn);
  check(
    'only the call that the killed worker had open was made again',
    torn.join() === `${FATAL_TURN}`,
    torn,
  );
}

async function replace(stack: Stack, { client }: DemoParts): Promise<void> {
  const worker = await stack.startWorker();
  const fleet = await waitFor(
    async () => {
      const now = await client.call<{ workers: number; slots: number }>('GET', '/v1/autoscale');
      return now.workers === 2 ? now : undefined;
    },
    { what: 'two workers in GET /v1/autoscale', timeoutMs: 15_000 },
  );
  check(
    `${worker.name} takes the place of the killed one: ${fleet.workers} workers, ${fleet.slots} slots`,
    true,
  );
}

export async function killedWorker(stack: Stack, parts: DemoParts): Promise<void> {
  const { client, provider, orders, agent } = parts;
  const [callsBefore, readsBefore] = [provider.ledger().length, orders.requests()];
  const submitted = await client.submit({
    agent,
    input: QUESTION,
    user_id: 'demo',
    limits: { cost_usd: 0.05 },
  });
  line(`The same question again: ${submitted.id}`);

  let killedAt = 0;
  const events = await followRun(client, submitted.id, {
    onText: async (step) => {
      if (step !== FATAL_STEP || killedAt > 0) return;
      const index = await busyWorker(stack);
      killedAt = performance.now();
      await stack.killWorker(index);
      const worker = stack.workers[index];
      line(
        `    *** ${worker?.name} (process ${worker?.pid}) killed with SIGKILL while the model answers in step ${step}`,
      );
    },
  });
  const seconds = ((performance.now() - killedAt) / 1000).toFixed(1);
  check('the worker was killed in the middle of the run', killedAt > 0);

  const run = await client.run(submitted.id);
  checkAnswer(run, events);
  const claims = ofType(events, 'run.claimed').map(({ data }) => data['worker']);
  check(
    `another worker claimed it (epoch ${run.epoch}) and ended it ${seconds} s after the kill`,
    claims.length === 2 && claims[0] !== claims[1] && run.epoch >= 2,
    claims,
  );
  showBooks(provider.ledger().slice(callsBefore));
  check('the completed tool call was not repeated either', orders.requests() - readsBefore === 1);
  const billed = provider
    .ledger()
    .slice(callsBefore)
    .reduce((sum, { costNano }) => sum + (costNano ?? 0), 0);
  check(
    `the run is charged ${usd(run.cost.observed_usd)}, the unknown call at its worst case, so not less than was billed`,
    run.cost.observed_usd * NANO >= billed && run.cost.estimated && run.cost.held_usd === 0,
    run.cost,
  );
  await replace(stack, parts);
}
