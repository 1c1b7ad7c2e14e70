/** Part 4: the same agent with a real model, for those whose key is in the environment. */
import type { Client } from './client.ts';
import { followRun } from './follow-run.ts';
import { orderAgent, QUESTION, TOTAL } from './orders.ts';
import { check, line, usd } from './show.ts';

const CAP_USD = 0.01;

export async function realProvider(
  client: Client,
  models: readonly string[],
  orderHost: string,
): Promise<void> {
  if (models.length === 0) {
    line('Neither ANTHROPIC_API_KEY nor OPENAI_API_KEY is set, so no real provider was called.');
  }
  for (const model of models) {
    const submitted = await client.submit({
      agent: orderAgent(model, orderHost),
      input: QUESTION,
      user_id: 'demo',
      limits: { cost_usd: CAP_USD },
    });
    line(`${model}, with a cap of ${usd(CAP_USD)}: ${submitted.id}`);
    await followRun(client, submitted.id);
    const run = await client.run(submitted.id);
    if (run.status !== 'succeeded')
      line('    Without the key of this provider in the environment this part is left out.');
    check(`the run with ${model} succeeded`, run.status === 'succeeded', run.error);
    const { observed_usd: observed } = run.cost;
    check(`it cost ${usd(observed)}, within its cap`, observed > 0 && observed <= CAP_USD, run.cost);
    const right = run.output?.includes(TOTAL) === true ? 'which is right' : `expected was ${TOTAL}`;
    line(`    it answered: ${run.output} (${right})`);
  }
}
