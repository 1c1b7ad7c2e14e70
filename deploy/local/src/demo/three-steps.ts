/** Part 1: a run with three model calls and two tool calls, its events as they come, what it cost. */
import type { Client, Run, RunEvent } from './client.ts';
import { followRun, ofType } from './follow-run.ts';
import { type OrderService, QUESTION, TOTAL } from './orders.ts';
import type { ScriptedProvider } from './providers.ts';
import { check, line, NANO, usd } from './show.ts';

export interface DemoParts {
  readonly client: Client;
  readonly provider: ScriptedProvider;
  readonly orders: OrderService;
  /** Name of the stored agent. */
  readonly agent: string;
}

export interface ShownRun {
  readonly run: Run;
  readonly events: readonly RunEvent[];
}

const oneLine = (value: unknown): string =>
  (typeof value === 'string' ? value : JSON.stringify(value)).replaceAll(/\s+/g, ' ').slice(0, 160);

/** What was sealed, opened by the api for a key that may read contents. */
async function showTools(client: Client, run: Run): Promise<void> {
  line('What the tools were asked and said (GET /v1/runs/{id}/steps):');
  for (const step of await client.steps(run.id)) {
    if (step.kind === 'tool') line(`    ${step.name} ${oneLine(step.input)} -> ${oneLine(step.output)}`);
  }
}

export function checkAnswer(run: Run, events: readonly RunEvent[]): void {
  check(
    `the run ${run.status === 'succeeded' ? 'succeeded' : 'should succeed'}`,
    run.status === 'succeeded',
    {
      status: run.status,
      error: run.error,
    },
  );
  check(`it answers "${run.output}"`, run.output?.includes(TOTAL) === true, { expected: TOTAL });
  const [calls, tools] = [ofType(events, 'llm.completed').length, ofType(events, 'tool.completed').length];
  check(`${calls} model calls and ${tools} tool calls completed`, calls === 3 && tools === 2);
  const gapFree = events.every(({ seq }, index) => seq === index + 1);
  check(`its events are numbered 1 to ${events.length} without a gap`, gapFree);
}

export async function threeSteps({ client, provider, orders, agent }: DemoParts): Promise<ShownRun> {
  const submitted = await client.submit({
    agent,
    input: QUESTION,
    user_id: 'demo',
    limits: { cost_usd: 0.05 },
  });
  line(`POST /v1/runs {"agent": "${agent}", "input": "${QUESTION}"} -> ${submitted.id}, ${submitted.status}`);
  line('Its events, as they come (GET /v1/runs/{id}/events, text/event-stream):');
  const events = await followRun(client, submitted.id);
  const run = await client.run(submitted.id);
  await showTools(client, run);
  checkAnswer(run, events);
  check(`the order service was asked ${orders.requests()} time`, orders.requests() === 1);

  const { cap_usd: cap, observed_usd: observed, held_usd: held } = run.cost;
  check(
    `cost: ${usd(observed)} observed, ${usd(held)} still held, of a cap of ${usd(cap ?? 0)}`,
    observed > 0 && held === 0 && cap === 0.05,
  );
  const billed = provider.ledger().map(({ costNano }) => costNano);
  const known = billed.every((nano) => nano !== null);
  const bill = billed.reduce<number>((sum, nano) => sum + (nano ?? 0), 0);
  if (known) {
    check(
      `the provider's own books say the same, to the nano-dollar: ${usd(bill / NANO)} for ${billed.length} requests`,
      Math.round(observed * NANO) === bill,
    );
  }
  return { run, events };
}
